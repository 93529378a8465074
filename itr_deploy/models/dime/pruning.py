"""A DIME with some of its gates held at 0."""

from __future__ import annotations

from itr_deploy.bundle.manifest import Pruning
from itr_deploy.models.dime.plain import Dime
from itr_deploy.models.dime.profile import RouteProfile
from itr_deploy.models.dime.routes import Routes


def pruned(model: Dime, routes: Routes) -> Dime:
    """The same model with other routes; the encoders are shared, not copied."""
    other = Dime(model.config, routes)
    other.image, other.text = model.image, model.text
    other.interaction.load_state_dict(model.interaction.state_dict())
    return other


def pruning_record(routes: Routes, profile: RouteProfile, threshold: float) -> Pruning:
    """What a manifest says of it."""
    return Pruning(
        threshold=threshold,
        closed=tuple(routes.closed()),
        removed=tuple(routes.removed()),
        evidence=profile.evidence,
    )
