"""The types of gallery tensors that a bundle's graphs read, and those that are left out.

Optional are those whose errors may be too large.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

from itr_deploy.bundle.manifest import HeldType, Manifest
from itr_deploy.bundle.store import write_manifest
from itr_deploy.parity.report import ParityReport
from itr_deploy.runtime.encoding.encoded import Encoded
from itr_deploy.runtime.encoding.in_bytes import in_bytes
from itr_deploy.runtime.scorer import Scorer

log = logging.getLogger(__name__)

OPTIONAL: dict[HeldType, str] = {
    "int8": "int8 galleries are left out",
    "uint8": "candidates are not chosen by bytes",
}
"""What it means that a type is left out."""


def in_every_type(
    scorer: Scorer, gallery: Encoded, manifest: Manifest
) -> Iterator[tuple[HeldType, Encoded]]:
    """The items in every type that a bundle's graphs of one scorer read."""
    for storage in manifest.storages:
        yield storage, gallery.stored_as(storage)
    names = scorer.in_bytes(gallery.modality)
    if names:
        yield "uint8", in_bytes(gallery, names)


def leave_out_missed(
    root: Path, manifest: Manifest, report: ParityReport
) -> tuple[Manifest, ParityReport]:
    """Remove the graphs of optional storage types whose comparisons failed, with a warning.

    Args:
        root: The bundle's directory.
        manifest: Its manifest, rewritten if something is removed.
        report: The comparisons.

    Returns:
        The manifest and the report without what was removed.

    Raises:
        OutputError: The manifest cannot be written.
    """
    for storage, means in OPTIONAL.items():
        own = (entry for entry in report.entries if entry.storage == storage)
        missed = [entry for entry in own if not entry.passed]
        if missed:
            why = f"{means}: {missed[0].name}: {missed[0].shortfall}"
            log.warning("%s", why)
            manifest = _without(root, manifest, storage)
            report = report.without(storage, why)
    return manifest, report


def _without(root: Path, manifest: Manifest, storage: HeldType) -> Manifest:
    dropped = {info.file for info in manifest.graphs.values() if info.storage == storage}
    graphs = {name: info for name, info in manifest.graphs.items() if info.file not in dropped}
    files = {name: info for name, info in manifest.files.items() if name not in dropped}
    left = manifest.model_copy(update={"graphs": graphs, "files": files})
    write_manifest(root, left)
    for file in dropped:
        (root / file).unlink()
    return left
