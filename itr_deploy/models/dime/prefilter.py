"""What DIME's prefilter keeps of the network."""

from __future__ import annotations

from itr_deploy.models.dime.routes import CMRC, GLGC, IMRC, RIC, Routes

_KEPT = ((RIC, GLGC, IMRC), (RIC, GLGC, CMRC), (RIC,))
"""Per layer: the cells that cost nothing per pair, and in layer 1 guidance and cross-modal
refinement. They need 3 of the matcher's 22 products per position. Found by experiment; see
docs/performance.md.
"""


def prefilter_routes(routes: Routes) -> Routes:
    """The routes whose gates the prefilter does not hold at 0.

    Layer 0's routing is stored as the matcher needs it, so cross-modal refinement keeps its share
    there and passes its input on.
    """
    return Routes.keeping(
        [
            [[is_open and cell in kept for cell, is_open in enumerate(row)] for row in layer]
            for kept, layer in zip(_KEPT, routes.open, strict=True)
        ]
    )
