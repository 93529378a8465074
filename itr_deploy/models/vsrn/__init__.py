"""VSRN: Visual Semantic Reasoning Network (Li et al., ICCV 2019)."""

from __future__ import annotations

from itr_deploy.models.vsrn.family import FAMILY

__all__ = ["FAMILY"]
