"""What a gallery stores for DIME's items, on the refined and on the guiding side."""

from __future__ import annotations

from itr_deploy.models.contract import StoredTensor
from itr_deploy.models.dime.routes import CELLS, CMRC, GLGC, IMRC, Routes

ROUTING = len(CELLS) * (len(CELLS) + 1)
"""Values that a refined item stores for layer 0's routing: per out-path, the cells' gates and the
skip connection."""


def refined_tensors(width: int, routes: Routes, gates: bool) -> tuple[StoredTensor, ...]:
    """Tensors of the refined side; ``gates`` adds those that are only output, not used."""
    names = ["local"]
    names += ["guided"] * routes.uses(0, GLGC) + ["reasoned"] * routes.uses(0, IMRC)
    items = {"routing": ROUTING, "gates": len(CELLS) ** 2} if gates else {"routing": ROUTING}
    return (
        *(StoredTensor(name=name, width=width) for name in names),
        *(StoredTensor(name=name, width=w, per_position=False) for name, w in items.items()),
    )


def guiding_tensors(width: int, routes: Routes) -> tuple[StoredTensor, ...]:
    """Tensors of the guiding side: what the refined side attends to, and the vector."""
    layers = [layer for layer in range(len(routes.open)) if routes.uses(layer, CMRC)]
    maps = [f"{name}_{layer}" for layer in layers for name in ("scale", "shift")]
    return (
        StoredTensor(name="local", width=width),
        *(StoredTensor(name=name, width=width) for name in maps),
        StoredTensor(name="vector", width=width, per_position=False),
        StoredTensor(name="sign", width=width, per_position=False),
    )
