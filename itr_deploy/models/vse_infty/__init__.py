"""VSE-infinity: Learning the Best Pooling Strategy for Visual Semantic Embedding (CVPR 2021)."""

from __future__ import annotations

from itr_deploy.models.vse_infty.family import FAMILY

__all__ = ["FAMILY"]
