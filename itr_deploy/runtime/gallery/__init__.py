"""Galleries: encoded items in a LanceDB table."""

from __future__ import annotations

from itr_deploy.runtime.gallery.gallery import Gallery

__all__ = ["Gallery"]
