"""The peers: what each needs and where its work is written."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Protocol

from benchmarks.peers.table import Row
from benchmarks.peers.world import World

HTTP = "a text's vector over HTTP, BERT of one layer"


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

LATE_INTERACTION = "late interaction"
PYLATE = "pip install 'itr-deploy[peers-late]'"

LATE = {
    "cascade-late": Peer(
        "itr-deploy, default cascade",
        LATE_INTERACTION,
        "benchmarks.peers.maxsim:OurCascade",
        ("itr-deploy",),
    ),
    "prefilter-late": Peer(
        "itr-deploy, prefilter of every image",
        LATE_INTERACTION,
        "benchmarks.peers.maxsim:Prefilter",
        ("itr-deploy",),
    ),
    "maxsim": Peer(
        "PyLate's MaxSim, every image",
        LATE_INTERACTION,
        "benchmarks.peers.maxsim:MaxSim",
        ("pylate", "itr-deploy"),
        PYLATE,
        python="pylate",
    ),
    "rerank": Peer(
        "PyLate's rerank of our 300",
        LATE_INTERACTION,
        "benchmarks.peers.maxsim:Reranked",
        ("pylate", "itr-deploy"),
        PYLATE,
        python="pylate",
    ),
    "fast-plaid": Peer(
        "fast-plaid",
        LATE_INTERACTION,
        "benchmarks.peers.maxsim:Plaid",
        ("fast-plaid", "itr-deploy"),
        PYLATE,
        python="pylate",
    ),
}

SHORTLISTS = "shortlists of 300 by vectors"

VECTORS = {
    "vectors": Peer(
        "itr-deploy, in memory",
        SHORTLISTS,
        "benchmarks.peers.vectors:OwnMemory",
        ("itr-deploy", "faiss-cpu"),
        "pip install 'itr-deploy[cpu,faiss]'",
        "vectors",
    ),
    "lancedb": Peer(
        "LanceDB, no index",
        SHORTLISTS,
        "benchmarks.peers.vectors:LanceScan",
        ("lancedb",),
        "pip install lancedb",
        "vectors",
    ),
    "usearch": Peer(
        "usearch, 8 bits",
        SHORTLISTS,
        "benchmarks.peers.vectors:UsearchInt8",
        ("usearch",),
        "pip install 'itr-deploy[peers]'",
        "vectors",
    ),
    "faiss-flat": Peer(
        "faiss, every product",
        SHORTLISTS,
        "benchmarks.peers.vectors:FaissFlat",
        ("faiss-cpu",),
        "pip install 'itr-deploy[faiss]'",
        "vectors",
    ),
    "faiss-ivf": Peer(
        "faiss, lists of RaBitQ's codes",
        SHORTLISTS,
        "benchmarks.peers.vectors:FaissLists",
        ("faiss-cpu",),
        "pip install 'itr-deploy[faiss]'",
        "vectors",
    ),
}

SERVICES = {
    "embeddings-http": Peer(
        "itr-deploy serve, /v1/embeddings",
        HTTP,
        "benchmarks.peers.http:Ours",
        ("itr-deploy", "fastapi"),
        "pip install 'itr-deploy[export,cpu,serve]'",
    ),
    "search-http": Peer(
        "itr-deploy serve, /v1/search of 1,000 images",
        HTTP,
        "benchmarks.peers.http:OurSearch",
        ("itr-deploy", "fastapi"),
        "pip install 'itr-deploy[export,cpu,serve]'",
    ),
    "infinity": Peer(
        "infinity",
        HTTP,
        "benchmarks.peers.http:Infinity",
        ("infinity-emb",),
        "pip install 'infinity-emb[server,torch]'",
        "infinity",
    ),
}

PEERS: dict[str, Peer] = {**MATCHERS, **LATE, **VECTORS, **SERVICES}
"""By the name that ``--only`` takes; ours come first in each group."""
