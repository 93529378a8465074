"""What a peer takes on disk: its distribution and all that it requires."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
OWN = "itr-deploy"


def installed_bytes(*requirements: str) -> int:
    """Bytes of distributions such as ``"itr-deploy[cpu]"`` and of all that they require.

    Without what Python compiles by itself. A distribution that is not installed here counts
    nothing; of ours the package in this checkout counts.
    """
    found = distributions(requirements)
    return sum(file.stat().st_size for one in found.values() for file in _files(one))


def distributions(requirements: Iterable[str]) -> dict[str, Distribution]:
    """The distributions that requirements lead to and that are installed, by name."""
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    found: dict[str, Distribution] = {}
    left = [Requirement(one) for one in requirements]
    while left:
        wanted = left.pop()
        name = canonicalize_name(wanted.name)
        if name in found and not wanted.extras:
            continue
        try:
            found[name] = distribution(name)
        except PackageNotFoundError:
            continue
        for needed in map(Requirement, found[name].requires or ()):
            marks = [{"extra": extra} for extra in ("", *wanted.extras)]
            if needed.marker is None or any(needed.marker.evaluate(mark) for mark in marks):
                left.append(needed)
    return found


def _files(one: Distribution) -> Iterator[Path]:
    if one.metadata["Name"] == OWN:
        paths: Iterable[Path] = (ROOT / "itr_deploy").rglob("*")
    else:
        paths = (Path(str(one.locate_file(file))) for file in one.files or ())
    return (path for path in paths if path.is_file() and "__pycache__" not in path.parts)
