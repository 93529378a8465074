"""The options of the export of a CAMERA, and how its checkpoints are recognised."""

from __future__ import annotations

from pydantic import Field

from itr_deploy.models.family import CheckpointMark
from itr_deploy.models.options import FamilyOptions, TextFile

MARK = CheckpointMark("mvs.convs_fc.weight", part=0)


class CameraOptions(FamilyOptions):
    """The options of the export of a CAMERA."""

    bert_config: TextFile = Field(
        default="",
        description="The bert_config.json of the text encoder's BERT; bert-base-uncased's sizes "
        "without it.",
    )
