"""Optional storage types of a bundle: those whose errors are too large are left out."""

from __future__ import annotations

import logging
from pathlib import Path

from itr_deploy.bundle.manifest import Manifest, StorageType
from itr_deploy.bundle.store import write_manifest
from itr_deploy.parity.report import ParityReport

log = logging.getLogger(__name__)

OPTIONAL: tuple[StorageType, ...] = ("int8",)


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
    for storage in OPTIONAL:
        own = (entry for entry in report.entries if entry.storage == storage)
        missed = [entry for entry in own if not entry.passed]
        if missed:
            why = f"{storage} galleries are left out: {missed[0].name}: {missed[0].shortfall}"
            log.warning("%s", why)
            manifest = _without(root, manifest, storage)
            report = report.without(storage, why)
    return manifest, report


def _without(root: Path, manifest: Manifest, storage: StorageType) -> Manifest:
    dropped = {info.file for info in manifest.graphs.values() if info.storage == storage}
    graphs = {name: info for name, info in manifest.graphs.items() if info.file not in dropped}
    files = {name: info for name, info in manifest.files.items() if name not in dropped}
    left = manifest.model_copy(update={"graphs": graphs, "files": files})
    write_manifest(root, left)
    for file in dropped:
        (root / file).unlink()
    return left
