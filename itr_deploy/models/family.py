"""What a family registers: its `Family`, without importing torch.

A family is a package here. Its ``__init__`` holds the `Family` as ``FAMILY`` and imports nothing
that needs PyTorch; `registry` names the package. What concerns one family only is in its package.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from itr_deploy.bundle.manifest import ProfileEvidence
from itr_deploy.bundle.published import Published
from itr_deploy.bundle.record import Record
from itr_deploy.errors import CheckpointError
from itr_deploy.models.options import FamilyOptions

UNNAMED = (
    ArithmeticError, AttributeError, LookupError, MemoryError, RuntimeError, TypeError, ValueError,
)  # fmt: skip
"""What arithmetic on odd tensors and options raises."""

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from itr_deploy.models.contract import TrainedMatcher, TrainedReranker


@dataclass(frozen=True)
class Family:
    """A family's registration.

    Attributes:
        name: Its name on the command line and in manifests.
        title: A human-readable line.
        text: Kind of its text processing, None where the checkpoint decides it.
        load: Reads a checkpoint with `options`, by default all at theirs; it imports PyTorch when
            it is called. Whatever it raises on a checkpoint is a `CheckpointError`.
        options: The options of its export.
        mark: What distinguishes its checkpoints from others'.
        published: Figures from its paper.
        steps: How its matcher graphs output the score of every matching step, if they can.
        profiler: Creates the counter of how its models are used, for `profile_routes`.
    """

    name: str
    title: str
    text: str | None
    load: Callable[..., TrainedMatcher]
    options: type[FamilyOptions] = FamilyOptions
    mark: CheckpointMark | None = None
    published: tuple[Published, ...] = ()
    steps: StepScores | None = None
    profiler: Callable[[], Profiler] | None = None

    def __post_init__(self) -> None:
        """Put the boundary around `load`."""
        load = self.load

        def bounded(checkpoint: Path, options: FamilyOptions | None = None) -> TrainedMatcher:
            chosen = self.options() if options is None else options
            with checkpoint_errors(checkpoint, self.name):
                return load(checkpoint, chosen)

        object.__setattr__(self, "load", bounded)


@dataclass(frozen=True)
class CheckpointMark:
    """A weight that only this family's checkpoints have.

    Attributes:
        weight: Its key.
        part: Which of a checkpoint's state dicts has it, None if there is only one.
        others: Keys of which a checkpoint may have one instead, where a family's models differ.
    """

    weight: str
    part: int | None = None
    others: tuple[str, ...] = ()

    def is_among(self, keys: Iterable[str]) -> bool:
        """Whether the keys of a state dict are a checkpoint's of this family."""
        return not {self.weight, *self.others}.isdisjoint(keys)


@dataclass(frozen=True)
class StepScores:
    """An output of the matcher graphs: each matching step's part of the score, in order.

    The parts are on the last axis and add up to the score.

    Attributes:
        output: Its name, among the family's `DeployedMatcher.pair_outputs`.
        given_by: Which bundles have it, for messages: "a model that was exported with ...".
    """

    output: str
    given_by: str


class Profiler(Protocol):
    """Counts what a bundle's matcher graphs output for pairs.

    Attributes:
        outputs: Names of the graphs' outputs that `add` reads.
        absent: Message for a bundle without them: what is missing and how to get it.
    """

    outputs: tuple[str, ...]
    absent: str

    def add(self, outputs: Mapping[str, NDArray[np.floating]]) -> None:
        """Count the pairs of a tile; each output is ``[texts, images, ...]``."""
        ...

    def profile(self, evidence: ProfileEvidence, data: str | None) -> Profile:
        """The counts, with what they were made on and the directory of that data."""
        ...


@dataclass(frozen=True)
class ProfileTable:
    """A human-readable table of a profile."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


class Profile(Record, ABC):
    """How much a model uses its parts on some data; an export prunes by its JSON form."""

    @abstractmethod
    def tables(self) -> list[ProfileTable]:
        """The counts as tables."""

    @abstractmethod
    def summary(self) -> str:
        """What the counts mean, in one line."""

    @abstractmethod
    def picture(self) -> str:
        """The counts as an SVG document."""


@dataclass(frozen=True)
class RerankerFamily:
    """A re-ranker's registration.

    Attributes:
        name: Its name on the command line and in manifests.
        title: A human-readable line.
        load: Reads a checkpoint, given the number of heads, by default `heads`. Whatever it
            raises on a checkpoint is a `CheckpointError`.
        heads: Heads of the published checkpoints.
        rows: K of the published program for text and image queries. Its edge thresholds are
            ``edge_share`` / K with these K, whatever K the network is used with.
        neighbours: C, the length of the neighbour lists.
        edge_share: Fraction of a row's mean edge that an edge must exceed.
        published: Figures from its paper.
    """

    name: str
    title: str
    load: Callable[..., TrainedReranker]
    heads: int
    rows: tuple[int, int]
    neighbours: int
    edge_share: float
    published: tuple[Published, ...] = ()

    def __post_init__(self) -> None:
        """Put the boundary around `load`."""
        load = self.load

        def bounded(checkpoint: Path, heads: int | None = None) -> TrainedReranker:
            with checkpoint_errors(checkpoint, self.name):
                return load(checkpoint, self.heads if heads is None else heads)

        object.__setattr__(self, "load", bounded)


@contextmanager
def checkpoint_errors(checkpoint: Path, family: str) -> Iterator[None]:
    """Turn what reading an odd checkpoint raises into one line.

    Raises:
        CheckpointError: Something failed that no check has named.
    """
    try:
        yield
    except UNNAMED as error:
        reason = " ".join(str(error).split())[:120]
        raise CheckpointError(
            f"{checkpoint}: cannot be read as {family}'s checkpoint ({type(error).__name__}"
            f"{': ' + reason if reason else ''}); give what the published program saved"
        ) from error
