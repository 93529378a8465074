"""CAMERA: Context-Aware Multi-View Summarization Network (Qu et al., ACM Multimedia 2020)."""

from __future__ import annotations

from itr_deploy.models.camera.family import FAMILY

__all__ = ["FAMILY"]
