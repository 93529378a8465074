"""What the rows of services, vectors and late interaction share; no peer need be installed."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.coarse_peers import Exact
from benchmarks.peers.http import TEXTS, VOCABULARY, free_port, running, texts
from benchmarks.peers.maxsim import Ranking
from benchmarks.peers.registry import PEERS
from benchmarks.peers.scoring import OneByOne, Opened
from benchmarks.peers.vectors import share, timed
from benchmarks.peers.world import TOP, WORDS, Part

LINUX = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="counted by Linux")


class HalfRight(OneByOne):
    """Finds its own image first for every other caption."""

    def search(self, caption: int) -> NDArray[np.int64]:
        return np.roll(np.arange(TOP), -caption if caption % 2 else -caption - 1)


class Ranked(Ranking):
    def open(self, part: Part, folder: Path, images: int) -> Opened:
        return HalfRight()


def test_texts_differ_and_have_words_of_the_vocabulary() -> None:
    found = texts()
    assert len(set(found)) == TEXTS
    for text in found:
        assert len(text.split()) == WORDS
        assert all(int(word.removeprefix("word")) < VOCABULARY for word in text.split())


@LINUX
def test_a_server_is_measured_from_its_start_and_ended() -> None:
    port = free_port()
    command = [sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1"]
    with running(command, port, "/") as server:
        assert server.started > 0
        assert server.cpu() >= 0
        assert server.peak() > 1_000_000
    assert not Path(f"/proc/{server.process}").exists()


def test_a_server_that_ends_is_an_error() -> None:
    with (
        pytest.raises(RuntimeError, match="was not ready"),
        running([sys.executable, "-c", "raise SystemExit(1)"], free_port(), "/"),
    ):
        pass


def test_the_share_of_a_shortlist_is_that_of_the_largest_values() -> None:
    values = np.arange(20, dtype=np.float32)
    assert share(np.array([19, 18, 0, 1]), values, 4) == 0.5
    assert share(np.arange(10, 20), values, TOP) == 1.0


def test_every_product_keeps_the_exact_shortlist() -> None:
    rng = np.random.default_rng(0)
    vectors, queries = (rng.standard_normal((n, 16), dtype=np.float32) for n in (50, 4))
    peer = Exact()
    peer.build(vectors)
    milliseconds, kept = timed(peer, queries, [vectors @ query for query in queries[1:]], 5, 1)
    assert kept == 1.0
    assert milliseconds > 0


def test_the_right_image_is_that_of_the_captions_place(tmp_path: Path) -> None:
    np.save(tmp_path / "scores.npy", np.zeros((TOP, TOP), np.float32))
    ranked = Ranked()
    assert ranked._recall(Part(tmp_path), tmp_path) == 1.0
    assert ranked.right == 0.5


def test_every_group_has_a_row_of_ours_first_and_says_what_installs_the_others() -> None:
    groups: dict[str, list[str]] = {}
    for peer in PEERS.values():
        groups.setdefault(peer.group, []).append(peer.title)
        assert peer.install.startswith("pip install ")
    assert all(titles[0].startswith("itr-deploy") for titles in groups.values())
