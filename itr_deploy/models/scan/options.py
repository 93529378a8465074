"""How SCAN's checkpoints are recognised."""

from __future__ import annotations

from itr_deploy.models.family import CheckpointMark

MARK = CheckpointMark("rnn.weight_ih_l0", part=1)
"""Models that were built on SCAN's program have it too, beside marks of their own."""
