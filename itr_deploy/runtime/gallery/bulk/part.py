"""One part of a gallery: a slice of its items, encoded into a table of its own.

A part lies in the place of the parts when it is finished, as a whole. Until then it is a temporary
directory there, with which the next process goes on if this one is killed.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from pydantic import ValidationError

from itr_deploy.bundle.files import canonical_json, write_json
from itr_deploy.bundle.leftovers import Resumption
from itr_deploy.bundle.record import Record
from itr_deploy.bundle.staging import staged_directory
from itr_deploy.errors import GalleryError
from itr_deploy.runtime.gallery.bulk.place import Place
from itr_deploy.runtime.gallery.bulk.plan import Plan
from itr_deploy.runtime.gallery.gallery import Gallery
from itr_deploy.runtime.gallery.given import checked_ids, metadata_table
from itr_deploy.runtime.gallery.layout import TABLE, Description, own_id, schema
from itr_deploy.runtime.gallery.parts import add_in_parts
from itr_deploy.runtime.gallery.table import GalleryTable
from itr_deploy.runtime.matcher import Matcher

log = logging.getLogger(__name__)

RECORD = "part.json"


class PartRecord(Record):
    """What a finished part says of itself.

    Attributes:
        plan: Digest of the plan that it was made by.
        part: Its number.
        items: Number of its items.
        broken: Why pictures were left out, by their ids.
    """

    schema_version: Literal[1] = 1
    plan: str
    part: int
    items: int
    broken: Mapping[str, str]


def make_part(
    place: Place,
    plan: Plan,
    number: int,
    matcher: Matcher,
    ids: Sequence[str],
    items: Any,
    columns: Mapping[str, Sequence[Any]],
    *,
    state: str,
    broken: Callable[[], Mapping[str, str]],
    lock_timeout: float,
    progress: Callable[[int], None],
    begin: Callable[[Sequence[int]], object],
) -> PartRecord:
    """Encode one part, unless it is finished.

    Args:
        place: Where the parts lie.
        plan: What they agree on.
        number: Which one.
        matcher: Encodes.
        ids: Of all items of the gallery.
        items: All of them.
        columns: User columns, one value for each of them.
        state: What the part's own items are read from: a killed run is gone on with if it is still
            the same.
        broken: Tells afterwards why pictures were left out, by their ids.
        lock_timeout: Seconds to wait for another process that makes the same part.
        progress: Called with the number of the part's items that are done.
        begin: Called with the numbers of those that are left, before the first is encoded.

    Raises:
        GalleryBusyError: Another process makes the same part.
        GalleryError: An id is repeated, or a column cannot be stored.
        InputError: An item cannot be encoded.
        OutputError: The disk refuses the write.
    """
    names, own = checked_ids(ids), plan.numbers(number)
    with place.locked(f"part {number} of {place.output}", f"{number:05}", lock_timeout):
        done = _finished(place, plan, number)
        if done is not None:
            log.info("part %d of %s is there already", number, place.output)
            progress(len(own))
            return done
        resumption = _resumption(plan, number, matcher, state)
        staged = staged_directory(
            place.part(number),
            force=False,
            replaceable=lambda path: False,
            kind="part",
            last=f"{TABLE}.lance",
            resumption=resumption,
        )
        with staged as root:
            if resumption.is_kept(root):
                gallery = Gallery.open(root, matcher)
                log.info("part %d: going on after %d items", number, gallery.count())
            else:
                gallery = _created(root, plan, matcher)
            extra = metadata_table(columns, len(names))
            typed = {name: extra[name].combine_chunks() for name in extra.column_names}
            if plan.modality == "text":
                # To know its tokens and widths takes each text of a source, so only the part's own.
                chosen = slice(own.start, own.stop)
                names, items = names[chosen], items[chosen]
                typed = {name: column[chosen] for name, column in typed.items()}
            add_in_parts(
                *(gallery, names, items, typed, progress),
                begin=begin,
                committed=lambda: resumption.keep(root),
                within=None if plan.modality == "text" else own,
            )
            left_out = dict(broken())
            record = PartRecord(
                plan=plan.digest, part=number, items=gallery.count(), broken=left_out
            )
            write_json(root / RECORD, record.model_dump(mode="json"))
        return record


def open_part(place: Place, plan: Plan, number: int) -> tuple[PartRecord, GalleryTable]:
    """A finished part and its table, as it was written.

    Raises:
        GalleryError: It is damaged, or was made by another plan.
    """
    path = place.part(number)
    try:
        record = PartRecord.model_validate_json((path / RECORD).read_bytes())
    except (OSError, ValidationError) as error:
        raise _damaged(place, number, f"{RECORD} cannot be read") from error
    if (record.plan, record.part) != (plan.digest, number):
        raise _damaged(place, number, f"it is part {record.part} of another plan")
    try:
        table = GalleryTable.open(path)
        table.verify()
        count = table.count()
    except GalleryError as error:
        said = str(error).removeprefix(f"{path}: ").removeprefix("damaged: ").partition(";")[0]
        raise _damaged(place, number, said) from error
    expected = len(plan.numbers(number)) - len(record.broken)
    if not count == record.items == expected:
        raise _damaged(place, number, f"it holds {count} items, not {expected}")
    if own_id(table.state.schema) != plan.gallery_id:
        raise _damaged(place, number, "its table is another gallery's")
    return record, table


def _finished(place: Place, plan: Plan, number: int) -> PartRecord | None:
    """The record of a part that is there; one that is damaged is removed."""
    path = place.part(number)
    if not path.exists():
        return None
    try:
        return open_part(place, plan, number)[0]
    except GalleryError as error:
        log.warning("%s; it is made again", str(error).partition("; ")[0])
        shutil.rmtree(path, ignore_errors=True)
        return None


def _damaged(place: Place, number: int, what: str) -> GalleryError:
    return GalleryError(
        f"{place.part(number)}: damaged: {what}; make it again with part={number} (--part {number})"
    )


def _created(root: Any, plan: Plan, matcher: Matcher) -> Gallery:
    """An empty gallery with the id that all parts have."""
    about = Description.of(matcher.bundle.manifest, plan.modality, plan.storage)
    return Gallery(GalleryTable.create(root, schema(about, [], plan.gallery_id)), matcher)


def _resumption(plan: Plan, number: int, matcher: Matcher, state: str) -> Resumption:
    def is_sound(root: Any) -> bool:
        try:
            Gallery.open(root, matcher).opened.check_contents()
        except GalleryError as error:
            log.info("what a stopped run left cannot be gone on with: %s", error)
            return False
        return True

    made_of = {"plan": plan.digest, "part": number, "state": state}
    return Resumption(canonical_json(made_of), is_sound)
