"""How VSRN's checkpoints are recognised."""

from __future__ import annotations

from itr_deploy.models.family import CheckpointMark

MARK = CheckpointMark("Rs_GCN_1.g.weight", part=0)
