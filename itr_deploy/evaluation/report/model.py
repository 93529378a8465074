"""The report of an evaluation: what `evaluate` returns and `evaluation.json` holds.

Recalls and shares of queries are in percent; ranks begin at 1.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from itr_deploy.bundle.record import Record, SparseRecord
from itr_deploy.evaluation.measures.figures import BothWays, Recall


class EvaluatedBundle(SparseRecord):
    """Which bundle was evaluated.

    Attributes:
        path: Its directory, as it was given.
        family: The matcher's family, ``"ensemble"`` for several.
        options: The options with which the matcher was exported.
        members: Families of an ensemble's members; empty for a single matcher.
        front: Family of the dual encoder in front of a cascade's matcher.
        encoding_id: Identifies the encoding of the bundle's galleries, a hexadecimal SHA-256.
        checkpoint: Name of the checkpoint's file.
    """

    path: str
    family: str
    options: dict[str, bool | int | float | str]
    members: tuple[str, ...]
    encoding_id: str
    checkpoint: str
    front: str | None = None


class EvaluatedData(SparseRecord):
    """Which data it was evaluated on.

    Attributes:
        split: Name of the split.
        images: Number of images.
        captions: Number of captions.
        captions_per_image: Number of captions per image; None if the images have different numbers.
        images_without_captions: Number of images that are searched and are no queries, None if
            every image has captions.
        first: Number of captions that the split was cut to, None if it is whole.
    """

    split: str
    images: int
    captions: int
    captions_per_image: int | None = None
    images_without_captions: int | None = None
    first: int | None = None


class Curve(Record):
    """Recall@K of one stage.

    Attributes:
        depths: Values of K, ascending.
        image_to_text: Percentage of images with a right caption among the first K.
        text_to_image: Percentage of captions whose image is among the first K.
    """

    depths: tuple[int, ...]
    image_to_text: tuple[float, ...]
    text_to_image: tuple[float, ...]


class StageFigures(Record):
    """How well one stage of a search ranks: the coarse embedding, a shortlist, the re-ranker.

    Attributes:
        name: Its name.
        widths: Items that the matcher scores per query; 0 for none, None for every item.
        recall: Its figures.
        curve: Its Recall@K by K.
    """

    name: str
    widths: BothWays[int | None]
    recall: Recall
    curve: Curve


class ShortlistFigures(SparseRecord):
    """What the matcher finds on a shortlist, in one direction.

    Attributes:
        prefilter: Items that the prefilter chose from; None without a prefilter.
        refine: Items that the refiner chose the shortlist from; None without a refiner.
        width: Number of items in the shortlist.
        r1: Percentage of queries whose right answer is first.
        r5: Percentage of queries whose right answer is among the first five.
        r10: The same for the first ten.
        share_of_top10: Share of the ten best of an exhaustive search that the shortlist holds,
            from 0 to 1; None if not every pair was scored.
        share_of_top10_plain: The same without the bundle's projection of the coarse embeddings;
            None if it has none.
    """

    prefilter: int | None = None
    refine: int | None = None
    width: int
    r1: float
    r5: float
    r10: float
    share_of_top10: float | None = None
    share_of_top10_plain: float | None = None

    @property
    def recalls(self) -> tuple[float, float, float]:
        """R@1, R@5 and R@10."""
        return self.r1, self.r5, self.r10

    @property
    def shares(self) -> tuple[float | None, float | None]:
        """Shares of the ten best: as the bundle searches, and without its projection."""
        return self.share_of_top10, self.share_of_top10_plain


class SimilarityWithin(Record):
    """How a re-ranker compared items of one modality: by embeddings or by neighbour lists."""

    images: str
    captions: str


class RerankFigures(Record):
    """How the best items of every query were re-ranked.

    Attributes:
        merge: How both directions' new scores were merged into the matcher's.
        warning: Why the merge does not suit this matcher, None if it does.
        family: The re-ranker's family.
        checkpoint: Name of its checkpoint's file.
        rows: Rows that it reads per query: the query and the candidates that get new scores.
        pillars: Width of a row: similarities to the query and to its pillars.
        similarity_within: How it compares items of one modality.
    """

    merge: Literal["published", "order"]
    warning: str | None
    family: str
    checkpoint: str
    rows: BothWays[int]
    pillars: int
    similarity_within: SimilarityWithin


class StepFigures(Record):
    """Recall of one step of a matcher whose score is the sum of its steps' scores.

    Attributes:
        step: Its number, from 1.
        alone: Recall by its own part of the score.
        up_to: Recall by the sum of all parts up to it.
    """

    step: int
    alone: Recall
    up_to: Recall


class FoldFigures(Record):
    """Recall within equal folds of the images.

    Attributes:
        count: Number of folds.
        mean: The mean of every figure over the folds.
        each: The figures of every fold, in order.
    """

    count: int
    mean: Recall
    each: tuple[Recall, ...]


class SplitFigures(SparseRecord):
    """Recall over the whole split, and its mean over folds if there are any."""

    recall: Recall
    folds_mean: Recall | None = None


class BaselineFigures(SparseRecord):
    """Another way of scoring the same split, and how the bundle differs from it.

    Attributes:
        name: What computed the scores, for example ``"PyTorch 2.13.0"``.
        recall: Its figures.
        folds_mean: Their mean over folds, None without folds.
        difference: Every figure of the bundle minus the baseline's.
        queries_with_another_rank: Number of queries whose right answer has a different rank.
        largest_score_difference: The largest absolute difference between a pair's two scores.
    """

    name: str
    recall: Recall
    folds_mean: Recall | None = None
    difference: SplitFigures
    queries_with_another_rank: BothWays[int]
    largest_score_difference: float


class Run(Record):
    """The run that wrote the report; one that resumes another scores fewer pairs.

    Attributes:
        pairs_scored: Number of pairs that it scored itself.
        scoring_seconds: Seconds that it spent on encoding and scoring.
        peak_memory_bytes: The process's peak memory in bytes, None if the system does not report
            it.
        backend: What ran the graphs.
    """

    pairs_scored: int
    scoring_seconds: float
    peak_memory_bytes: int | None
    backend: str


class PublishedFigures(SparseRecord):
    """Figures from a paper, on the data set that the split was said to be of.

    Attributes:
        model: The paper's name for it.
        data: What they were measured on.
        folds: Number of folds over which they are averaged, 1 for the whole split.
        image_to_text: R@1, R@5 and R@10, None if not available.
        text_to_image: The same for the other direction.
        rsum: The sum of the six.
        source: The paper.
    """

    model: str
    data: str
    folds: int
    image_to_text: tuple[float, float, float] | None = None
    text_to_image: tuple[float, float, float] | None = None
    rsum: float
    source: str


class EvaluationReport(SparseRecord):
    """What an evaluation found.

    ``model_dump_json()`` returns what `evaluation.json` holds, without the parts that were not
    requested; ``EvaluationReport.model_validate_json(path.read_text())`` reads it.

    Attributes:
        schema_version: Version of this schema.
        bundle: Which bundle was evaluated.
        data: Which data it was evaluated on.
        scoring: ``"exhaustive"``, or how wide a shortlist was scored.
        mean_with: Evaluations whose scores were averaged with the bundle's, None if there are none.
        recall: The figures of the last stage.
        stages: Every stage of a search, cheapest first.
        shortlists: What shortlists of several widths by the coarse embedding find and keep.
        cascade: The same for the bundle's own widths behind its prefilter; None without one.
        rerank: How it was re-ranked, None if it was not.
        steps: Recall of the matcher's single steps, None if not requested.
        folds: Recall within folds of the images, None for one fold.
        baseline: The baseline's figures and the differences, None without one.
        published: Published figures that these compare with, None if the data set was not said.
        warning: What is wrong with the scores, None if nothing seems to be.
        run: The run that wrote the report.
        request: Digest of what was asked for, by which the same request is known; None in the
            reports of older releases.
    """

    schema_version: Literal[1] = 1
    bundle: EvaluatedBundle
    data: EvaluatedData
    scoring: str
    mean_with: tuple[str, ...] | None = None
    recall: Recall
    stages: tuple[StageFigures, ...]
    shortlists: BothWays[tuple[ShortlistFigures, ...]]
    cascade: BothWays[tuple[ShortlistFigures, ...]] | None = None
    rerank: RerankFigures | None = None
    steps: tuple[StepFigures, ...] | None = None
    folds: FoldFigures | None = None
    baseline: BaselineFigures | None = None
    published: tuple[PublishedFigures, ...] | None = None
    warning: str | None = None
    run: Run
    request: str | None = None

    def all_shortlists(self) -> Iterator[tuple[str, tuple[ShortlistFigures, ...]]]:
        """The name of each direction and its shortlists, those behind a prefilter last."""
        behind = dict(self.cascade.named()) if self.cascade is not None else {}
        for direction, found in self.shortlists.named():
            yield direction, (*found, *behind.get(direction, ()))
