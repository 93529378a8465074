"""The report as one self-contained HTML page."""

from __future__ import annotations

from collections.abc import Sequence

from itr_deploy.bundle.modality import direction_title
from itr_deploy.bundle.published import Published
from itr_deploy.evaluation.data.split import Split
from itr_deploy.evaluation.measures.search_stages import Staged
from itr_deploy.evaluation.report.curves import recall_chart
from itr_deploy.evaluation.report.examples import comparisons
from itr_deploy.evaluation.report.model import EvaluatedBundle, EvaluationReport
from itr_deploy.evaluation.report.pictures import Pictures
from itr_deploy.rendering import render


def page(
    report: EvaluationReport,
    stages: Staged,
    split: Split,
    pictures: Pictures,
    published: Sequence[Published] = (),
) -> str:
    """The page of a report.

    Args:
        report: The report to show.
        stages: The stages that it describes, for examples.
        split: The data.
        pictures: Pictures of the split's images, if there are any.
        published: Published figures to show next to the measured ones.
    """
    examples = list(comparisons(stages))
    shown = sorted({number for found in examples for number in found.images()})
    uris = {number: pictures.data_uri(number) for number in shown}
    depths = report.stages[0].curve.depths
    by_image = [(stage.name, stage.curve.image_to_text) for stage in report.stages]
    by_caption = [(stage.name, stage.curve.text_to_image) for stage in report.stages]
    return render(
        "itr_deploy.evaluation.report",
        "page.html",
        report=report,
        model=_model(report.bundle),
        published=[row for row in published if report.published is None or row.protocol.folds == 1],
        published_folds=[
            row for row in published if report.published is not None and row.protocol.folds > 1
        ],
        charts=(
            recall_chart(direction_title("image"), depths, by_image),
            recall_chart(direction_title("text"), depths, by_caption),
        ),
        comparisons=examples,
        split=split,
        pictures={number: uri for number, uri in uris.items() if uri is not None},
    )


def _model(bundle: EvaluatedBundle) -> str:
    own = f"an ensemble of {', '.join(bundle.members)}" if bundle.members else bundle.family
    return own if bundle.front is None else f"{own} behind {bundle.front}"
