"""A DIME with some of its gates held at 0."""

from __future__ import annotations

from pathlib import Path

from itr_deploy.bundle.manifest import Pruning
from itr_deploy.models.contract import ChangedFrom
from itr_deploy.models.dime.deployed import DimeDeployment
from itr_deploy.models.dime.options import DimeOptions
from itr_deploy.models.dime.plain import Dime
from itr_deploy.models.dime.profile import RouteProfile
from itr_deploy.models.dime.routes import Routes


def prune(model: Dime, options: DimeOptions) -> tuple[Dime, ChangedFrom | None]:
    """The model without the routes that a profile shows too little used, and what changed."""
    profile, threshold = options.profile, options.threshold
    if profile is None:
        return model, None
    smaller = pruned(model, profile.keeping(threshold))
    place = options.profiled_data or profile.data
    return smaller, ChangedFrom(
        before=DimeDeployment(model).eval(),
        pruning=_record(smaller.routes, profile, threshold),
        data=None if place is None else Path(place),
        exact=threshold == 0,
        change="pruning",
        evidence="the route profile",
        remedy="give its directory as profiled_data= (--profiled-data)",
    )


def pruned(model: Dime, routes: Routes) -> Dime:
    """The same model with other routes; the encoders are shared, not copied."""
    other = Dime(model.config, routes)
    other.image, other.text = model.image, model.text
    other.interaction.load_state_dict(model.interaction.state_dict())
    return other


def _record(routes: Routes, profile: RouteProfile, threshold: float) -> Pruning:
    """The entry for the manifest: the gates held at 0, and the cells without any other gate."""
    return Pruning(
        threshold=threshold,
        closed=tuple(routes.closed()),
        removed=tuple(routes.removed()),
        evidence=profile.evidence,
    )
