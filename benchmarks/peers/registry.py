"""The peers: what each needs and where its work is written."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Protocol

from benchmarks.peers.table import Row
from benchmarks.peers.world import World


class Work(Protocol):
    """What a peer does; made without arguments."""

    def prepare(self, world: World) -> None:
        """Whatever is made once, such as an export, into ``world.of(name)``."""

    def measure(self, world: World) -> Row:
        """The peer's figures."""
        ...


@dataclass(frozen=True)
class Peer:
    """One row.

    Attributes:
        title: As printed.
        group: The work that it does; see `Row`.
        work: Where the class is whose objects do it, ``module:class``; imported in the peer's own
            process alone.
        needs: Distributions without which it cannot run; the first one's version is the row's.
        install: The command that installs them.
        python: The ``NAME`` of ``--python NAME=PATH`` that gives it another Python.
    """

    title: str
    group: str
    work: str
    needs: tuple[str, ...]
    install: str = "pip install 'itr-deploy[export,cpu]'"
    python: str = ""

    def missing(self) -> list[str]:
        """What it needs and this Python does not have."""
        return [name for name in self.needs if installed_version(name) is None]

    def version(self) -> str:
        """The distribution of the row and its version."""
        return f"{self.needs[0]} {installed_version(self.needs[0])}"

    def begun(self) -> Work:
        """Its work, imported."""
        module, _, name = self.work.partition(":")
        work: Work = getattr(import_module(module), name)()
        return work


def installed_version(distribution: str) -> str | None:
    """The version of a distribution that is installed here."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def missing_row(peer: Peer) -> Row:
    """The row of a peer that is not installed."""
    told = f"not installed: {', '.join(peer.missing())}; {peer.install}"
    if peer.python:
        told += f", or in an environment of its own and --python {peer.python}=ITS/bin/python"
    return Row(peer.title, peer.group, note=told)


EXPORT = "pip install 'itr-deploy[export,cpu]'"
OPENVINO = "pip install 'itr-deploy[peers]'"
OPTIMUM = "pip install torch==2.13.0 onnxruntime onnxscript optimum-onnx pydantic"

MATCHERS = {
    "itr-deploy": Peer(
        "itr-deploy, default cascade", "matchers", "benchmarks.peers.ours:Cascade", ("itr-deploy",)
    ),
    "itr-deploy-exhaustive": Peer(
        "itr-deploy, every image", "matchers", "benchmarks.peers.ours:Exhaustive", ("itr-deploy",)
    ),
    "eager": Peer("plain model, PyTorch", "matchers", "benchmarks.peers.plain:Eager", ("torch",)),
    "onnx": Peer(
        "plain model, torch.onnx",
        "matchers",
        "benchmarks.peers.exported:Exported",
        ("onnxruntime", "torch", "onnxscript"),
    ),
    "optimum": Peer(
        "plain model, optimum-onnx",
        "matchers",
        "benchmarks.peers.optimum:Optimum",
        ("optimum-onnx", "torch", "onnxruntime"),
        OPTIMUM,
        python="optimum",
    ),
    "compile": Peer(
        "torch.compile, dynamic", "matchers", "benchmarks.peers.plain:Compiled", ("torch",)
    ),
    "compile-static": Peer(
        "torch.compile, static", "matchers", "benchmarks.peers.plain:CompiledStatic", ("torch",)
    ),
    "openvino": Peer(
        "plain model, OpenVINO",
        "matchers",
        "benchmarks.peers.intel:Converted",
        ("openvino", "torch", "onnxscript"),
        OPENVINO,
        python="openvino",
    ),
    "openvino-cascade": Peer(
        "our graphs and cascade, OpenVINO",
        "matchers",
        "benchmarks.peers.intel:OurCascade",
        ("openvino",),
        OPENVINO,
        python="openvino",
    ),
    "openvino-exhaustive": Peer(
        "our graphs, every image, OpenVINO",
        "matchers",
        "benchmarks.peers.intel:OurGraphs",
        ("openvino",),
        OPENVINO,
        python="openvino",
    ),
}

PEERS: dict[str, Peer] = {**MATCHERS}
"""By the name that ``--only`` takes; ours come first in each group."""
