"""A real parse by TensorRT, where it is installed; it needs no GPU."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import onnx

from itr_deploy.bundle.store import Bundle
from itr_deploy.export.preflight.lint import Finding, module_of
from itr_deploy.export.preflight.rules import Target

MODULES: dict[Target, str] = {"tensorrt": "tensorrt", "tensorrt-rtx": "tensorrt_rtx"}
"""The Python module of a target, which is also what to install."""


def parser_of(target: Target) -> Any | None:
    """The module of a target's parser, None where it is not installed."""
    name = MODULES[target]
    return import_module(name) if find_spec(name) is not None else None


def parse_bundle(bundle: Bundle, trt: Any) -> list[Finding]:
    """What a parser says of a bundle's graphs; nothing where it takes all of them.

    Args:
        bundle: The bundle.
        trt: The module, from `parser_of`.
    """
    found: list[Finding] = []
    for name, info in bundle.manifest.graphs.items():
        found += _parse(name, Path(bundle.file(info.file)), trt)
    return found


def _parse(graph: str, path: Path, trt: Any) -> list[Finding]:
    # What the logger would print comes back as errors.
    logger = trt.Logger(trt.Logger.INTERNAL_ERROR)
    builder = trt.Builder(logger)
    flags = 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    network = builder.create_network(flags)
    parser = trt.OnnxParser(network, logger)
    if parser.parse_from_file(str(path.resolve())):
        return []
    model = onnx.load(path, load_external_data=False)
    nodes = {node.name: node for node in model.graph.node}
    errors = [parser.get_error(number) for number in range(parser.num_errors)]
    return [
        Finding(
            graph,
            "parser",
            error.node_name(),
            error.node_operator(),
            module_of(nodes[error.node_name()]) if error.node_name() in nodes else "",
            " ".join(error.desc().split()),
            f"refused by {trt.__name__} {trt.__version__}",
        )
        for error in errors
    ]
