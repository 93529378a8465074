"""DIME: Dynamic Modality Interaction Modeling for Image-Text Retrieval (Qu et al., SIGIR 2021)."""

from __future__ import annotations

from itr_deploy.models.dime.family import FAMILY

__all__ = ["FAMILY"]
