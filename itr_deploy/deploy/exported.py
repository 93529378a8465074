"""The result of an export: a bundle that was made."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from itr_deploy.parity.report import ParityReport


@dataclass(frozen=True)
class Exported:
    """A bundle that was made and compared with its sources.

    Attributes:
        path: Its directory.
        encoding_id: Identifies the encoding that its galleries must have.
        report: The parity report.
    """

    path: Path
    encoding_id: str
    report: ParityReport
