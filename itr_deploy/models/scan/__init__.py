"""SCAN: Stacked Cross Attention for Image-Text Matching (Lee et al., ECCV 2018)."""

from __future__ import annotations

from itr_deploy.models.scan.family import FAMILY

__all__ = ["FAMILY"]
