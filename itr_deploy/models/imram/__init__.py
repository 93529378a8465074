"""IMRAM: Iterative Matching with Recurrent Attention Memory (Chen et al., CVPR 2020)."""

from __future__ import annotations

from itr_deploy.models.imram.checkpoint import load
from itr_deploy.models.imram.config import ImramConfig
from itr_deploy.models.imram.deployed import ImramDeployment
from itr_deploy.models.imram.plain import Imram

__all__ = ["Imram", "ImramConfig", "ImramDeployment", "load"]
