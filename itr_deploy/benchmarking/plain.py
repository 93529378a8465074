"""The published model in plain PyTorch, scoring the same pairs as a search of the bundle."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

from itr_deploy.benchmarking.options import Options
from itr_deploy.benchmarking.random_items import RandomItems
from itr_deploy.benchmarking.report import PlainFigures, PlainRatios, PlainTimes
from itr_deploy.benchmarking.searches import search
from itr_deploy.bundle.manifest import Manifest, Member
from itr_deploy.bundle.modality import other
from itr_deploy.bundle.store import Bundle
from itr_deploy.errors import UsageError
from itr_deploy.models.contract import PlainMatcher
from itr_deploy.parity.trained import read_trained, trained_ids
from itr_deploy.runtime.matcher import Matcher
from itr_deploy.runtime.retriever import Retriever

ROUNDS = 3
"""Maximum rounds: the plain model may take seconds per query."""
ITEMS = 128
"""Items that the plain model scores at once; with more, activations no longer fit the cache."""


def plain_models(bundle: Bundle, checkpoints: Sequence[Path]) -> list[PlainMatcher]:
    """The models from which a bundle was made: one, or the members of an ensemble.

    Raises:
        CheckpointError: A checkpoint cannot be read, or is not the bundle's.
        UsageError: There are too few or too many checkpoints.
    """
    made: tuple[Manifest | Member, ...] = bundle.manifest.members or (bundle.manifest,)
    if len(checkpoints) != len(made):
        names = ", ".join(entry.provenance.checkpoint for entry in made)
        raise UsageError(
            f"{bundle.path} was made from {len(made)} checkpoints ({names}); give each in this "
            f"order as checkpoints= (--checkpoint), not {len(checkpoints)} of them"
        )
    return [
        read_trained(entry, bundle.path, file).plain
        for entry, file in zip(made, checkpoints, strict=True)
    ]


def compared(
    models: Sequence[PlainMatcher],
    retriever: Retriever,
    threads: int | None,
    options: Options,
    items: RandomItems,
) -> PlainFigures:
    """Time the plain model and searches in turn, for one query over as many items as the gallery.

    The plain model keeps nothing between calls, so scoring a query encodes every item.
    """
    count = retriever.gallery.count()
    query = items.make(options.query, 1)
    batches = list(_batches(retriever.matcher, options, query, items, count))
    runs: dict[str, Callable[[], float]] = {
        "plain": lambda: _plain_seconds(models, batches),
        "search": lambda: search(retriever, options, query, options.widths[0]).total,
        "exhaustive": lambda: search(retriever, options, query, None).total,
    }
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    rounds = min(ROUNDS, options.rounds)
    with _torch_threads(threads):
        _plain_seconds(models, batches[:1])
        for _ in range(rounds):
            for name, run in runs.items():
                seconds[name].append(run())
    taken = PlainTimes(**{name: 1000 * statistics.median(each) for name, each in seconds.items()})
    return PlainFigures(
        backend=f"PyTorch {torch.__version__}, {threads or torch.get_num_threads()} threads",
        items=count,
        rounds=rounds,
        milliseconds=taken,
        ratios=PlainRatios(
            search=taken.plain / taken.search, exhaustive=taken.plain / taken.exhaustive
        ),
    )


def _batches(
    matcher: Matcher, options: Options, query: Any, items: RandomItems, count: int
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Regions, token ids and lengths of the query and of ``count`` items, `ITEMS` at a time.

    The items are the same every time, which makes no difference to the time.
    """
    gallery = items.make(other(options.query), min(ITEMS, count))
    for start in range(0, count, ITEMS):
        part = gallery[: min(ITEMS, count - start)]
        images, texts = (query, part) if options.query == "image" else (part, query)
        ids, lengths = matcher.text.token_ids(texts)
        ids = trained_ids(matcher.bundle.manifest, ids)
        yield torch.from_numpy(images), torch.from_numpy(ids), torch.from_numpy(lengths)


def _plain_seconds(
    models: Sequence[PlainMatcher],
    batches: Sequence[tuple[Tensor, Tensor, Tensor]],
) -> float:
    begun = perf_counter()
    with torch.inference_mode():
        for batch in batches:
            for model in models:
                model.score(*batch)
    return perf_counter() - begun


@contextmanager
def _torch_threads(threads: int | None) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(threads or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
