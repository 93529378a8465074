"""`evaluate`: the standard retrieval protocol on a split."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from itr_deploy.bundle.modality import MATCHERS, Modality
from itr_deploy.bundle.published import (
    CAPTIONS_PER_IMAGE,
    PROTOCOLS,
    DataSet,
    EvaluationProtocol,
)
from itr_deploy.deploy.export_half import export_half
from itr_deploy.errors import UsageError
from itr_deploy.evaluation.data.split import Split, read_split
from itr_deploy.evaluation.directory import check_evaluation_output
from itr_deploy.evaluation.evaluate import evaluate as evaluate_split
from itr_deploy.evaluation.measures.baseline import Baseline
from itr_deploy.evaluation.measures.reranking import MergeKind
from itr_deploy.evaluation.options import Options, RerankOptions
from itr_deploy.evaluation.progress import BAR, QUIET, Bar
from itr_deploy.evaluation.report.model import EvaluationReport
from itr_deploy.models.registry import FAMILIES
from itr_deploy.models.registry import published as figures_of
from itr_deploy.runtime.matcher import Matcher
from itr_deploy.runtime.rerank.neighbours import NeighbourLists
from itr_deploy.runtime.rerank.reranking import reranker_of
from itr_deploy.values import FLAG, PATH, TEXT, checked, choice, each, whole


@checked(
    bundle=PATH,
    data=PATH,
    split=TEXT,
    output=PATH,
    candidates=whole(1),
    steps=FLAG,
    rerank=FLAG,
    merge=choice(MergeKind),
    image_neighbours=PATH,
    text_neighbours=PATH,
    mean_with=each(PATH),
    checkpoints=each(PATH),
    images=PATH,
    folds=whole(1),
    first=whole(1),
    captions=PATH,
    published=choice(DataSet),
    save_scores=FLAG,
    force=FLAG,
    device=TEXT,
    backend=TEXT,
    bar=BAR,
)
def evaluate(
    bundle: str | Path,
    *,
    data: str | Path,
    split: str = "test",
    output: str | Path = "evaluation",
    candidates: int | None = None,
    steps: bool = False,
    rerank: bool = False,
    merge: MergeKind | None = None,
    image_neighbours: str | Path | None = None,
    text_neighbours: str | Path | None = None,
    mean_with: Sequence[str | Path] = (),
    checkpoints: Sequence[str | Path] = (),
    images: str | Path | None = None,
    folds: int = 1,
    first: int | None = None,
    captions: str | Path | None = None,
    published: DataSet | None = None,
    save_scores: bool = False,
    force: bool = False,
    device: str = "cpu",
    backend: str = "auto",
    bar: Bar = QUIET,
) -> EvaluationReport:
    """Score the images of a split with its captions and report Recall@K in both directions.

    If it is stopped or killed, the same call resumes. Once it is finished, the same call says so
    and returns the report.

    Args:
        bundle: The bundle's directory.
        data: Directory with ``{split}_ims.npy`` or ``_feat.npy``, ``_caps.txt`` and ``_ids.txt``;
            for a model that starts from pixels, of pictures: docs/guides/pictures.md.
        split: Name of the split.
        output: Directory of the report; an unfinished evaluation there is continued.
        candidates: Score only this many items per query, shortlisted by the coarse embedding; by
            default every pair.
        steps: Also report the Recall@K of every matching step, if the bundle's graphs output each
            step's part of a score.
        rerank: Re-rank the best hits of every query and merge both directions, as the published
            evaluation of re-rankers does.
        merge: For ``rerank``: ``"published"``, the default, writes the new scores into the
            matcher's unchanged; ``"order"`` reassigns the matcher's scores in the new order.
        image_neighbours: For ``rerank``: neighbour lists of the images (.npz) instead of pooled
            embeddings.
        text_neighbours: The same for the captions.
        mean_with: Directories of evaluations of the same images and captions, made with
            ``save_scores``: rank by the mean of their scores and this bundle's, as the field's
            ensembles do. For models that no ensemble bundle takes together.
        checkpoints: Also score with the PyTorch model of these checkpoints and report the
            difference of every figure: one checkpoint, or one per member of an ensemble; with
            ``rerank``, the re-ranker's last.
        images: Directory of pictures named by the split's ids, for the page's examples.
        folds: Also average over this many folds of the images: 5 for MS-COCO's 1K figures.
        first: Evaluate on the first captions of the split, this many, and the images that they
            belong to. The published programs take the first 5,000 of a dev split.
        captions: The captions, as a JSON file of Karpathy's splits such as ``dataset_coco.json``;
            by default the split's own files.
        published: The data set that the split is of, ``"f30k"`` or ``"coco"``: the report then has
            the published figures of this family on it. They are of the whole test set, with
            ``folds=5`` for MS-COCO's 1K figures.
        save_scores: Keep the score matrix, ``scores/scores.npy``.
        force: Replace a finished evaluation.
        device: ``"cpu"`` or ``"cuda"``.
        backend: The backend that runs the graphs, see `Matcher.load`.
        bar: Shows the progress, in pairs.

    Returns:
        The report, also written to `evaluation.json`.

    Raises:
        BundleError: The bundle is damaged, or has no re-ranker for ``rerank``.
        CheckpointError: A checkpoint is not the bundle's.
        InputError: The data cannot be read or does not fit the bundle.
        OutputError: The output is finished or is not an evaluation, or writing fails.
        SetupError: PyTorch is not installed, for ``checkpoints``.
        UsageError: Options exclude each other, or the bundle's graphs do not output the steps;
            ``first`` or ``published`` does not fit the split.
    """
    given: dict[Modality, str | Path | None] = {
        "image": image_neighbours,
        "text": text_neighbours,
    }
    lists = {modality: Path(path) for modality, path in given.items() if path is not None}
    if not rerank and (merge is not None or lists):
        raise UsageError(
            "merge= and neighbour lists are for re-ranking; give rerank=True (--rerank) with them"
        )
    twice = [path for place, path in enumerate(mean_with) if path in mean_with[:place]]
    if twice:
        raise UsageError(
            f"mean_with= (--mean-with) has {str(twice[0])!r} twice, and every model counts once; "
            "leave one out"
        )
    if any(Path(path).resolve() == Path(output).resolve() for path in mean_with):
        raise UsageError(
            f"mean_with={str(output)!r} (--mean-with) is the output itself; give another output "
            "(--output)"
        )
    check_evaluation_output(Path(output), force=force)
    matcher = Matcher.load(bundle, device=device, backend=backend)
    read = read_split(
        Path(data),
        split,
        captions=None if captions is None else Path(captions),
        first=first,
        pictures=bool(matcher.bundle.manifest.images.pictures),
    )
    protocols = PROTOCOLS if published is None else _protocols(published, read, folds)
    options = Options(
        candidates=candidates,
        folds=folds,
        steps=_step_output(matcher) if steps else None,
        images=None if images is None else Path(images),
        save_scores=save_scores,
        force=force,
        mean_with=[Path(path) for path in mean_with],
        rerank=_rerank_options(matcher, lists, merge or "published") if rerank else None,
        baseline=_baseline(matcher, read, checkpoints, rerank) if checkpoints else None,
        published=figures_of(_families(matcher, rerank), protocols),
        data_set=published,
    )
    return evaluate_split(matcher, read, Path(output), options, bar)


def _protocols(data_set: DataSet, split: Split, folds: int) -> list[EvaluationProtocol]:
    """The protocols on a data set that an evaluation of this split follows.

    Raises:
        UsageError: There are none: the split is not the test set.
    """
    images, captions = len(split.image_ids), len(split.captions)
    own = [protocol for protocol in PROTOCOLS if protocol.data_set == data_set]
    found = [protocol for protocol in own if protocol.fits(images, captions, folds)]
    if not found:
        size = own[0].images
        raise UsageError(
            f"published={data_set!r} (--published): the figures are of {size} images and "
            f"{size * CAPTIONS_PER_IMAGE} captions; this split has {images} and {captions}"
        )
    return found


def _families(matcher: Matcher, rerank: bool) -> set[str]:
    """The families that contribute to a bundle's scores, including the re-ranker's if used."""
    manifest = matcher.bundle.manifest
    reranker = {reranker_of(matcher).family} if rerank else set[str]()
    return {manifest.family, *(member.family for member in manifest.members), *reranker}


def _step_output(matcher: Matcher) -> str:
    """Name of the matcher graphs' output with every matching step's part of a score.

    Raises:
        UsageError: The bundle's graphs have no such output.
    """
    manifest, steps = matcher.bundle.manifest, {entry.name: entry.steps for entry in FAMILIES}
    graph = manifest.graphs[manifest.graph(MATCHERS["text"], "float32")]
    own = steps.get(manifest.family)
    if own is not None and own.output in {entry.name for entry in graph.outputs}:
        return own.output
    given_by = [entry.given_by for entry in steps.values() if entry is not None]
    raise UsageError(
        f"{matcher.bundle.path} gives no scores of single steps; evaluate {' or '.join(given_by)} "
        "(an ensemble keeps none)"
    )


def _rerank_options(
    matcher: Matcher, lists: dict[Modality, Path], merge: MergeKind
) -> RerankOptions:
    if reranker_of(matcher).intra_similarity == "neighbour_lists" and len(lists) < 2:
        raise UsageError(
            "this re-ranker was trained with neighbour lists for the similarity within a "
            "modality; give image_neighbours= and text_neighbours= (--image-neighbours, "
            "--text-neighbours)"
        )
    return RerankOptions({m: NeighbourLists.read(path) for m, path in lists.items()}, merge)


def _baseline(
    matcher: Matcher, split: Split, checkpoints: Sequence[str | Path], rerank: bool
) -> Baseline:
    with export_half():
        from itr_deploy.parity.baseline import torch_baseline
    return torch_baseline(matcher, split, [Path(file) for file in checkpoints], rerank=rerank)
