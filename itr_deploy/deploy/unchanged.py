"""A checkpoint that training still writes must not become a bundle that names another one."""

from __future__ import annotations

from pathlib import Path

from itr_deploy.bundle.files import sha256_of
from itr_deploy.errors import CheckpointError


def digest_of(checkpoint: Path) -> str | None:
    """The SHA-256 of a checkpoint; None if it cannot be read, which reading it explains."""
    try:
        return sha256_of(checkpoint) if checkpoint.is_file() else None
    except OSError:
        return None


def check_unchanged(checkpoint: Path, before: str | None, recorded: str) -> None:
    """Compare the checkpoint that was read with the one that a manifest names.

    Raises:
        CheckpointError: It was written in between.
    """
    if recorded != before:
        raise CheckpointError(
            f"{checkpoint}: changed while it was exported, training may still write it; copy it "
            "and export the copy"
        )
