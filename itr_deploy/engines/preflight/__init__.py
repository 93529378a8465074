"""Preflight: what TensorRT would refuse in a graph, found before an engine is built."""

from __future__ import annotations

from itr_deploy.engines.preflight.graph import GraphView
from itr_deploy.engines.preflight.lint import Finding, lint_bundle, lint_graph
from itr_deploy.engines.preflight.rules import RULES, Target

__all__ = ["RULES", "Finding", "GraphView", "Target", "lint_bundle", "lint_graph"]
