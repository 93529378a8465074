"""LeaPRR: Learnable Pillar-based Re-ranking (SIGIR 2023)."""

from __future__ import annotations

from itr_deploy.models.leaprr.checkpoint import load
from itr_deploy.models.leaprr.config import LeaprrConfig
from itr_deploy.models.leaprr.network import Leaprr

__all__ = ["Leaprr", "LeaprrConfig", "load"]
