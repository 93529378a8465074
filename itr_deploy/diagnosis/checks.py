"""What a check found."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal

from itr_deploy.errors import ItrDeployError

State = Literal["ok", "info", "missing", "problem"]


@dataclass(frozen=True)
class Check:
    """One line of the doctor.

    Attributes:
        name: What was looked at.
        state: ``ok``; ``info`` for what is good to know; ``missing`` for what is not there and
            needed by some only; ``problem`` for what does not work as it stands.
        found: What was found.
        mend: What to do about it, None where nothing is to be done.
    """

    name: str
    state: State
    found: str
    mend: str | None = None

    def to_json(self) -> dict[str, str | None]:
        """For a report."""
        return asdict(self)

    def __str__(self) -> str:
        mend = "" if self.mend is None else f"; {self.mend}"
        return f"{self.name}: {self.found}{mend}"


def problem_of(name: str, error: ItrDeployError) -> Check:
    """A problem that an error tells of: first what is wrong, then how to mend it."""
    found, _, mend = str(error).partition("; ")
    return Check(name, "problem", found, mend or None)


def in_words(size: int) -> str:
    """A number of bytes for people."""
    for unit, bits in (("GiB", 30), ("MiB", 20), ("KiB", 10)):
        if size >= 1 << bits:
            return f"{size / (1 << bits):.1f} {unit}"
    return f"{size} bytes"
