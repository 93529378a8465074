"""A bundle that was made."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from itr_deploy.parity.report import ParityReport


@dataclass(frozen=True)
class Exported:
    """A bundle that was made and compared with what it was made from.

    Attributes:
        path: Its directory.
        encoding_id: What its galleries are bound to.
        report: What parity measured.
    """

    path: Path
    encoding_id: str
    report: ParityReport
