"""SGRAF: Similarity Reasoning and Filtration (AAAI 2021), its modules SAF and SGR."""

from __future__ import annotations

from itr_deploy.models.sgraf.family import FAMILY

__all__ = ["FAMILY"]
