"""What half precision does to every family's Recall@K, rounded as a GPU rounds, on a CPU.

    python -m benchmarks.half [--only imram scan] [--images 1000] [--types float16 bfloat16]
    python -m benchmarks.half --near --only dime_t2i --work build/half

The checkpoints of examples/shapes; 1,000 images and 5,000 captions of that world that no model was
trained on, every pair scored, and what LeaPRR makes of three bases' rankings. A bundle in half
precision is turned into float32 graphs that round the operands and results of its products
(`itr_deploy/parity/emulated.py`) and accumulate in float32, as TensorRT's do. Points of Recall@K
against the float32 bundle; one image of 1,000 is 0.1. With ``--near`` half precision scores only
pairs that can change a figure (`benchmarks/near.py`), without re-rankers: for DIME, of which every
pair takes hours. Prints a table and writes benchmarks/results/half.json after every bundle; ends
with 1 if a figure differs by more than 0.2. A run with ``--work`` that was stopped goes on there.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

import itr_deploy
from benchmarks.matching import RESULTS
from benchmarks.near import near_recall
from examples.shapes.make_data import make_split
from itr_deploy.bundle.files import write_json
from itr_deploy.bundle.manifest import Precision
from itr_deploy.bundle.store import read_bundle
from itr_deploy.evaluation.data.split import read_split
from itr_deploy.evaluation.measures.figures import Recall
from itr_deploy.evaluation.scores.saved import saved_scores
from itr_deploy.parity.emulated import write_emulated
from itr_deploy.runtime.matcher import Matcher

CHECKPOINTS = Path(__file__).parents[1] / "examples" / "shapes" / "checkpoints"
KS = (1, 5, 10)
MOST = 0.2
"""Points by which a figure may differ."""

FAMILIES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "imram": ("imram", "shapes_vocab.json", {}),
    "scan": ("scan", "shapes_vocab.json", {}),
    "sgraf_saf": ("sgraf", "shapes_vocab.json", {}),
    "lhsc": ("lhsc", "shapes_vocab.json", {}),
    "vse_infty": ("vse_infty", "shapes_vocab.json", {}),
    "dime_i2t": ("dime", "vocab.txt", {"gates": "yes"}),
    "dime_t2i": ("dime", "vocab.txt", {"gates": "yes"}),
}
"""By the checkpoint: the family, its vocabulary's file and its options."""
EVERY_ITEM = ", every item"
"""How the stage of the base alone is called in a report."""
SCORED = "scores"
"""How the directory of an evaluation that keeps its scores ends."""
RERANKERS = {"imram": "leaprr", "scan": "leaprr_scan", "vse_infty": "leaprr_vse_infty"}
"""By the base's checkpoint: the re-ranker's."""

Recalls = dict[str, tuple[float, ...]]
"""Recall@1, 5 and 10, in percent, by the direction."""


def main() -> None:
    """Measure every family in every type."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=FAMILIES, default=list(FAMILIES))
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument(
        "--types", nargs="+", choices=("float16", "bfloat16"), default=["float16", "bfloat16"]
    )
    parser.add_argument("--near", action="store_true", help="score only pairs that can matter")
    parser.add_argument("--work", type=Path, help="keep bundles and evaluations here")
    arguments = parser.parse_args()
    rows: list[dict[str, Any]] = []
    with working(arguments.work) as root:
        data = drawn(root, arguments.images)
        for name in arguments.only:
            plain = recalls(name, "float32", root, data, arguments.near)
            rows += [{"model": model, "type": "float32", **own} for model, own in plain.items()]
            for kind in arguments.types:
                made = near if arguments.near else recalls
                for model, own in made(name, kind, root, data).items():
                    off = most(own, plain[model])
                    rows.append({"model": model, "type": kind, **own, "most": off})
            write_json(RESULTS / "half.json", {"images": arguments.images, "rows": rows})
            Console(stderr=True).log(rows[-1])
    show(rows, arguments.images)
    sys.exit(1 if any(row.get("most", 0.0) > MOST + 1e-9 for row in rows) else 0)


@contextmanager
def working(kept: Path | None) -> Iterator[Path]:
    """The directory of bundles and evaluations, removed at the end unless it is to be kept."""
    if kept is None:
        with tempfile.TemporaryDirectory() as folder:
            yield Path(folder)
    else:
        kept.mkdir(parents=True, exist_ok=True)
        yield kept


def drawn(root: Path, images: int) -> Path:
    """The directory of the test split, drawn unless it was before."""
    data = root / "data"
    if not data.is_dir():
        with tempfile.TemporaryDirectory(dir=root) as folder:
            begun = Path(folder) / data.name
            begun.mkdir()
            make_split("test", begun, with_pictures=False, size=images)
            begun.rename(data)
    there = len(np.load(data / "test_ims.npy", mmap_mode="r"))
    if there != images:
        sys.exit(f"{root} is of a run with --images {there}; give another --work")
    return data


def recalls(
    name: str, precision: Precision, root: Path, data: Path, alone: bool = False
) -> dict[str, Recalls]:
    """The recalls of a matcher and, unless it is to be alone, of its re-ranker, by their names."""
    again = None if alone else RERANKERS.get(name)
    bundle = exported(name, precision, root, again)
    work = root / f"{bundle.name}-{SCORED if alone else 'evaluation'}"
    how: dict[str, Any] = {} if again is None else {"rerank": True, "merge": "order"}
    report = itr_deploy.evaluate(bundle, data=data, output=work, save_scores=alone, **how)
    if again is None:
        return {name: _figures(report.recall)}
    every = next(stage for stage in report.stages if stage.name.endswith(EVERY_ITEM))
    return {name: _figures(every.recall), f"{name} + {again}": _figures(report.recall)}


def near(name: str, precision: Precision, root: Path, data: Path) -> dict[str, Recalls]:
    """The recalls of a matcher in half precision, by the scores of its float32 form."""
    split = read_split(data, "test")
    saved = saved_scores(root / f"{name}-float32-{SCORED}", split)
    plain = saved.read(0, slice(0, saved.grid.rows), slice(0, saved.grid.columns))
    matcher = Matcher.load(exported(name, precision, root, None))
    found = near_recall(matcher, split, plain)
    Console(stderr=True).log(
        f"{name} {precision}: {found.pairs:,} pairs scored, all that are within {found.margin:.2g} "
        f"of a right answer; none moved by more than {found.moved:.2g}"
    )
    return {name: _figures(found.recall)}


def exported(name: str, precision: Precision, root: Path, reranker: str | None) -> Path:
    """The bundle of a checkpoint, with a re-ranker; rounding as a GPU does in half precision."""
    family, vocabulary, options = FAMILIES[name]
    checkpoint = CHECKPOINTS / name
    bundle = root / f"{name}-{precision}"
    if family == "dime":
        options = {**options, "bert_config": checkpoint / "bert_config.json"}
    if not bundle.is_dir():
        itr_deploy.export(
            family,
            checkpoint=checkpoint / "model_best.pth.tar",
            vocab=checkpoint / vocabulary,
            output=bundle,
            dtype=precision,
            **options,
        )
    if reranker is not None:
        base, bundle = bundle, root / f"{bundle.name}-reranked"
        if not bundle.is_dir():
            itr_deploy.export_reranker(
                "leaprr",
                checkpoint=CHECKPOINTS / reranker / "checkpoint_best.pth",
                base=base,
                output=bundle,
            )
    return bundle if precision == "float32" else _rounded(bundle)


def _rounded(bundle: Path) -> Path:
    made = bundle.with_name(f"{bundle.name}-rounded")
    if not made.is_dir():
        with tempfile.TemporaryDirectory(dir=bundle.parent) as folder:
            begun = Path(folder) / made.name
            begun.mkdir()
            write_emulated(read_bundle(bundle), begun)
            begun.rename(made)
    return made


def _figures(both: Recall) -> Recalls:
    return {
        "image to text": both.image_to_text.recalls,
        "text to image": both.text_to_image.recalls,
    }


def most(found: Recalls, plain: Recalls) -> float:
    """The largest difference of a figure, in points."""
    return max(
        abs(one - other)
        for direction, figures in found.items()
        for one, other in zip(figures, plain[direction], strict=True)
    )


def show(rows: Sequence[dict[str, Any]], images: int) -> None:
    """Print the table."""
    table = Table(
        title=f"Recall@{', '.join(map(str, KS))}, {images:,} images, {5 * images:,} captions"
    )
    for heading in ("model", "type", "image to text", "text to image", "largest difference"):
        table.add_column(heading)
    for row in rows:
        figures = (
            " / ".join(f"{value:.2f}" for value in row[direction])
            for direction in ("image to text", "text to image")
        )
        told = f"{row['most']:.2f}" if "most" in row else ""
        table.add_row(row["model"], row["type"], *figures, told)
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
