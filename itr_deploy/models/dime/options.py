"""The options of the export of a DIME."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field, model_validator

from itr_deploy.errors import UsageError
from itr_deploy.models.dime.profile import RouteProfile
from itr_deploy.models.family import CheckpointMark
from itr_deploy.models.options import Directory, FamilyOptions, TextFile

if TYPE_CHECKING:
    from typing_extensions import Self

MARK = CheckpointMark("dynamic_itr_l0.ric.router.mlp.0.weight", part=2)


class DimeOptions(FamilyOptions):
    """The options of the export of a DIME."""

    bert_config: TextFile = Field(
        default="",
        description="The bert_config.json of the text encoder's BERT; bert-base-uncased's sizes "
        "without it.",
    )
    gates: Literal["no", "yes"] = Field(
        default="no",
        description="Whether the matcher graphs also give the routers' gates of every pair.",
    )
    prune_routes: TextFile = Field(
        default="",
        description="A profile of itr-deploy profile-routes: what it never saw used is left out.",
    )
    threshold: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="Largest mean share of a sum that a pruned gate may have had. At 0 scores stay "
        "exact on the profiled data; above, what changes there is reported.",
    )
    profiled_data: Directory = Field(
        default=None,
        exclude=True,
        description="Where the profiled data is, if not where it was when it was profiled.",
    )

    @property
    def profile(self) -> RouteProfile | None:
        """The route profile to prune by, if one is given."""
        return RouteProfile.parse(self.prune_routes) if self.prune_routes else None

    @property
    def anonymous_profile(self) -> str:
        """The text of the profile without its directory: a bundle must not reveal where data is."""
        profile = self.profile
        return "" if profile is None else profile.without_place().model_dump_json()

    @model_validator(mode="after")
    def _have_a_profile(self) -> Self:
        """Refuse options that need a route profile without one, and an invalid profile.

        Raises:
            InputError: ``prune_routes`` is not a route profile.
            UsageError: An option that needs a route profile is given without one.
        """
        if self.profile is None and (self.threshold or self.profiled_data is not None):
            name = "threshold" if self.threshold else "profiled_data"
            raise UsageError(
                f"{name}= (--{name.replace('_', '-')}) is about a route profile; give one as "
                "prune_routes= (--prune-routes)"
            )
        return self
