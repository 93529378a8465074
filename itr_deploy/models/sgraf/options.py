"""How SGRAF's checkpoints are recognised."""

from __future__ import annotations

from itr_deploy.models.family import CheckpointMark

MARK = CheckpointMark(
    "SAF_module.attn_sim_w.weight", part=2, others=("SGR_module.0.graph_query_w.weight",)
)
