"""Manifests with anything in them, and a checksum that fits."""

from __future__ import annotations

import json
import random
import shutil
import tempfile
import time
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from itr_deploy import Gallery, Matcher, Retriever
from itr_deploy.bundle.store import MANIFEST, _checksum
from tests.faults.trials import report, run_trials, share
from tests.support.golden import FULL

VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2, 7, 1 << 31, 1 << 62, 1 << 80, -(1 << 40), 0.5, 1e308, -0.0),
    *("", "a", "a\0b", "x" * 300, "x" * 100_000, "../x", "/etc/passwd", "\ud800", "日本", "NaN"),
    *([], {}, [[]], {"a": 1}, [1] * 1000),
)


def leaves(node: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Paths of all values within a JSON document, but those of provenance."""
    below: list[tuple[Any, ...]] = [path] if path else []
    if isinstance(node, dict):
        for key in node.keys() - {"provenance", "checksum"}:
            below += leaves(node[key], (*path, key))
    elif isinstance(node, list):
        for place, value in enumerate(node):
            below += leaves(value, (*path, place))
    return below


def mutate(document: Any, rng: random.Random) -> None:
    """Change, remove, double, rename or swap something."""
    paths = sorted(leaves(document), key=str)
    path = rng.choice(paths)
    parent = document
    for step in path[:-1]:
        parent = parent[step]
    last, kind = path[-1], rng.randrange(6)
    if kind == 0:
        del parent[last]
    elif kind == 1 and isinstance(last, str):
        parent[last + rng.choice(["_", "2", "\0", "x" * 300])] = parent.pop(last)
    elif kind == 2:
        other = document
        for step in rng.choice(paths):
            other = other[step]
        parent[last] = json.loads(json.dumps(other))
    elif kind == 3 and isinstance(parent[last], int):
        parent[last] = parent[last] + rng.choice([-1, 1, 1000, -1000])
    elif kind == 4 and isinstance(parent[last], list):
        rng.shuffle(parent[last])
    else:
        parent[last] = rng.choice(VALUES)


def trial(number: int, original: Path) -> str:
    rng = random.Random(number)
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        bundle = Path(folder) / "bundle"
        shutil.copytree(original, bundle, copy_function=shutil.copyfile)
        document = json.loads((bundle / MANIFEST).read_bytes())
        before = json.dumps(document)
        for _ in range(rng.choice([1, 1, 1, 2, 3])):
            try:
                mutate(document, rng)
            except (KeyError, IndexError, TypeError):
                continue
        document.pop("checksum", None)
        with suppress(UnicodeEncodeError):
            document["checksum"] = _checksum(document)
        text = json.dumps(document)
        (bundle / MANIFEST).write_text(text)
        return use(bundle, same=text == before)


def use(bundle: Path, same: bool) -> str:
    """Load, score, index, search and explain; scores must be those of the untouched bundle."""
    matcher = Matcher.load(bundle, threads=1)
    scores = matcher.score(texts=["a dog on a mat", "two"], images=FULL.regions[:3])
    if not np.isfinite(scores).all() or scores.shape != (3, 2):
        return f"WRONG: scores {scores}"
    gallery = Gallery.create(bundle.parent / "gallery", matcher)
    gallery.add(["a", "b", "c"], FULL.regions[:3])
    hits = Retriever(matcher, gallery).search("a dog on a mat", k=2)
    found = Retriever(matcher, gallery).explain("a dog on a mat", "a")
    if not np.isfinite(found.attention).all() or len(found.words) != len(found.attention):
        return f"WRONG: {found}"
    return "same" if len(hits) == 2 or same else f"WRONG: {len(hits)} hits"


@pytest.mark.slow
def test_any_manifest_is_refused_or_harmless(bundle: Path) -> None:
    began = time.monotonic()
    ends, findings = run_trials(trial, range(share(1000)), setup=bundle)
    report("manifests", ends, began)
    assert not findings, "\n".join(map(str, findings[:20]))
