"""What a process does for a gallery in parts: open what is asked for once, then make parts."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from itr_deploy.deploy.expected_time import tell_time
from itr_deploy.deploy.index_request import IndexRequest
from itr_deploy.deploy.to_index import ToIndex
from itr_deploy.runtime.encoding.sources import TOGETHER, source
from itr_deploy.runtime.gallery.bulk.part import PartRecord, make_part
from itr_deploy.runtime.gallery.bulk.place import Place
from itr_deploy.runtime.gallery.bulk.plan import Plan, agreed, group_count, planned, read_plan
from itr_deploy.runtime.gallery.gallery import check_storage, default_storage
from itr_deploy.runtime.matcher import Matcher

Looking = Callable[[str, int, int], object]
ENCODING = "a bundle of encoding"
"""The plan's name for the bundle's encoding id."""


@dataclass(frozen=True, eq=False)
class Work:
    """Everything that a part is made of."""

    place: Place
    plan: Plan
    matcher: Matcher
    given: ToIndex

    def make(
        self,
        number: int,
        *,
        lock_timeout: float,
        progress: Callable[[int], None],
        tell: Callable[[str], None] = lambda line: None,
    ) -> PartRecord:
        """Make a part, or find it finished; see `make_part`."""
        own = self.plan.numbers(number)
        ids = {self.given.ids[place] for place in own}
        return make_part(
            *(self.place, self.plan, number, self.matcher),
            *(self.given.ids, self.given.items, self.given.columns),
            state=self.given.files_state(own),
            broken=lambda: {name: why for name, why in self.given.broken.items() if name in ids},
            lock_timeout=lock_timeout,
            progress=progress,
            begin=lambda left: tell_time(self.given.items, left, tell, len(own)),
        )


def opened(
    request: IndexRequest,
    output: Path,
    parts: int | Callable[[int], int],
    lock_timeout: float,
    looking: Looking,
) -> Work:
    """Load the bundle, find the items, and agree with the other parts on what is made.

    Args:
        request: What to index.
        output: The gallery.
        parts: Number of parts; or chooses it, if there is no plan yet, by the most that are
            possible.
        lock_timeout: Seconds to wait for another process that writes down the plan.
        looking: Called while items are looked for.

    Raises:
        GalleryError: The other parts are made of something else.
    """
    matcher, place = request.load(), Place(output)
    storage = request.storage or default_storage(matcher)
    check_storage(matcher, storage)
    given = request.items(matcher, looking)
    together = _together(request, matcher, given)
    if not isinstance(parts, int):
        known = read_plan(place)
        chosen = parts(group_count(len(given.ids), together)) if known is None else known.parts
    else:
        chosen = parts
    about = matcher.bundle.manifest
    own = planned(
        modality=request.modality,
        storage=storage,
        items=len(given.ids),
        together=together,
        parts=chosen,
        made_of={
            "itr-deploy": version("itr-deploy"),
            ENCODING: about.encoding_id,
            "its precision": about.precision,
            **given.digests(),
            **request.made_with(matcher),
        },
    )
    return Work(place, agreed(place, own, lock_timeout), matcher, given)


def _together(request: IndexRequest, matcher: Matcher, given: ToIndex) -> int:
    """Items that are encoded together, also by a process that encodes all of them."""
    if request.modality == "text":
        return math.lcm(TOGETHER, matcher.bundle.manifest.texts.padded_together or 1)
    return source(matcher, given.items, request.modality).together
