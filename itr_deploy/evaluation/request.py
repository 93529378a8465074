"""What an evaluation is asked for, as a digest: equal requests have equal reports."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from itr_deploy.bundle.files import canonical_json
from itr_deploy.bundle.manifest import Manifest
from itr_deploy.evaluation.data.split import Split
from itr_deploy.evaluation.options import Options
from itr_deploy.evaluation.scores.fill import scoring_digest
from itr_deploy.evaluation.scores.matrix import ScoreMatrix
from itr_deploy.runtime.matcher import Matcher
from itr_deploy.runtime.rerank.neighbours import NeighbourLists


def request_digest(
    matcher: Matcher, split: Split, options: Options, others: Sequence[ScoreMatrix] = ()
) -> str:
    """Hexadecimal SHA-256 of all that decides a report: bundle, data, options, others' scores.

    What ran the graphs is not part of it; the report says it.
    """
    manifest = matcher.bundle.manifest
    rerank = options.rerank
    asked = {
        "bundle": scoring_digest(manifest),
        "reranker": rerank and manifest.model_dump(mode="json")["reranker"],
        "pipeline": manifest.pipeline.model_dump(mode="json"),
        "data": split.digest(),
        "kind": scoring_kind(options, manifest),
        "folds": options.folds,
        "images": options.images and str(options.images.resolve()),
        "save_scores": options.save_scores,
        "merge": rerank and rerank.merge,
        "lists": rerank and {modality: _digest(lists) for modality, lists in rerank.lists.items()},
        "baseline": options.baseline and dict(options.baseline.identity),
    }
    if others:
        asked["mean_with"] = [entry.identity for entry in others]
    if options.data_set is not None:
        asked["published"] = [row.title for row in options.published]
    return hashlib.sha256(canonical_json(asked)).hexdigest()


def scoring_kind(options: Options, manifest: Manifest) -> str:
    """Which pairs an evaluation scores, and how."""
    if options.candidates is not None:
        projections = manifest.pipeline.projections.values()
        return " ".join([f"shortlist of {options.candidates}", *projections])
    return "every pair" if options.steps is None else "every pair, by step"


def _digest(lists: NeighbourLists) -> str:
    digest = hashlib.sha256(canonical_json(lists.ids))
    digest.update(lists.neighbours.tobytes())
    digest.update(lists.similarities.tobytes())
    return digest.hexdigest()
