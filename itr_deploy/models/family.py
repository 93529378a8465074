"""What a family registers: its `Family`, without importing torch.

A family is a package here. Its ``__init__`` has the `Family` as ``FAMILY`` and imports nothing that
takes PyTorch; `registry` names the package. All that is said of one family alone is said there.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from itr_deploy.bundle.manifest import ProfileEvidence
from itr_deploy.bundle.published import Published
from itr_deploy.bundle.record import Record
from itr_deploy.models.options import FamilyOptions

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from itr_deploy.models.contract import TrainedMatcher, TrainedReranker


@dataclass(frozen=True)
class Family:
    """A family's registration.

    Attributes:
        name: Its name on the command line and in manifests.
        title: One line for people.
        text: Kind of its text processing.
        load: Reads a checkpoint with `options`; it imports PyTorch when it is called.
        options: What an export may choose.
        mark: How its checkpoints are told from others'.
        published: What its paper gives.
        steps: Where its matcher graphs can give the score of every matching step, how.
        profiler: Makes what counts how its models are used, for `profile_routes`.
    """

    name: str
    title: str
    text: str
    load: Callable[[Path, Any], TrainedMatcher]
    options: type[FamilyOptions] = FamilyOptions
    mark: CheckpointMark | None = None
    published: tuple[Published, ...] = ()
    steps: StepScores | None = None
    profiler: Callable[[], Profiler] | None = None


@dataclass(frozen=True)
class CheckpointMark:
    """A weight that only this family's checkpoints have.

    Attributes:
        weight: Its key.
        part: Which of a checkpoint's state dicts has it, None where there is one alone.
    """

    weight: str
    part: int | None = None


@dataclass(frozen=True)
class StepScores:
    """An output of the matcher graphs: every matching step's part of the score, in their order.

    The parts lie on the last axis and add up to the score.

    Attributes:
        output: Its name, among the family's `DeployedMatcher.pair_outputs`.
        given_by: A bundle that has it, for a message: "a model that was exported with ...".
    """

    output: str
    given_by: str


class Profiler(Protocol):
    """Counts what a bundle's matcher graphs tell of pairs.

    Attributes:
        outputs: Names of the graphs' outputs that `add` reads.
        absent: What a message says of a bundle without them, and how it gets them.
    """

    outputs: tuple[str, ...]
    absent: str

    def add(self, outputs: Mapping[str, NDArray[np.floating]]) -> None:
        """Count the pairs of a tile; each output is ``[texts, images, ...]``."""
        ...

    def profile(self, evidence: ProfileEvidence, data: str | None) -> Profile:
        """What was counted, on what, and the directory of that data."""
        ...


@dataclass(frozen=True)
class ProfileTable:
    """A table of a profile, for people."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


class Profile(Record, ABC):
    """How much a model uses its parts on some data; as JSON it is what an export prunes by."""

    @abstractmethod
    def tables(self) -> list[ProfileTable]:
        """What was counted."""

    @abstractmethod
    def summary(self) -> str:
        """What that means, in one line."""

    @abstractmethod
    def picture(self) -> str:
        """What was counted, as an SVG document."""


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
        published: What its paper gives.
    """

    name: str
    title: str
    load: Callable[[Path, int], TrainedReranker]
    heads: int
    rows: tuple[int, int]
    neighbours: int
    edge_share: float
    published: tuple[Published, ...] = ()
