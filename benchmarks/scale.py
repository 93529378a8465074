"""What 10 million, 100 million and a billion images ask for, from measured figures.

    python -m benchmarks.scale [--items 1e7 1e8 1e9] [--per-shard 4e6] [--cores 8]

Measures how fast this machine encodes images (IMRAM in text mode at published sizes, random
weights, ``--precompute none``) and computes checksums, and takes the other figures from `MEASURED`,
each with the command that printed it. Work in parts that do not wait for each other is spread over
all cores; a query's stages take what they take on the two cores that they were measured on. Prints
the tables of docs/scale.md.
"""

from __future__ import annotations

import argparse
import math
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from benchmarks.matching import exported
from benchmarks.models import IMAGE_DIM, REGIONS, random_imram
from itr_deploy.benchmarking.random_items import RandomItems
from itr_deploy.bundle.files import sha256_of

CORES = 2
"""Of the machine that everything was measured on."""

SAMPLE = 512
"""Images that are encoded to see how fast it goes."""

CHECKED = 1 << 28
"""Bytes that are compared with their checksum."""


@dataclass(frozen=True)
class Figure:
    """A measured figure.

    Attributes:
        value: The figure.
        unit: What it counts.
        command: What printed it.
    """

    value: float
    unit: str
    command: str


MEASURED = {
    "stored": Figure(77_820, "bytes an image", "python -m benchmarks.galleries"),
    "vector": Figure(4_096, "bytes an image", "python -m benchmarks.coarse"),
    "codes": Figure(229, "bytes an image", "python -m benchmarks.coarse"),
    "detected": Figure(6.88, "s a picture", "python -m benchmarks.detector"),
    "encode": Figure(5.2, "ms a query", "python -m benchmarks.galleries"),
    "coarse": Figure(7.3, "ms a million images", "python -m benchmarks.coarse"),
    "gather": Figure(41.4, "ms a query", "python -m benchmarks.galleries"),
    "prefilter": Figure(6.6, "ms a query", "python -m benchmarks.galleries"),
    "match": Figure(25.5, "ms a query", "python -m benchmarks.galleries"),
    "opened": Figure(15, "s a million images", "python -m benchmarks.galleries"),
    "rounds": Figure(25, "ms a query", "python -m benchmarks.shards"),
}


def main() -> None:
    """Measure and derive."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=float, nargs="+", default=[1e7, 1e8, 1e9])
    parser.add_argument("--per-shard", type=float, default=4e6, help="images of a shard")
    parser.add_argument("--cores", type=int, default=8, help="of a machine; one holds a shard")
    arguments = parser.parse_args()
    encoded, checked = images_a_second(), bytes_a_second()
    show_figures(encoded, checked)
    show(
        [
            Plan(items, arguments.per_shard, arguments.cores, encoded, checked)
            for items in arguments.items
        ]
    )


def images_a_second() -> float:
    """Images that this machine encodes in a second, from regions in memory."""
    settings = {"family": "imram", "mode": "text_IMRAM", "steps": 3, "threads": None}
    export = argparse.Namespace(**settings, precompute="none")
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        matcher = exported(export, random_imram(export), Path(folder))
        images = RandomItems(matcher).make("image", SAMPLE)
        matcher.encode_images(images)  # loads
        begun = time.perf_counter()
        for _ in range(3):
            matcher.encode_images(images)
        return 3 * SAMPLE / (time.perf_counter() - begun)


def bytes_a_second() -> float:
    """Bytes whose checksum one core computes in a second, where a disk is no slower."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "bytes"
        file.write_bytes(bytes(CHECKED))
        begun = time.perf_counter()
        sha256_of(file)
        return CHECKED / (time.perf_counter() - begun)


@dataclass(frozen=True)
class Plan:
    """A collection and the machines for it.

    Attributes:
        items: Number of images.
        per_shard: Images of a shard, of which a machine holds one.
        cores: Of a machine.
        encoded: Images that two cores encode in a second.
        checked: Bytes whose checksum a core computes in a second.
    """

    items: float
    per_shard: float
    cores: int
    encoded: float
    checked: float

    @property
    def shards(self) -> int:
        """Number of shards, and of machines for one replica of each."""
        return math.ceil(self.items / self.per_shard)

    @property
    def of_a_shard(self) -> float:
        """Images of one shard."""
        return self.items / self.shards

    def disk(self) -> float:
        """Bytes on all disks, for one replica."""
        return self.items * value("stored")

    def memory(self) -> float:
        """Bytes of coarse embeddings and their codes in a machine's memory."""
        return self.of_a_shard * (value("vector") + value("codes"))

    def read(self) -> float:
        """Bytes of regions that indexing reads, float32."""
        return self.items * REGIONS * IMAGE_DIM * 4

    def encoding_hours(self) -> float:
        """Hours of one machine, from regions."""
        return self.items / (self.encoded * self.cores / CORES) / 3600

    def detecting_hours(self) -> float:
        """Hours of one machine, from pictures without a GPU."""
        return self.items * value("detected") * CORES / self.cores / 3600

    def commit_hours(self) -> float:
        """Hours of the commit of one gallery, which reads all that is stored, with all cores."""
        return self.disk() / (self.checked * self.cores) / 3600

    def opening(self) -> float:
        """Seconds until a shard is open."""
        return self.of_a_shard * value("opened") / 1e6

    def coarse(self) -> float:
        """Milliseconds of the coarse stage: all shards at the same time."""
        return self.of_a_shard * value("coarse") / 1e6

    def matching(self) -> float:
        """Milliseconds of reading, prefilter and matcher, were all candidates in one shard."""
        return value("gather") + value("prefilter") + value("match")

    def latency(self) -> float:
        """Milliseconds of a query, with the rounds of calls."""
        return value("encode") + self.coarse() + self.matching() + value("rounds")

    def core_seconds(self) -> float:
        """Core seconds of a query over all machines."""
        spent = value("encode") + self.shards * self.coarse() + self.matching()
        return CORES * spent / 1e3

    def rows(self) -> list[tuple[str, str]]:
        """What is shown of it."""
        return [
            ("images", f"{self.items:,.0f}"),
            ("machines, one shard each", f"{self.shards:,}"),
            ("on disk, all", terabytes(self.disk())),
            ("on disk, a machine", terabytes(self.disk() / self.shards)),
            ("in memory, a machine", f"{self.memory() / 1e9:,.0f} GB"),
            ("regions to read", terabytes(self.read())),
            ("indexing from regions, machine hours", f"{self.encoding_hours():,.0f}"),
            ("from pictures, no GPU, machine hours", f"{self.detecting_hours():,.0f}"),
            ("commit of all, h", f"{self.commit_hours():,.1f}"),
            ("a shard is open after, s", f"{self.opening():,.0f}"),
            ("coarse stage, ms", f"{self.coarse():,.0f}"),
            ("the other stages, ms", f"{self.latency() - self.coarse():,.0f}"),
            ("a query, ms", f"{self.latency():,.0f}"),
            ("a query, core seconds", f"{self.core_seconds():,.2f}"),
            ("of these coarse", f"{CORES * self.shards * self.coarse() / 1e3:,.2f}"),
        ]


def value(name: str) -> float:
    """A measured figure."""
    return MEASURED[name].value


def terabytes(size: float) -> str:
    """Bytes as terabytes."""
    return f"{size / 1e12:,.2f} TB"


def show_figures(encoded: float, checked: float) -> None:
    """Print what all else is derived from."""
    table = Table(title="measured on two cores")
    for heading in ("", "figure", "unit", "command"):
        table.add_column(heading)
    for name, one in MEASURED.items():
        table.add_row(name, f"{one.value:g}", one.unit, one.command)
    table.add_row("encoded", f"{encoded:.0f}", "images a second", "python -m benchmarks.scale")
    table.add_row("checked", f"{checked / 1e9:.1f}", "GB a second", "python -m benchmarks.scale")
    Console(width=120).print(table)


def show(plans: list[Plan]) -> None:
    """Print the plans side by side."""
    table = Table(title=f"machines of {plans[0].cores} cores")
    table.add_column("")
    for _ in plans:
        table.add_column("", justify="right")
    for row in zip(*(plan.rows() for plan in plans), strict=True):
        table.add_row(row[0][0], *(told for _, told in row))
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
