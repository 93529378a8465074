"""One version of a new gallery out of the data files of all parts, which are not copied.

LanceDB has no call for this; pylance has, the library that LanceDB is made of. It only writes the
new table's first manifest: what it names, LanceDB has written, and the result is read by LanceDB
before it takes the gallery's place. Until then nothing that anybody reads has changed, and a killed
run is begun again.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pyarrow as pa

from itr_deploy.bundle.files import output_errors
from itr_deploy.bundle.names import first_repeated
from itr_deploy.bundle.staging import staged_directory
from itr_deploy.errors import GalleryError, InputError, SetupError
from itr_deploy.runtime.gallery import checksums
from itr_deploy.runtime.gallery.boundary import gallery_errors
from itr_deploy.runtime.gallery.bulk.part import open_part
from itr_deploy.runtime.gallery.bulk.place import Place
from itr_deploy.runtime.gallery.bulk.plan import Plan
from itr_deploy.runtime.gallery.files import table_root
from itr_deploy.runtime.gallery.layout import TABLE, own_id
from itr_deploy.runtime.gallery.lock import replacing
from itr_deploy.runtime.gallery.table import GalleryTable

log = logging.getLogger(__name__)

LISTED = 10
"""Parts that a message names at most."""
_MISSING = "pylance, which joins parts, is not installed; pip install 'itr-deploy[parts]'"


@dataclass(frozen=True)
class Joined:
    """All parts, as they were found.

    Attributes:
        items: Number of items.
        broken: Why pictures were left out, by their ids.
    """

    items: int
    broken: dict[str, str]


def check_library() -> None:
    """Refuse, before any work, to make parts that could not be joined here.

    It is not imported: a process that starts others had better not have used it.

    Raises:
        SetupError: pylance is not installed.
    """
    if find_spec("lance") is None:
        raise SetupError(_MISSING)


def _library() -> Any:
    try:
        import lance
    except ImportError as error:
        raise SetupError(_MISSING) from error
    return lance


def join(
    place: Place,
    plan: Plan,
    *,
    force: bool,
    replaceable: Callable[[Path], bool],
    lock_timeout: float,
    looking: Callable[[str, int, int], object],
) -> Joined:
    """Make the gallery of finished parts, in one version; the parts stay.

    Args:
        place: Where the parts lie.
        plan: What they agree on.
        force: Whether an existing gallery may be replaced.
        replaceable: Says whether what is there is one.
        lock_timeout: Seconds to wait for a writer of the gallery that is replaced.
        looking: Called with a step, how much of it is done, and of how much.

    Raises:
        GalleryBusyError: Another writer is at the gallery for longer.
        GalleryError: A part is missing or damaged, or two have the same id.
        InputError: No picture of any part could be used.
        OutputError: The output exists, or the disk refuses.
        SetupError: pylance is not installed.
    """
    lance = _library()
    check_all_there(place, plan)
    broken: dict[str, str] = {}
    tables, names = [], list[str]()
    for number in range(plan.parts):
        looking("checking parts", number, plan.parts)
        record, table = open_part(place, plan, number)
        broken |= record.broken
        names += table.ids()
        if record.items:
            tables.append(table)
    looking("checking parts", plan.parts, plan.parts)
    double = first_repeated(names)
    if double is not None:
        raise GalleryError(f"{place.root}: id {double!r} is in two parts; make them again")
    if not tables:
        why = next(iter(broken.values()), "there are no items")
        raise InputError(f"none of {plan.items} pictures can be used, such as {why}")
    output = place.output
    staged = staged_directory(
        output, force=force, replaceable=replaceable, kind="gallery", last=f"{TABLE}.lance"
    )
    with replacing(output, lock_timeout) if force else nullcontext(), staged as root:
        _commit(lance, root, tables)
        found = GalleryTable.open(root)
        if found.count() != len(names):
            raise GalleryError(f"{output}: holds {found.count()} items, not {len(names)}")
    return Joined(len(names), broken)


def check_all_there(place: Place, plan: Plan) -> None:
    """Refuse to join parts of which some are missing.

    Raises:
        GalleryError: One is; says how to make it.
    """
    missing = [number for number in range(plan.parts) if not place.part(number).is_dir()]
    if missing:
        more = f" and {len(missing) - LISTED} more" if len(missing) > LISTED else ""
        named = ", ".join(map(str, missing[:LISTED])) + more
        raise GalleryError(
            f"{place.root}: {len(missing)} of {plan.parts} parts are not finished: {named}; make "
            f"each with index(..., parts={plan.parts}, part={missing[0]}) (itr-deploy index "
            f"... --parts {plan.parts} --part {missing[0]}), then commit again"
        )


def is_joined(place: Place, plan: Plan) -> bool:
    """Whether the gallery that is there is that of the parts, also if it went on since."""
    try:
        return own_id(GalleryTable.open(place.output).state.schema) == plan.gallery_id
    except GalleryError:
        return False


def _commit(lance: Any, root: Path, tables: Sequence[GalleryTable]) -> None:
    """Make a table at ``root`` of the fragments of others, in their order."""
    target, layout = table_root(str(root)), _layout(tables)
    (target / "data").mkdir(parents=True)
    fragments: list[Any] = []
    for table in tables:
        source = table_root(table.path)
        with gallery_errors(table.path):
            found = lance.dataset(str(source), version=table.state.version).get_fragments()
            described = [fragment.metadata.to_json() for fragment in found]
        for known in described:
            if known["deletion_file"] is not None:
                raise GalleryError(f"{table.path}: items were deleted; make this part again")
            own = {**known, "id": len(fragments)}
            fragments.append(lance.FragmentMetadata.from_json(json.dumps(own)))
            _share((source / "data", target / "data"), [file["path"] for file in known["files"]])
    with gallery_errors(root):
        lance.LanceDataset.commit(str(target), lance.LanceOperation.Overwrite(layout, fragments))
    # They were compared as the parts were checked, and a link is the same file.
    checksums.take_over(target, [table_root(table.path) for table in tables])


def _layout(tables: Sequence[GalleryTable]) -> pa.Schema:
    first = tables[0].state.schema
    for table in tables[1:]:
        if not table.state.schema.equals(first, check_metadata=True):
            raise GalleryError(
                f"{table.path}: its columns are not those of {tables[0].path}; make this part again"
            )
    return first


def _share(folders: tuple[Path, Path], names: Iterable[str]) -> None:
    """Have files in a second folder too, without a copy where the file system has hard links."""
    before, after = folders
    for name in names:
        try:
            os.link(before / name, after / name)
        except OSError:
            log.debug("%s: no hard links here, so it is copied", after / name)
            with output_errors(after):
                shutil.copyfile(before / name, after / name)
