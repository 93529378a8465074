"""ONNX Runtime's own profile of the matcher, and which operators take the time."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from itr_deploy.benchmarking.options import Options
from itr_deploy.benchmarking.random_items import RandomItems
from itr_deploy.benchmarking.report import OperatorFigures, Trace
from itr_deploy.bundle.modality import PAIR_SCORERS
from itr_deploy.errors import UsageError
from itr_deploy.runtime.backends.base import Backend
from itr_deploy.runtime.backends.onnxruntime import OnnxRuntimeBackend
from itr_deploy.runtime.gallery import Gallery
from itr_deploy.runtime.matcher import Matcher
from itr_deploy.runtime.retriever import Retriever

SEARCHES = 5
"""Number of searches that are profiled."""
FOLDER = "trace"
KERNEL = "_kernel_time"
"""The suffix, after the node's name, of the name of an event for a kernel's run."""


def check_traceable(backend: Backend) -> OnnxRuntimeBackend:
    """The backend, if it can write ONNX Runtime's profile.

    Raises:
        UsageError: It is not the ONNX Runtime backend.
    """
    if not isinstance(backend, OnnxRuntimeBackend):
        raise UsageError(
            f"trace=True (--trace) is ONNX Runtime's profile, and this would run on "
            f"{backend.description}; "
            "give backend='onnxruntime' (--backend onnxruntime) with it"
        )
    return backend


def trace(
    matcher: Matcher, gallery: Path, root: Path, options: Options, items: RandomItems
) -> Trace:
    """Search with the first setting under the profiler and keep the profile of every graph.

    Profiling slows a graph, so these searches do not count for the stages' times.

    Args:
        matcher: A new matcher that has loaded none of its graphs yet.
        gallery: The gallery to search.
        root: Directory in which `FOLDER` is made for the profiles.
        options: The benchmark's options.
        items: Makes the queries.
    """
    backend = check_traceable(matcher.backend)
    folder = root / FOLDER
    folder.mkdir()
    backend.profile_into(folder)
    opened = Gallery.open(gallery, matcher)
    retriever = Retriever(matcher, opened, resident=options.resident)
    for _ in range(SEARCHES):
        query = items.make(options.query, options.batches[0])
        retriever.search(
            **{"query" if options.query == "text" else "image": query},
            **{**options.searching(options.widths[0]), "rerank": False},
        )
    graphs = matcher.bundle.manifest.graphs
    found = {}
    for graph, path in backend.end_profiles().items():
        profile = path.rename(folder / f"{graph}.json")
        if graphs[graph].role in PAIR_SCORERS:
            found[graph] = operators(json.loads(profile.read_bytes()))
    return Trace(searches=SEARCHES, operators=found)


def operators(events: Iterable[Mapping[str, Any]]) -> tuple[OperatorFigures, ...]:
    """A profile's operators by type, those that take the most time first.

    Args:
        events: ONNX Runtime's events in Chrome's trace format, durations in microseconds.
    """
    durations: defaultdict[str, list[float]] = defaultdict(list)
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith(KERNEL):
            durations[event["args"]["op_name"]].append(event["dur"] / 1000)
    whole = sum(map(sum, durations.values())) or 1.0
    rows = [
        OperatorFigures(
            operator=name, calls=len(taken), milliseconds=sum(taken), share=sum(taken) / whole
        )
        for name, taken in durations.items()
    ]
    return tuple(sorted(rows, key=lambda row: -row.milliseconds))
