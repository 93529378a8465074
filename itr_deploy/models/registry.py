"""The families this SDK deploys: one entry each, without importing torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from itr_deploy.models.contract import TrainedMatcher, TrainedReranker
    from itr_deploy.models.dime.counter import RouteCounter


DEFAULT_OPSET = 20
"""Opset 23 has an Attention operator that TensorRT does not build; 20 is taken everywhere."""


@dataclass(frozen=True)
class FamilyOption:
    """Something a family lets one say at export, passed to its ``load`` by name.

    Attributes:
        name: Its name on the command line and in manifests.
        help: One or two sentences for people.
        kind: ``choice`` of `choices`; ``number`` from 0 to 1; ``directory``, passed as its path;
            ``file``, passed as its text.
        choices: What a choice may be.
        default: Its value where none is given.
        kept: Whether the manifest has its value, so that a bundle can be verified with it.
    """

    name: str
    help: str
    kind: Literal["choice", "number", "directory", "file"] = "choice"
    choices: tuple[str, ...] = ()
    default: str | float = ""
    kept: bool = True


@dataclass(frozen=True)
class Family:
    """A family's registration.

    Attributes:
        name: Its name on the command line and in manifests.
        title: One line for people.
        text: Kind of its text processing.
        load: Reads a checkpoint; imports the family's module when called.
        options: What `load` takes besides the checkpoint.
        profiler: Makes what counts the use of the routes in a model that has a choice of them.
    """

    name: str
    title: str
    text: str
    load: Callable[..., TrainedMatcher]
    options: tuple[FamilyOption, ...] = field(default=())
    profiler: Callable[[], RouteCounter] | None = None


def _load_imram(checkpoint: Path, **options: Any) -> TrainedMatcher:
    from itr_deploy.models import imram

    return imram.load(checkpoint, **options)


def _load_lhsc(checkpoint: Path, **options: Any) -> TrainedMatcher:
    from itr_deploy.models import lhsc

    return lhsc.load(checkpoint, **options)


def _load_dime(checkpoint: Path, **options: Any) -> TrainedMatcher:
    from itr_deploy.models import dime

    return dime.load(checkpoint, **options)


def _dime_profiler() -> RouteCounter:
    from itr_deploy.models.dime.counter import RouteCounter

    return RouteCounter()


FAMILIES: tuple[Family, ...] = (
    Family(
        name="imram",
        title="Iterative Matching with Recurrent Attention Memory (CVPR 2020)",
        text="nltk_words",
        load=_load_imram,
        options=(
            FamilyOption(
                name="precompute",
                choices=("full", "none"),
                default="full",
                help="What is computed once an item and stored: every projection, or embeddings "
                "only (smaller galleries, several times more work a pair).",
            ),
            FamilyOption(
                name="step_scores",
                choices=("no", "yes"),
                default="no",
                help="Whether the matcher graphs also give every matching step's part of a score, "
                "for evaluate --steps.",
            ),
        ),
    ),
    Family(
        name="lhsc",
        title="Learning Hierarchical Semantic Correspondences (ICMR 2022)",
        text="nltk_words",
        load=_load_lhsc,
        options=(
            FamilyOption(
                name="text_padding",
                choices=("true-length", "published"),
                default="true-length",
                help="What a caption's self-attention reads: its own words, so that it scores the "
                "same in any batch; or also the padding of its batch of 100, as the published "
                "evaluation does, to reproduce a published number.",
            ),
        ),
    ),
    Family(
        name="dime",
        title="Dynamic Modality Interaction Modeling (SIGIR 2021)",
        text="wordpiece",
        load=_load_dime,
        options=(
            FamilyOption(
                name="bert_config",
                kind="file",
                help="The bert_config.json of the text encoder's BERT; bert-base-uncased's "
                "sizes without it.",
            ),
            FamilyOption(
                name="gates",
                choices=("no", "yes"),
                default="no",
                help="Whether the matcher graphs also give the routers' gates of every pair.",
            ),
            FamilyOption(
                name="prune_routes",
                kind="file",
                help="A profile of itr-deploy profile-routes: what it never saw used is left out.",
            ),
            FamilyOption(
                name="threshold",
                kind="number",
                default=0.0,
                help="Largest mean share of a sum that a pruned gate may have had. At 0 scores "
                "stay exact on the profiled data; above, what changes there is reported.",
            ),
            FamilyOption(
                name="profiled_data",
                kind="directory",
                kept=False,
                help="Where the profiled data is, if not where it was when it was profiled.",
            ),
        ),
        profiler=_dime_profiler,
    ),
)


def family(name: str) -> Family:
    """The family registered as ``name``.

    Raises:
        KeyError: There is none.
    """
    return {entry.name: entry for entry in FAMILIES}[name]


@dataclass(frozen=True)
class RerankerFamily:
    """A re-ranker's registration.

    Attributes:
        name: Its name on the command line and in manifests.
        title: One line for people.
        load: Reads a checkpoint, given the number of heads.
        heads: Heads of the published checkpoints.
        rows: K of the published program for text and image queries; its edge thresholds are
            ``edge_share`` of 1 / K for these, whatever K the network is used with.
        neighbours: C, the length of the neighbour lists.
        edge_share: Part of a row's mean edge that an edge must exceed.
    """

    name: str
    title: str
    load: Callable[[Path, int], TrainedReranker]
    heads: int
    rows: tuple[int, int]
    neighbours: int
    edge_share: float


def _load_leaprr(checkpoint: Path, heads: int) -> TrainedReranker:
    from itr_deploy.models import leaprr

    return leaprr.load(checkpoint, heads=heads)


RERANKERS: tuple[RerankerFamily, ...] = (
    RerankerFamily(
        name="leaprr",
        title="Learnable Pillar-based Re-ranking (SIGIR 2023), added to a matcher's bundle",
        load=_load_leaprr,
        heads=24,
        rows=(8, 32),
        neighbours=10,
        edge_share=0.8,
    ),
)


def reranker_family(name: str) -> RerankerFamily:
    """The re-ranker registered as ``name``.

    Raises:
        KeyError: There is none.
    """
    return {entry.name: entry for entry in RERANKERS}[name]
