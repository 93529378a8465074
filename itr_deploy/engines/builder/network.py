"""Parsing an ONNX graph with a target's parser."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from itr_deploy.engines.library import logger
from itr_deploy.engines.tensorrt_api import Flags, TensorRT


@dataclass(frozen=True)
class Refusal:
    """Why a parser refuses a graph: the node, its operator and the parser's message."""

    node: str
    operator: str
    problem: str


@dataclass(frozen=True)
class Parsed:
    """A parsed graph. The parser owns the weights: it must live as long as the network is used.

    Attributes:
        builder: The target library's builder.
        network: Strongly typed: every layer computes in the type that the graph gives it.
        parser: The parser that read it.
        refusals: Why the graph was refused; empty if it was accepted.
    """

    builder: TensorRT.Builder
    network: TensorRT.INetworkDefinition
    parser: TensorRT.OnnxParser
    refusals: tuple[Refusal, ...]


def parse_graph(trt: TensorRT, path: Path) -> Parsed:
    """Parse a graph and its weights.

    Args:
        trt: The target's library.
        path: The ONNX file, with its weights beside it.
    """
    builder = trt.Builder(logger(trt))
    # In TensorRT 11 every network is strongly typed; in 10 this must be requested.
    flags = Flags(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    network = builder.create_network(flags)
    parser = trt.OnnxParser(network, logger(trt))
    taken = parser.parse_from_file(str(path.resolve()))
    errors = [] if taken else [parser.get_error(number) for number in range(parser.num_errors)]
    refusals = tuple(
        Refusal(error.node_name(), error.node_operator(), " ".join(error.desc().split()))
        for error in errors
    )
    return Parsed(builder, network, parser, refusals or _unexplained(taken))


def _unexplained(taken: bool) -> tuple[Refusal, ...]:
    return () if taken else (Refusal("", "", "the parser does not say why"),)
