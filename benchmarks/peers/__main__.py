"""This library and its peers, the same work in one run, each in a process of its own.

    python -m benchmarks.peers [--only NAME ...] [--python NAME=PATH ...] [--world DIRECTORY]

The work is IMRAM in text mode at its published sizes with random weights for the times, and the
IMRAM of `examples/shapes` for what a search finds (see world.py). ``--world`` keeps what is made
once, so that a later run with ``--step measure`` only measures; ``--large`` makes a gallery of
100,000 images too, about 8 GB. A peer that is not installed gets a row that says how to install it;
``--python openvino=venv/bin/python`` runs one with the packages of another environment.
``--step show`` prints what was measured before. Prints a table of each kind of work, and writes
benchmarks/results/peers.json after every row.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

from benchmarks.peers.registry import PEERS
from benchmarks.peers.running import answer, run
from benchmarks.peers.table import Row, markdown, show
from benchmarks.peers.world import World

RESULTS = Path(__file__).resolve().parent.parent / "results" / "peers.json"


def main() -> None:
    """Measure every peer, or be the process of one."""
    parser = _parser()
    arguments = parser.parse_args()
    if arguments.step in ("prepare", "measure") and not arguments.world:
        parser.error(
            f"--step {arguments.step} needs --world, what the other step made or will read"
        )
    if arguments.answer:
        answer(PEERS[arguments.only[0]], World(arguments.world), arguments.answer)
    elif arguments.step == "show":
        _tell(list(_kept().values()))
    else:
        with tempfile.TemporaryDirectory(prefix="peers-") as folder:
            measure(arguments, World(arguments.world or Path(folder)))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", nargs="+", default=[], choices=tuple(PEERS), metavar="NAME")
    parser.add_argument("--python", nargs="+", default=[], metavar="NAME=PATH", type=_named)
    parser.add_argument("--world", type=Path, help="where what is made once is kept")
    parser.add_argument("--large", action="store_true", help="100,000 images too")
    parser.add_argument("--limit", type=float, default=240, help="seconds of a peer's step")
    parser.add_argument("--step", default="all", choices=("all", "prepare", "measure", "show"))
    parser.add_argument("--answer", help=argparse.SUPPRESS)  # a peer's own process
    return parser


def _named(text: str) -> tuple[str, str]:
    name, found, path = text.partition("=")
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r}: expected NAME=PATH")
    return name, path


def measure(arguments: argparse.Namespace, world: World) -> None:
    """Prepare and measure the peers one after the other."""
    steps = ("prepare", "measure") if arguments.step == "all" else (arguments.step,)
    if "prepare" in steps:
        world.make(large=arguments.large)
    rows = _kept() if arguments.only else {}
    for name in arguments.only or PEERS:
        for step in steps:
            row = run(name, PEERS[name], world, dict(arguments.python), step, arguments.limit)
            print(f"{name}, {step}: {row.note or 'done'}", file=sys.stderr)
            if not row.figures and row.note:
                break
        if "measure" in steps or row.note:
            rows[name] = row
            _keep(rows)
    _tell([rows[name] for name in PEERS if name in rows])


def _kept() -> dict[str, Row]:
    if not RESULTS.exists():
        return {}
    records = json.loads(RESULTS.read_text(encoding="utf-8"))["rows"]
    return {name: Row.from_record(record) for name, record in records.items()}


def _keep(rows: dict[str, Row]) -> None:
    records = {name: json.loads(row.to_json()) for name, row in rows.items()}
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps({"rows": records}, indent=2) + "\n", encoding="utf-8")


def _tell(rows: list[Row]) -> None:
    show(rows)
    print(markdown(rows))


if __name__ == "__main__":
    main()
