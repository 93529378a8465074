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
    needs: tuple[str, ...] = ()
    install: str = "pip install 'itr-deploy[export,cpu]'"
    python: str = ""

    def missing(self) -> list[str]:
        """What it needs and this Python does not have."""
        return [name for name in self.needs if installed_version(name) is None]

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


PEERS: dict[str, Peer] = {
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
        "pip install 'itr-deploy[peers-infinity]'",
        "infinity",
    ),
}
"""By the name that ``--only`` takes; ours come first in each group."""
