"""The published programs, plainly written in PyTorch, for one picture: what bundles are held to.

Nothing here is used by a search, and nothing of the numpy half is used here: the two are compared.
"""

from itr_deploy.models.detector.plain.program import PlainDetector, PlainRegions

__all__ = ["PlainDetector", "PlainRegions"]
