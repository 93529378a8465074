"""LHSC: Learning Hierarchical Semantic Correspondences (ICMR 2022)."""

from __future__ import annotations

from itr_deploy.models.lhsc.family import FAMILY

__all__ = ["FAMILY"]
