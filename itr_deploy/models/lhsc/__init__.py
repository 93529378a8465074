"""LHSC: Learning Hierarchical Semantic Correspondences (ICMR 2022)."""

from __future__ import annotations

from itr_deploy.models.lhsc.checkpoint import load
from itr_deploy.models.lhsc.config import LhscConfig
from itr_deploy.models.lhsc.deployed import LhscDeployment
from itr_deploy.models.lhsc.plain import Lhsc

__all__ = ["Lhsc", "LhscConfig", "LhscDeployment", "load"]
