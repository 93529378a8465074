"""How much a route of a DIME is used."""

from __future__ import annotations

from pydantic import Field

from itr_deploy.bundle.record import Record

_Share = Field(ge=0, le=1 + 1e-6)


class RouteUse(Record):
    """One gate over all pairs.

    Attributes:
        layer: Its layer, from 0.
        cell: Its cell's name.
        path: Where it leads; see `path_name`.
        zero: Share of the pairs where it is exactly 0.
        mean: Its mean, before any division.
        share: Its cell's mean share of the aggregate.
    """

    layer: int
    cell: str
    path: str
    zero: float = _Share
    mean: float = _Share
    share: float = _Share


class SkipUse(Record):
    """One skip connection over all pairs.

    Attributes:
        layer: Its layer.
        cell: The cell that it replaces in the last layer; in earlier ones ``ric``, whose output
            it carries.
        path: Where it leads.
        used: Share of the pairs where it is taken.
        share: Its mean share of the aggregate.
    """

    layer: int
    cell: str
    path: str
    used: float = _Share
    share: float = _Share
