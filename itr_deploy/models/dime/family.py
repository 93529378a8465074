"""DIME's registration."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from itr_deploy.bundle.published import FLICKR, Published
from itr_deploy.models.dime.options import MARK, DimeOptions
from itr_deploy.models.family import Family, Profiler

if TYPE_CHECKING:
    from itr_deploy.models.contract import TrainedMatcher


def _load(checkpoint: Path, options: DimeOptions) -> TrainedMatcher:
    from itr_deploy.models.dime.checkpoint import load

    return load(checkpoint, options)


def _profiler() -> Profiler:
    from itr_deploy.models.dime.counter import RouteCounter

    return RouteCounter()


FAMILY = Family(
    name="dime",
    title="Dynamic Modality Interaction Modeling (SIGIR 2021)",
    text="wordpiece",
    load=_load,
    options=DimeOptions,
    mark=MARK,
    published=(
        Published(
            model="DIME, ensemble of both directions",
            protocol=FLICKR,
            image_to_text=None,
            text_to_image=None,
            rsum=520.0,
            source="the base of Qu et al., LeaPRR, SIGIR 2023",
        ),
    ),
    profiler=_profiler,
)
