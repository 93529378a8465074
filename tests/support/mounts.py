"""Volumes and read-only places, in a mount namespace that ends with its process."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest

NAMESPACE = ("unshare", "--user", "--map-root-user", "--mount")


def in_a_mount_namespace(shell: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run a shell script that mounts; ``$PYTHON`` is this Python, ``$1`` the first argument.

    The test is skipped where the system does not allow it.
    """
    if (
        shutil.which("unshare") is None
        or subprocess.run([*NAMESPACE, "true"], capture_output=True, check=False).returncode
    ):
        pytest.skip("this system has no mount namespaces for users")
    words = [*NAMESPACE, "sh", "-eu", "-c", f"PYTHON={sys.executable}; {shell}", "sh"]
    return subprocess.run(
        [*words, *map(str, arguments)], capture_output=True, text=True, check=False
    )
