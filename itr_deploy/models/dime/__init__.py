"""DIME: Dynamic Modality Interaction Modeling for Image-Text Retrieval (Qu et al., SIGIR 2021)."""

from __future__ import annotations

from itr_deploy.models.dime.bert import BertSizes
from itr_deploy.models.dime.checkpoint import load
from itr_deploy.models.dime.config import DimeConfig
from itr_deploy.models.dime.deployed import DimeDeployment
from itr_deploy.models.dime.plain import Dime

__all__ = ["BertSizes", "Dime", "DimeConfig", "DimeDeployment", "load"]
