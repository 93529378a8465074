"""Links in a bundle: which may be followed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from itr_deploy.paths import local_path

FOLLOW_LINKS = "ITR_DEPLOY_FOLLOW_LINKS"
"""Environment variable: ``1`` follows every link, a directory follows those that lead into it."""
_YES, _NO = ("1", "true", "yes", "on"), ("", "0", "false", "no", "off")


def may_lead_to(root: Path, target: Path) -> bool:
    """Whether a file of the bundle in ``root`` may really be ``target``, a resolved path.

    It may lie in the bundle, in the ``blobs`` of the hub cache that the bundle is a snapshot of, or
    where `FOLLOW_LINKS` says.
    """
    declared = os.environ.get(FOLLOW_LINKS, "").strip()
    if declared.lower() in _YES:
        return True
    return any(target.is_relative_to(allowed) for allowed in _roots(root, declared))


def _roots(root: Path, declared: str) -> Iterator[Path]:
    yield root.resolve()
    if declared.lower() not in _NO:
        yield local_path(declared).resolve()
    # {repository}/snapshots/{revision}/... links to {repository}/blobs/{checksum}; the root may
    # itself be a link to a snapshot.
    for folder in (*root.absolute().parents, *root.resolve().parents):
        if folder.name == "snapshots" and (folder.parent / "blobs").is_dir():
            yield (folder.parent / "blobs").resolve()
