"""What shortlists keep: a dual encoder's in front of a matcher, against the matcher's own.

    python -m benchmarks.cascade_recall retriever/ matcher/ --data build/shapes
        [--split test] [--fit dev] [--widths 10 20 50 100] [--work build/cascade]

Both bundles are put together by `itr_deploy.cascade`. Every pair of the split is scored by the
matcher; then each side orders all items of every query, and what the first of them hold is counted.
The sides are the dual encoder's vectors, the matcher's coarse embedding and its prefilter, and the
vectors with a projection that is fitted on the other split, in the directions where `tune` would
take it. Counted are the share of the matcher's exhaustive top 10, and the matcher's Recall@1 over
the shortlist. Scores are kept in the folder of ``--work``, from which a stopped run goes on. Prints
two tables a direction and writes benchmarks/results/cascade_recall.json.
"""

from __future__ import annotations

import argparse
import tempfile
from contextlib import ExitStack
from pathlib import Path

from rich.console import Console
from rich.table import Table

import itr_deploy
from benchmarks.matching import RESULTS
from itr_deploy import Matcher
from itr_deploy.bundle.files import write_json
from itr_deploy.bundle.modality import MODALITIES, Modality, direction_title
from itr_deploy.evaluation.data.split import Split, read_split
from itr_deploy.evaluation.evaluate import split_scores
from itr_deploy.evaluation.measures.prefilter import prefilter_scores
from itr_deploy.evaluation.measures.recall import CUTOFFS, recall_curve
from itr_deploy.evaluation.measures.shortlist import (
    Order,
    default_widths,
    prefiltered_order,
    shortlists,
)
from itr_deploy.evaluation.options import Options
from itr_deploy.evaluation.progress import QUIET
from itr_deploy.evaluation.scores.coarse import Coarse
from itr_deploy.evaluation.scores.split_encoder import SplitItems
from itr_deploy.evaluation.scores.split_scores import SplitScores
from itr_deploy.evaluation.tuning.projection import fit_projection

Figures = dict[str, dict[int, tuple[float, float]]]
"""By side and width: share of the top 10 that is kept, and the matcher's Recall@1, in percent."""


def main() -> None:
    """Measure one pair of bundles."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("retriever", type=Path)
    parser.add_argument("matcher", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--split", default="test")
    parser.add_argument("--fit", default="dev", help="the split that projections are fitted to")
    parser.add_argument("--widths", type=int, nargs="+")
    parser.add_argument("--work", type=Path)
    arguments = parser.parse_args()
    with ExitStack() as stack:
        work = arguments.work or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        found = measure(arguments, work)
    report(arguments, found)


def measure(arguments: argparse.Namespace, work: Path) -> dict[Modality, Figures]:
    """Score both splits and judge every side's shortlists."""
    joined = work / "cascade"
    itr_deploy.cascade(arguments.retriever, arguments.matcher, output=joined, force=True)
    matcher, cascade = Matcher.load(arguments.matcher), Matcher.load(joined)
    sides = {"coarse embedding": matcher, "dual encoder": cascade}
    fitted = _scored(matcher, sides, read_split(arguments.data, arguments.fit), work / "fit")
    judged = _scored(matcher, sides, read_split(arguments.data, arguments.split), work / "split")
    data: dict[str, SplitScores] = {}
    taken: dict[str, set[Modality]] = {}
    for name, own in judged.items():
        projection = fit_projection(fitted[name]).projection
        data[name] = own
        projected = f"{name}, projection"
        data[projected] = own.by(own.coarse.projected(projection))
        taken[projected] = set(projection.forms)
    split = read_split(arguments.data, arguments.split)
    own = judged["coarse embedding"]
    orders: dict[str, dict[Modality, Order]] = {}
    if matcher.prefilter is not None:
        items = SplitItems(matcher, split)
        scores = prefilter_scores(items, work / "split" / "prefilter", False, QUIET).plane()
        data["prefilter of every item"] = own
        orders["prefilter of every item"] = {
            query: prefiltered_order(own.coarse, scores, query, own.coarse.items(query))
            for query in MODALITIES
        }
    return {
        query: {
            name: _kept(one, query, arguments.widths, orders.get(name, {}).get(query))
            for name, one in data.items()
            if query in taken.get(name, MODALITIES)
        }
        for query in MODALITIES
    }


def _scored(
    matcher: Matcher, sides: dict[str, Matcher], split: Split, work: Path
) -> dict[str, SplitScores]:
    """The matcher's scores of a split, with each side's vectors."""
    matrix, *_ = split_scores(SplitItems(matcher, split), work / "scores", Options(), QUIET)
    return {
        name: SplitScores(
            matrix.plane(),
            Coarse.encode(SplitItems(side, split), work / name.replace(" ", "_")),
            split.answers,
        )
        for name, side in sides.items()
    }


def _kept(
    data: SplitScores, query: Modality, widths: list[int] | None, order: Order | None
) -> dict[int, tuple[float, float]]:
    """What one side's shortlists hold; those of every item are the matcher's own ranking."""
    count = data.coarse.items(query)
    given = sorted({*(widths or default_widths(count)), count})
    own = [width for width in given if width <= count]
    found = shortlists(data, query, own, exhaustive=True, order=order)
    first = CUTOFFS.index(1)
    return {
        width: (100 * found.share(width), recall_curve(found.ranks[width], CUTOFFS)[first])
        for width in own
    }


def report(arguments: argparse.Namespace, found: dict[Modality, Figures]) -> None:
    """Print the tables and write the JSON."""
    for query, sides in found.items():
        widths = list(next(iter(sides.values())))
        for place, what in enumerate(("% of the top 10 kept", "Recall@1 of the matcher")):
            table = Table(title=f"{direction_title(query)}: {what}, by the shortlist's width")
            for heading in ("shortlist by", *map(str, widths)):
                table.add_column(heading, justify="left" if not table.columns else "right")
            for name, figures in sides.items():
                table.add_row(name, *(f"{figures[width][place]:.1f}" for width in widths))
            Console().print(table)
    configuration = {name: str(value) for name, value in vars(arguments).items()}
    write_json(
        RESULTS / "cascade_recall.json",
        {
            "configuration": configuration,
            "top10_kept_and_recall1": {
                query: {
                    name: {str(width): values for width, values in figures.items()}
                    for name, figures in sides.items()
                }
                for query, sides in found.items()
            },
        },
    )


if __name__ == "__main__":
    main()
