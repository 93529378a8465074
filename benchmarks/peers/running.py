"""Runs a peer in a process of its own, under its own Python, and reads its row."""

from __future__ import annotations

import os
import subprocess
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path

from benchmarks.peers.registry import Peer, missing_row
from benchmarks.peers.table import Row
from benchmarks.peers.world import World

ROOT = Path(__file__).resolve().parent.parent.parent
MARK = "row: "
"""Before the row on the line that a peer's process ends with."""


def run(
    name: str, peer: Peer, world: World, pythons: Mapping[str, str], step: str, limit: float
) -> Row:
    """What a peer's process found, or a row that says why there is none.

    Args:
        name: The peer's in the registry.
        peer: What is run.
        world: The work.
        pythons: Paths of Pythons, by the names of ``--python``.
        step: ``prepare`` or ``measure``.
        limit: Seconds after which it is stopped.
    """
    python = pythons.get(name) or pythons.get(peer.python) or sys.executable
    command = [python, "-m", "benchmarks.peers", "--answer", step, "--only", name]
    command += ["--world", str(world.folder)]
    try:
        done = subprocess.run(
            command,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            text=True,
            timeout=limit,
        )
    except subprocess.TimeoutExpired:
        return Row(peer.title, peer.group, note=f"{step} was stopped after {limit:g} s")
    except OSError as error:
        return Row(peer.title, peer.group, note=f"{python}: {error.strerror}")
    told = [line for line in done.stdout.splitlines() if line.startswith(MARK)]
    if not told:
        return Row(peer.title, peer.group, note=f"{step} ended with {done.returncode}, see above")
    return Row.from_json(told[-1].removeprefix(MARK))


def answer(peer: Peer, world: World, step: str) -> None:
    """Do a peer's work in this process and print its row."""
    print(MARK + _worked(peer, world, step).to_json(), flush=True)


def _worked(peer: Peer, world: World, step: str) -> Row:
    if peer.missing():
        return missing_row(peer)
    try:
        work = peer.begun()
        if step == "prepare":
            work.prepare(world)
            return Row(peer.title, peer.group)
        return work.measure(world)
    except Exception as error:
        traceback.print_exc()
        told = (str(error).strip().splitlines() or [""])[0]
        return Row(peer.title, peer.group, note=f"{step}: {type(error).__name__}: {told}")
