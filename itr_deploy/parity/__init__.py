"""Parity: the bundle, run by the runtime, against the model in PyTorch.

The only place that uses both halves: the checkpoint is read as for export, the bundle is run as in
production.
"""

from __future__ import annotations

from itr_deploy.parity.gate import verify
from itr_deploy.parity.report import Comparison, ParityReport, RankComparison

__all__ = ["Comparison", "ParityReport", "RankComparison", "verify"]
