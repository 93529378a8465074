"""LeaPRR: Learnable Pillar-based Re-ranking (SIGIR 2023)."""

from __future__ import annotations

from itr_deploy.models.leaprr.family import FAMILY

__all__ = ["FAMILY"]
