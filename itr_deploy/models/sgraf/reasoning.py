"""SGR's graph reasoning with everything folded that is constant after training."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from itr_deploy.models.folding import matrix, register, vector
from itr_deploy.models.layers import l2_norm
from itr_deploy.models.precision import full_precision
from itr_deploy.models.quantised import unquantised
from itr_deploy.models.sgraf.plain import GraphReasoning

EXCLUDED = -1e30
"""Logit of a node that takes no part; the others' are unbounded, so `layers.MASKED` is too near."""


class FoldedReasoning(nn.Module):
    """All steps of an SGR on vectors before their L2 norm; the result is the global node's."""

    def __init__(self, steps: Sequence[GraphReasoning]) -> None:
        super().__init__()
        self.steps = nn.ModuleList(FoldedStep(step) for step in steps)

    def forward(self, local: Tensor, overall: Tensor, mask: Tensor) -> Tensor:
        """``local [..., L, S], overall [..., 1, S], mask [..., L] -> [..., S]``."""
        nodes = l2_norm(torch.cat([overall, local], dim=-2), -1)
        takes_part = functional.pad(mask, (1, 0), value=True).unsqueeze(-2)
        *inner, last = self.steps
        for step in inner:
            nodes = step(nodes, nodes, takes_part)
        # What the last step makes of the words' nodes is not read.
        with unquantised():  # one vector per pair: cheap, and it decides the score
            node: Tensor = last(nodes[..., :1, :], nodes, takes_part)
        return node.squeeze(-2)


class FoldedStep(nn.Module):
    """A `GraphReasoning` with one product instead of those of the queries and the keys.

    ``Q K^T = (E W_q^T + b_q) (E W_k^T + b_k)^T``. What ``b_k`` adds is the same for all keys of a
    query, so that the softmax does not see it. What is left is ``(E W_q^T W_k + b_q W_k) E^T``.
    """

    relation: Tensor
    relation_bias: Tensor

    def __init__(self, step: GraphReasoning) -> None:
        super().__init__()
        self.value = step.sim_graph_w
        query, key = step.graph_query_w, step.graph_key_w
        register(
            self,
            step,
            relation=matrix(key).T @ matrix(query),
            relation_bias=vector(query) @ matrix(key),
        )

    def forward(self, queries: Tensor, nodes: Tensor, takes_part: Tensor) -> Tensor:
        """``queries [..., Q, S], nodes [..., K, S] -> [..., Q, S]``.

        ``takes_part [..., 1, K]`` says which nodes are read.
        """
        with full_precision():  # no norm bounds the nodes after the first step
            related = functional.linear(queries, self.relation, self.relation_bias)
            logits = related @ nodes.transpose(-2, -1)
        edges = torch.softmax(torch.where(takes_part, logits, EXCLUDED), dim=-1)
        return torch.relu(self.value(edges @ nodes))
