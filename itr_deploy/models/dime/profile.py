"""How much a DIME uses its routes on some data, and what to keep of them."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, ValidationError

from itr_deploy.bundle.manifest import ProfileEvidence
from itr_deploy.bundle.record import Record
from itr_deploy.errors import InputError
from itr_deploy.models.dime.routes import CELLS, PATHS, Routes, path_name
from itr_deploy.models.family import Profile, ProfileTable

_Share = Field(ge=0, le=1 + 1e-6)


class RouteUse(Record):
    """One gate over all pairs.

    Attributes:
        layer: Its layer, from 0.
        cell: Its cell's name.
        path: Where it leads, see `path_name`.
        zero: Share of the pairs where it is exactly 0.
        mean: Its mean, before any division.
        share: Mean share that it gives its cell of the aggregate.
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
        cell: The cell it takes the place of in the last layer, ``ric``'s output before.
        path: Where it leads.
        used: Share of the pairs where it is taken.
        share: Mean share that it has in the aggregate.
    """

    layer: int
    cell: str
    path: str
    used: float = _Share
    share: float = _Share


class RouteProfile(Profile):
    """The use of every gate and skip connection, and the evidence for it.

    ``routes`` are in the order layer, path, cell. ``data`` is the directory of the data.
    """

    kind: Literal["dime_routes"] = "dime_routes"
    schema_version: Literal[1] = 1
    pairs: int = Field(ge=1)
    evidence: ProfileEvidence
    data: str | None
    routes: tuple[RouteUse, ...]
    skips: tuple[SkipUse, ...]

    @classmethod
    def parse(cls, text: str) -> RouteProfile:
        """Read what `itr-deploy profile-routes` wrote.

        Raises:
            InputError: It is not a route profile.
        """
        try:
            profile = cls.model_validate_json(text)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or "the file"
            raise InputError(
                f"not a route profile of itr-deploy profile-routes: {where}: {first['msg']}"
            ) from error
        names = [(use.layer, use.path, use.cell) for use in profile.routes]
        if names != [
            (layer, path_name(layer, path), cell)
            for layer, paths in enumerate(PATHS)
            for path in range(paths)
            for cell in CELLS
        ]:
            raise InputError("not a route profile of this itr-deploy: its routes are other ones")
        return profile

    def without_place(self) -> RouteProfile:
        """The same without the directory of the data."""
        return self.model_copy(update={"data": None})

    def tables(self) -> list[ProfileTable]:
        """The gates, and the skip connections."""
        gates = [
            (
                f"{use.layer}",
                use.cell,
                use.path,
                f"{use.zero:.1%}",
                f"{use.mean:.3f}",
                f"{use.share:.3f}",
            )
            for use in self.routes
        ]
        skips = [
            (f"{use.layer}", use.cell, use.path, f"{use.used:.1%}", f"{use.share:.3f}")
            for use in self.skips
        ]
        heads = ("layer", "cell", "path")
        return [
            ProfileTable(
                f"Gates over {self.pairs:,} pairs", (*heads, "is 0", "mean", "share"), gates
            ),
            ProfileTable("Skip connections", (*heads, "taken", "share"), skips),
        ]

    def summary(self) -> str:
        """Which gates and cells no pair used."""
        unused = self.keeping(0)
        return (
            f"never used: {len(unused.closed())} of {len(self.routes)} gates, "
            f"cells {', '.join(unused.removed()) or 'none'}"
        )

    def picture(self) -> str:
        """The routing graph as an SVG document, see `itr_deploy.models.dime.picture`."""
        from itr_deploy.models.dime.picture import picture

        return picture(self)

    def keeping(self, threshold: float) -> Routes:
        """The routes whose mean share of the aggregate is above a threshold.

        At 0 these are the gates that were ever open: a share is never negative.
        """
        uses = iter(self.routes)
        return Routes.keeping(
            [
                [[next(uses).share > threshold for _ in CELLS] for _ in range(paths)]
                for paths in PATHS
            ]
        )
