"""How much a DIME uses its routes on some data, and what to keep of them."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, ValidationError

from itr_deploy.bundle.manifest import ProfileEvidence
from itr_deploy.errors import InputError
from itr_deploy.models.dime.picture import picture
from itr_deploy.models.dime.routes import CELLS, PATHS, Routes, path_name
from itr_deploy.models.dime.uses import RouteUse, SkipUse
from itr_deploy.models.family import Profile, ProfileTable


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
            InputError: The text is not a route profile.
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
        """This profile without the directory of the data."""
        return self.model_copy(update={"data": None})

    def tables(self) -> list[ProfileTable]:
        """A table of the gates and one of the skip connections."""
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
        """The routing graph as an SVG document: the wider an edge, the more it is used."""
        evidence = self.evidence
        subject = (
            f"{self.pairs:,} pairs of split {evidence.split}: {evidence.images:,} images, "
            f"{evidence.captions:,} captions"
        )
        return picture(subject, self.routes, self.skips)

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
