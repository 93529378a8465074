"""`index` in parts, by what was asked for: one part, all of them on Ray, or the commit."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from itr_deploy.bundle.staging import check_output
from itr_deploy.bundle.store import read_bundle
from itr_deploy.deploy.bulk import on_ray
from itr_deploy.deploy.bulk.work import ENCODING, Looking, opened
from itr_deploy.deploy.index_request import IndexRequest
from itr_deploy.deploy.indexed import Indexed, index_if_large, is_gallery, of_gallery
from itr_deploy.errors import GalleryError, UsageError
from itr_deploy.runtime.gallery import Gallery
from itr_deploy.runtime.gallery.bulk.joining import check_library, is_joined, join
from itr_deploy.runtime.gallery.bulk.place import Place
from itr_deploy.runtime.gallery.bulk.plan import Plan, read_plan

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Target:
    """The gallery that is made, as the arguments of `index` say."""

    output: Path
    force: bool
    lock_timeout: float
    coarse_index: bool | None


@dataclass(frozen=True)
class Bulk:
    """The arguments of `index` that ask for parts."""

    parts: int | None
    part: int | None
    commit: bool
    ray: str | None
    actors: int | None
    threads: int | None

    @property
    def is_asked(self) -> bool:
        """Whether they ask for parts at all."""
        return self.part is not None or self.commit or self.ray is not None

    def check(self) -> None:
        """Refuse what does not go together.

        Raises:
            UsageError: Says what.
        """
        given = (self.parts, self.part, self.ray, self.actors, self.threads)
        if self.commit and given != (None,) * len(given):
            raise UsageError(
                "commit=True (--commit) takes all parts that were made; leave parts= (--parts), "
                "part= (--part), ray= (--ray), actors= (--actors) and threads= (--threads) out"
            )
        if self.part is not None and (self.parts is None or self.ray is not None):
            raise UsageError(
                f"part={self.part} (--part) is one of parts= (--parts), made by this process; give "
                "both, without ray= (--ray)"
            )
        if self.part is not None and self.parts is not None and self.part >= self.parts:
            raise UsageError(
                f"part={self.part} (--part) must be from 0 to {self.parts - 1}, as "
                f"parts={self.parts} (--parts)"
            )
        if self.parts is not None and self.part is None and self.ray is None:
            raise UsageError(
                f"parts={self.parts} (--parts): which one? Give part= (--part), from 0 to "
                f"{self.parts - 1}, or ray= (--ray) to make all"
            )
        if self.ray is None and (self.actors, self.threads) != (None, None):
            raise UsageError(
                "actors= (--actors) and threads= (--threads) are of Ray's actors; give ray= (--ray)"
            )

    def run(
        self,
        request: IndexRequest,
        target: Target,
        *,
        progress: Callable[[int, int], None],
        looking: Looking,
        tell: Callable[[str], None],
    ) -> Indexed:
        """Do what is asked for; see `index`."""
        place = Place(target.output)
        if self.part is not None:
            return self._one(request, place, target, progress, looking, tell)
        if self.commit:
            _check_only(request)
        # Only where there is a gallery: LanceDB is better not used before Ray starts processes.
        if self.ray is not None and not (target.output.exists() and _is_done(place)):
            check_library()
            _check_output(target)
            on_ray.make_parts(
                request,
                target.output,
                on_ray.Cluster(self.ray, self.actors, self.threads),
                self.parts,
                lock_timeout=target.lock_timeout,
                progress=progress,
                tell=tell,
            )
        return _committed(request.bundle, place, target, looking)

    def _one(
        self,
        request: IndexRequest,
        place: Place,
        target: Target,
        progress: Callable[[int, int], None],
        looking: Looking,
        tell: Callable[[str], None],
    ) -> Indexed:
        assert self.part is not None
        assert self.parts is not None
        _check_output(target)
        work = opened(request, target.output, self.parts, target.lock_timeout, looking)
        total = len(work.plan.numbers(self.part))
        record = work.make(
            self.part,
            lock_timeout=target.lock_timeout,
            progress=lambda done: progress(done, total),
            tell=tell,
        )
        path = str(place.part(self.part))
        return Indexed(path, request.modality, record.items, record.items, 0, dict(record.broken))


def _check_output(target: Target) -> None:
    check_output(target.output, force=target.force, replaceable=is_gallery, kind="gallery")


def _check_only(request: IndexRequest) -> None:
    """Refuse a commit that is told of items.

    Raises:
        UsageError: It is.
    """
    items = {name: getattr(request, name) for name in ("data", "pictures", "features", "metadata")}
    for name, value in items.items():
        if value is not None:
            raise UsageError(
                f"commit=True (--commit) takes the items from the parts; leave {name}= (--{name}) "
                "out"
            )


def _is_done(place: Place) -> bool:
    plan = read_plan(place)
    return plan is not None and is_joined(place, plan)


def _committed(bundle: Path, place: Place, target: Target, looking: Looking) -> Indexed:
    """The gallery of all parts, made of them or by a run that was killed over tidying up.

    Whether a commit was made is asked of what is there; none is made a second time.
    """
    _plan_of(place, bundle)
    with place.locked(f"the commit of {place.output}", "commit", target.lock_timeout):
        plan = _plan_of(place, bundle)
        if is_joined(place, plan):
            log.info("%s: the parts are joined already", target.output)
            broken = {}
        else:
            _check_output(target)
            joined = join(
                place,
                plan,
                force=target.force,
                replaceable=is_gallery,
                lock_timeout=target.lock_timeout,
                looking=looking,
            )
            broken = joined.broken
        gallery = Gallery.open(target.output, lock_timeout=target.lock_timeout)
        if not gallery.coarse_indexed:
            index_if_large(gallery, target.coarse_index)
    place.remove()
    return of_gallery(gallery, plan.items - len(broken), broken)


def _plan_of(place: Place, bundle: Path) -> Plan:
    """The parts' plan, if the bundle made them.

    Raises:
        BundleError: The bundle is damaged.
        GalleryError: There are no parts, or another bundle made them.
    """
    plan = read_plan(place)
    if plan is None:
        raise GalleryError(
            f"{place.root}: no parts are there; make them with parts= (--parts) and part= (--part)"
        )
    made_by, given = plan.made_of[ENCODING], read_bundle(bundle).manifest.encoding_id
    if made_by != given:
        raise GalleryError(
            f"{place.root}: its parts were made with another bundle (encoding "
            f"{str(made_by)[:12]}, {bundle} has {given[:12]}); give that one"
        )
    return plan
