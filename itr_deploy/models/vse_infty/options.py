"""The options of the export of a VSE-infinity, and how its checkpoints are recognised."""

from __future__ import annotations

from pydantic import Field

from itr_deploy.models.family import CheckpointMark
from itr_deploy.models.options import FamilyOptions, TextFile

MARK = CheckpointMark("gpool.linear.weight", part=1)


class VseInftyOptions(FamilyOptions):
    """The options of the export of a VSE-infinity."""

    bert_config: TextFile = Field(
        default="",
        description="The bert_config.json of the text encoder's BERT, if it has one; "
        "bert-base-uncased's sizes without it.",
    )
