"""The runtime half: encoding, matching and search from a bundle, without PyTorch."""

from __future__ import annotations

from itr_deploy.runtime.encoding.encoded import Encoded
from itr_deploy.runtime.gallery import Gallery
from itr_deploy.runtime.hits import Hit, Hits
from itr_deploy.runtime.matcher import Matcher
from itr_deploy.runtime.retriever import Retriever

__all__ = ["Encoded", "Gallery", "Hit", "Hits", "Matcher", "Retriever"]
