"""What all parts of a gallery agree on: the first one writes it down, the others compare."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from typing import Literal

from pydantic import ValidationError

from itr_deploy.bundle.files import canonical_json, write_json
from itr_deploy.bundle.manifest import StorageType
from itr_deploy.bundle.modality import Modality
from itr_deploy.bundle.record import Record
from itr_deploy.errors import GalleryError, UsageError
from itr_deploy.runtime.gallery.bulk.place import Place
from itr_deploy.runtime.gallery.layout import new_id

OPTIONS = ("parts", "modality", "storage")
"""Fields that are arguments of `index`."""


class Plan(Record):
    """What all parts of a gallery agree on.

    Attributes:
        gallery_id: The own id of the gallery that they become.
        modality: Modality of its items.
        storage: Type of its stored tensors.
        items: Number of all items.
        together: Items that are encoded together; a part is a number of such groups, so that the
            parts compute what one process computes.
        parts: Number of parts.
        made_of: Whatever else a part depends on, by names for messages.
    """

    schema_version: Literal[1] = 1
    gallery_id: str
    modality: Modality
    storage: StorageType
    items: int
    together: int
    parts: int
    made_of: Mapping[str, str | None]

    @property
    def digest(self) -> str:
        """SHA-256 of the plan."""
        return hashlib.sha256(canonical_json(self.model_dump(mode="json"))).hexdigest()

    def numbers(self, part: int) -> range:
        """The items of a part: consecutive, and about as many as those of every other one."""
        groups = group_count(self.items, self.together)
        first, last = (self.together * (n * groups // self.parts) for n in (part, part + 1))
        return range(first, min(last, self.items))


def planned(
    *,
    modality: Modality,
    storage: StorageType,
    items: int,
    together: int,
    parts: int,
    made_of: Mapping[str, str | None],
) -> Plan:
    """A new plan.

    Raises:
        UsageError: There are more parts than groups of items that are encoded together.
    """
    most = group_count(items, together)
    if parts > most:
        groups = "items" if together == 1 else f"groups of {together} that are encoded together"
        raise UsageError(
            f"parts={parts} (--parts): {items:,} items make {most:,} {groups}; give {most} or less"
        )
    return Plan(
        gallery_id=new_id(),
        modality=modality,
        storage=storage,
        items=items,
        together=together,
        parts=parts,
        made_of=made_of,
    )


def group_count(items: int, together: int) -> int:
    """Groups of items that are encoded together: there can be as many parts."""
    return max(1, math.ceil(items / together))


def agreed(place: Place, own: Plan, timeout: float) -> Plan:
    """The plan of a gallery's parts: ``own``, or the equal one that is there.

    Raises:
        GalleryBusyError: Another process is at it for longer than ``timeout`` seconds.
        GalleryError: The parts that are there are made of something else, or otherwise.
        OutputError: The directory cannot be written to.
    """
    with place.locked(f"{place.plan}", "plan", timeout):
        known = read_plan(place)
        if known is None:
            write_json(place.plan, own.model_dump(mode="json"))
            return own
    _compare(place, known, own)
    return known


def read_plan(place: Place) -> Plan | None:
    """The plan of a gallery's parts, None if there is none.

    Raises:
        GalleryError: It cannot be read.
    """
    try:
        return Plan.model_validate_json(place.plan.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValidationError) as error:
        raise GalleryError(
            f"{place.plan}: cannot be read; remove {place.root} and make all parts again"
        ) from error


def _compare(place: Place, known: Plan, own: Plan) -> None:
    before, now = ({**_options(plan), **plan.made_of} for plan in (known, own))
    for name in (*before, *(now.keys() - before.keys())):
        was, given = before.get(name), now.get(name)
        if was != given:
            remedy = f"give the same to all parts, or remove {place.root} to begin anew"
            raise GalleryError(
                f"{place.root}: its parts are made with {name} {_short(was)}, not {_short(given)}; "
                f"{remedy}"
            )


def _options(plan: Plan) -> dict[str, str | int]:
    own = plan.model_dump(mode="json")
    named = {f"{name}= (--{name})": own[name] for name in OPTIONS}
    return {**named, "a number of items of": own["items"], "groups of": own["together"]}


def _short(value: object) -> str:
    return "none" if value is None else str(value)[:40]
