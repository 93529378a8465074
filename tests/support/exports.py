"""Bundles that tests share: exported once per state of the code, and kept between runs."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import nltk.data
import pytest
from filelock import FileLock

import itr_deploy as package
from itr_deploy.bundle.manifest import Manifest
from itr_deploy.bundle.store import PARITY, read_bundle
from tests.support.command import Outcome, itr_deploy
from tests.support.files import tree
from tests.support.threads import one_torch_thread

if TYPE_CHECKING:
    from itr_deploy.exporters.build import Source

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = Path(package.__file__).parent
NOT_IN_A_BUNDLE = (
    "benchmarking/",
    "cli/",
    "diagnosis/",
    "engines/builder/",
    "evaluation/measures/",
    "evaluation/report/",
    "evaluation/scores/",
    "evaluation/tuning/",
    "explaining/",
    "serving/",
    "model_repository/",
)
"""Parts of the package that no file of a bundle depends on. `runtime` is not among them: the gate
runs it, and what the gate finds is in the parity report and decides which graphs are kept. Any part
that is not named here is part of the key."""

TOOLS = (
    "torch",
    "onnx",
    "onnx-ir",
    "onnxscript",
    "onnxruntime",
    "numpy",
    "nltk",
    "pydantic",
    "tokenizers",
    "transformers",
)
STATE = "ITR_DEPLOY_TEST_STATE"
"""The state of the code whose bundles are taken where nothing can be exported: test-lowest."""
ENVIRONMENTS = "environments"
"""Directory of the cache with virtual environments, which are no state of the code."""
KEPT = 4
"""How many states of the code keep their bundles: the most recently used ones."""


class Exportable(Protocol):
    """A golden case that ``itr-deploy export`` takes."""

    @property
    def export_words(self) -> tuple[object, ...]:
        """The family and its files."""


def run_export(words: Sequence[object], output: Path) -> Outcome:
    """Run ``itr-deploy export``, which must succeed."""
    if STATE in os.environ:
        pytest.skip(f"nothing is exported with {STATE}, and the cache lacks {words}")
    with one_torch_thread():
        outcome = itr_deploy("export", *words, "--output", output)
    assert outcome.code == 0, outcome.err
    return outcome


def export(case: Exportable, output: Path, *options: object) -> Outcome:
    """Export a golden case without the cache; later options win."""
    with one_torch_thread():
        return itr_deploy("export", *case.export_words, "--output", output, *options)


def take_graphs_of(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make exports copy a bundle's files instead of tracing; the gate compares as usual."""

    def copy(source: Source, root: Path, **options: Any) -> Manifest:
        shutil.copytree(bundle, root, dirs_exist_ok=True)
        (root / PARITY).unlink()
        return read_bundle(root).manifest

    monkeypatch.setattr("itr_deploy.exporters.build.build_bundle", copy)


def cache_directory() -> Path:
    """``ITR_DEPLOY_TEST_CACHE``, or ``.test-cache`` in the checkout."""
    return Path(os.environ.get("ITR_DEPLOY_TEST_CACHE") or ROOT / ".test-cache").absolute()


class Bundles:
    """Exports requested bundles with the public command if the cache does not have them.

    The bundles must never be changed: take copies. `check` finds out if a test did not. Processes
    that share the tests share the bundles.
    """

    def __init__(self, root: Path) -> None:
        self._root = root / (os.environ.get(STATE) or code_digest())
        self._root.mkdir(parents=True, exist_ok=True)
        forget_old_code(root, self._root)
        self._found: dict[str, Path] = {}

    def path(self, case: Exportable, *options: object) -> Path:
        """The bundle of a golden case."""
        return self.of(*case.export_words, *options)

    def of(self, *words: object) -> Path:
        """What ``itr-deploy export`` makes with these words, which do not include its output."""
        return self.once(str(words[0]), partial(run_export, words), *words)

    def once(self, name: str, make: Callable[[Path], object], *depends_on: object) -> Path:
        """What ``make`` writes to the directory that it is called with.

        Args:
            name: The entry's human-readable name.
            make: Called if the cache does not have the entry.
            depends_on: All that it depends on except the package: words, and paths of files.
        """
        name = f"{name}-{digest_of(depends_on)}"
        if name not in self._found:
            entry = self._root / name
            with FileLock(entry.with_suffix(".lock")):
                if not is_whole(entry):
                    shutil.rmtree(entry, ignore_errors=True)
                    entry.mkdir()
                    make(entry / "bundle")
                    known = {"from": list(map(str, depends_on)), "files": tree(entry / "bundle")}
                    (entry / "known.json").write_text(json.dumps(known, indent=1))
            self._found[name] = entry / "bundle"
        return self._found[name]

    def check(self) -> None:
        """Assert that every requested bundle is as it was exported."""
        for path in self._found.values():
            assert is_whole(path.parent), f"a test changed a shared bundle: {path}"


def is_whole(entry: Path) -> bool:
    """Whether an entry exists and its bundle is the one that was exported."""
    known = entry / "known.json"
    return known.is_file() and json.loads(known.read_bytes())["files"] == tree(entry / "bundle")


def code_digest() -> str:
    """What makes exports with the same words differ: a digest of the code and its tools."""
    found = hashlib.sha256(repr(sys.version_info[:2]).encode())
    for tool in TOOLS:
        found.update(f"{tool} {version(tool)}\n".encode())
    found.update(f"{sentence_splitter()}\n".encode())
    for path in code_of_a_bundle():
        found.update(f"{path.relative_to(PACKAGE)}\n".encode() + path.read_bytes())
    return found.hexdigest()[:16]


def sentence_splitter() -> str:
    """Where nltk's data is on this machine; an export copies it into the bundle."""
    try:
        return str(nltk.data.find("tokenizers/punkt_tab/english"))
    except LookupError:
        return ""


def code_of_a_bundle() -> Iterator[Path]:
    """The modules of the package that make up the key."""
    for path in sorted(PACKAGE.rglob("*.py")):
        name = path.relative_to(PACKAGE).as_posix()
        if name.startswith("cli/export") or not name.startswith(NOT_IN_A_BUNDLE):
            yield path


def digest_of(depends_on: Sequence[object]) -> str:
    """A digest of words and files; a file counts by name and content, wherever it is."""
    meant = json.dumps([_meant(word) for word in depends_on])
    return hashlib.sha256(meant.encode()).hexdigest()[:16]


def _meant(word: object) -> object:
    if not isinstance(word, Path):
        return str(word)
    if word.is_dir():
        return tree(word)
    return word.name, hashlib.sha256(word.read_bytes()).hexdigest()


def forget_old_code(root: Path, current: Path) -> None:
    """Remove the bundles of all states of the code except the `KEPT` most recently used."""
    with FileLock(root / "prune.lock"):
        current.touch()
        found = (p for p in root.iterdir() if p.is_dir() and p.name != ENVIRONMENTS)
        states = sorted(found, key=lambda p: p.stat().st_mtime)
        for state in states[:-KEPT]:
            shutil.rmtree(state)


if __name__ == "__main__":
    from tests.support.golden import FULL

    Bundles(cache_directory()).path(FULL)
    print(code_digest())
