"""IMRAM: Iterative Matching with Recurrent Attention Memory (Chen et al., CVPR 2020)."""

from __future__ import annotations

from itr_deploy.models.imram.family import FAMILY

__all__ = ["FAMILY"]
