"""`export_reranker`: adds a re-ranker's checkpoint to a matcher's bundle."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from itr_deploy.bundle.files import write_json
from itr_deploy.bundle.staging import check_output, staged_directory
from itr_deploy.bundle.store import MANIFEST, PARITY, RERANKER_PARITY, is_only_a_bundle, read_bundle
from itr_deploy.deploy.export_half import export_half
from itr_deploy.deploy.exported import Exported
from itr_deploy.deploy.families import family_named
from itr_deploy.deploy.unchanged import check_unchanged, digest_of
from itr_deploy.errors import ParityError
from itr_deploy.models import registry
from itr_deploy.values import FLAG, FUNCTION, PATH, TEXT, checked, choice, whole

log = logging.getLogger(__name__)

MANY_TIES = (
    "%s is in bfloat16, which moves near ties, and a re-ranker reads small differences: Recall@K "
    "may change by some tenths of a point; export the base in float16 or float32 to avoid that"
)

EdgeThresholds = Literal["rows", "published"]
IntraSimilarity = Literal["pooled", "lists"]


@checked(
    family=TEXT,
    checkpoint=PATH,
    base=PATH,
    output=PATH,
    heads=whole(1),
    rows_text_to_image=whole(2),
    rows_image_to_text=whole(2),
    edge_thresholds=choice(EdgeThresholds),
    intra_similarity=choice(IntraSimilarity),
    force=FLAG,
    progress=FUNCTION,
)
def export_reranker(
    family: str,
    *,
    checkpoint: str | Path,
    base: str | Path,
    output: str | Path,
    heads: int | None = None,
    rows_text_to_image: int | None = None,
    rows_image_to_text: int | None = None,
    edge_thresholds: EdgeThresholds = "rows",
    intra_similarity: IntraSimilarity = "pooled",
    force: bool = False,
    progress: Callable[[str], None] = lambda step: None,
) -> Exported:
    """Add a re-ranker to a matcher's bundle; its graphs are compared with PyTorch first.

    Args:
        family: A re-ranker of `itr_deploy.models.registry`, for example ``"leaprr"``.
        checkpoint: The published program's checkpoint.
        base: The bundle of the matcher whose rankings it was trained on.
        output: Directory of the new bundle; the base's galleries open with it. Must not exist
            unless ``force`` is given.
        heads: Number of attention heads, which the weights do not show; by default the published
            number.
        rows_text_to_image: K of a text query: the query and the K-1 images that are re-scored; the
            published K by default.
        rows_image_to_text: K of an image query: the query and the K-1 texts that are re-scored; the
            published K by default.
        edge_thresholds: What an edge must exceed: ``"rows"`` is a share of 1 / K, ``"published"``
            the published program's constants, whatever K is. Both agree at the published K.
        intra_similarity: Similarity within a modality in training: the cosine of the base's
            ``"pooled"`` embeddings, or your own ``"lists"``, which are given with the gallery.
        force: Replace an existing bundle.
        progress: Called with the name of each step as it begins.

    Raises:
        CheckpointError: The checkpoint cannot be used.
        BundleError: The base is damaged, or already has a re-ranker.
        OutputError: The output exists, or writing fails.
        ParityError: The graphs differ from PyTorch; nothing is left.
        SetupError: PyTorch or onnx is not installed.
        UsageError: The family is unknown, or the settings make no sense.
    """
    checkpoint, base, output = Path(checkpoint), Path(base), Path(output)
    entry = family_named(family, registry.RERANKERS)
    kind = {"replaceable": is_only_a_bundle, "kind": "bundle"}
    check_output(output, force=force, **kind)  # type: ignore[arg-type]
    opened = read_bundle(base)
    if opened.manifest.precision == "bfloat16":
        log.warning(MANY_TIES, base)
    progress("loading PyTorch")
    with export_half():
        from itr_deploy.exporters.reranker import RerankSettings, RerankSource, build_reranked
        from itr_deploy.parity.report import missed
        from itr_deploy.parity.reranker import compare_reranker
    rows = (rows_text_to_image or entry.rows[0], rows_image_to_text or entry.rows[1])
    settings = RerankSettings(
        rows=rows,
        published_thresholds=edge_thresholds == "published",
        intra_similarity="pooled_cosine" if intra_similarity == "pooled" else "neighbour_lists",
    )
    progress(f"reading {checkpoint.name}")
    digest = digest_of(checkpoint)
    source = RerankSource(entry, checkpoint, entry.load(checkpoint, heads or entry.heads), settings)
    with staged_directory(output, force=force, last=MANIFEST, **kind) as root:  # type: ignore[arg-type]
        manifest = build_reranked(opened, source, root, progress)
        if manifest.reranker is not None:
            recorded = manifest.reranker.provenance.checkpoint_sha256
            check_unchanged(checkpoint, digest, recorded)
        if (base / PARITY).is_file():
            shutil.copyfile(base / PARITY, root / PARITY)
        progress("comparison with PyTorch")
        report = compare_reranker(source.trained, read_bundle(root))
        if not report.passed:
            raise ParityError(missed(report, "no bundle was written"))
        write_json(root / RERANKER_PARITY, report.to_json())
    return Exported(output, manifest.encoding_id, report)
