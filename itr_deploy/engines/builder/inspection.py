"""The types an engine computes in, from the layers its builder made: proof of its precision."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from itr_deploy.bundle.manifest import Precision
from itr_deploy.engines.builder.products import Products
from itr_deploy.engines.library import LAYERS, Heard, logger
from itr_deploy.engines.tensorrt_api import TensorRT
from itr_deploy.errors import EngineError

FLOATS: dict[str, Precision] = {
    "Half": "float16",
    "FP16": "float16",
    "BFloat16": "bfloat16",
    "BF16": "bfloat16",
    "Float": "float32",
    "FP32": "float32",
}
"""Names of the floating-point types in a description; other types are for indices and masks."""

_LAYER = re.compile(r"^Name: (?P<name>.*?), LayerType: (?P<kind>\w+)")
_NODES = re.compile(r"\[ONNX Layer: ([^\]]+)\]")
_TENSOR = re.compile(r"Dimensions: \[(?P<shape>[^\]]*)\].*?Datatype: (?P<type>[^,}]+)")
_PRODUCT_KINDS = re.compile(r"gemm|matrix_?multiply|conv", re.IGNORECASE)
_FUSED_KINDS = ("kgen", "runtime_fusion", "fusion")
_FUSED_PRODUCT = re.compile(r"gemm|mha|Fc|MatMul|Corr")
"""A product in a fused kernel's name, which lists its operators: ``__myl_FcAddDivErf``."""


@dataclass(frozen=True)
class Layer:
    """A layer of an engine.

    Attributes:
        name: The name given by the builder.
        is_product: Whether its kind or name says that it multiplies matrices.
        nodes: The ONNX nodes it came from, if the builder noted them.
        types: Floating-point types of its inputs: tensors and weights, not scalars.
    """

    name: str
    is_product: bool
    nodes: tuple[str, ...]
    types: frozenset[Precision]


def engine_layers(
    trt: TensorRT, plan: TensorRT.IHostMemory, heard: Heard, has_gpu: bool
) -> list[Layer]:
    """The layers of an engine that was just built.

    With a GPU the engine is loaded and inspected. Without one, the layers are those that the
    builder listed at the end of the build, in the same form.

    Args:
        trt: The target's library.
        plan: The serialised engine.
        heard: The library's messages during the build.
        has_gpu: Whether there is a GPU. Loading an engine without one may crash the process.

    Raises:
        EngineError: No layers are reported.
    """
    layers = list(read_layers(_inspected(trt, plan) if has_gpu else heard.layers))
    layers = layers or list(read_layers(heard.layers))
    if not layers:
        raise EngineError(
            f"{trt.__name__} {trt.__version__} does not tell the layers of the engine it built, so "
            "its precision cannot be shown; nothing was written"
        )
    return layers


def _inspected(trt: TensorRT, plan: TensorRT.IHostMemory) -> str:
    runtime = trt.Runtime(logger(trt))
    # A version compatible engine contains code of its own; it is safe, as we have just built it.
    runtime.engine_host_code_allowed = True
    engine = runtime.deserialize_cuda_engine(plan)
    if engine is None:
        return ""
    inspector = engine.create_engine_inspector()
    return inspector.get_engine_information(trt.LayerInformationFormat.ONELINE)


def read_layers(told: str) -> Iterator[Layer]:
    """Layers from a description, one per line; anything after the layers is ignored."""
    for line in told.removeprefix(LAYERS).splitlines():
        found = _LAYER.match(line)
        if found is None:
            continue
        name, kind = found["name"], found["kind"]
        fused = kind in _FUSED_KINDS and _FUSED_PRODUCT.search(name)
        taken = _section(line, "Inputs") + _section(line, "Constants")
        types = frozenset(_types(taken))
        is_product = bool(fused or _PRODUCT_KINDS.search(kind))
        yield Layer(name, is_product, tuple(_NODES.findall(line)), types)


def _types(tensors: str) -> Iterator[Precision]:
    for tensor in _TENSOR.finditer(tensors):
        # A single number scales a product; it is not an operand.
        if tensor["shape"] in ("", "1"):
            continue
        words = re.findall(r"\w+", tensor["type"])
        yield from (FLOATS[word] for word in words if word in FLOATS)


def _section(line: str, title: str) -> str:
    """The content of ``title: [...]``, which may contain brackets."""
    start = line.find(f", {title}: [")
    if start < 0:
        return ""
    start += len(f", {title}: [")
    depth = 1
    for place in range(start, len(line)):
        depth += {"[": 1, "]": -1}.get(line[place], 0)
        if not depth:
            return line[start:place]
    return line[start:]


def count_products(
    graph: str,
    precision: Precision,
    layers: list[Layer],
    products: Products,
    *,
    encodes: bool = False,
) -> dict[str, int]:
    """How many layers multiply matrices, by the type that they compute in.

    Args:
        graph: Name of the graph, for messages.
        precision: The requested precision of the engine.
        layers: Layers of the engine.
        products: Products of the network that it was built from.
        encodes: Whether it is an encoder. Encoders run once per item, and a family may keep a
            whole encoder in float32.

    Raises:
        EngineError: Half precision was requested, but no product of the engine has it, or a
            product that has it in the graph lacks it in the engine.
    """
    found = _matrix_layers(layers, products)
    counts = Counter(_computes_in(layer, products) for layer in found)
    if precision == "float32":
        return dict(sorted(counts.items()))
    wanted = precision in products.named.values()
    whole = encodes and not wanted
    if products.named and not whole and not (wanted and counts[precision]):
        raise EngineError(
            f"{graph}: no matrix product of its engine is {precision}: {_counted(counts)}; "
            f"export the bundle again with dtype={precision!r} (--dtype {precision})"
        )
    told = {node for layer in layers for node in layer.nodes}
    lost = [node for node, kind in products.named.items() if kind == precision and node not in told]
    if lost:
        raise EngineError(
            f"{graph}: {len(lost)} of its matrix products are in no layer that the library tells "
            f"of, the first {lost[0]}: their precision cannot be shown"
        )
    for layer in found:
        if not _is_meant(layer, precision, products):
            nodes = ", ".join(layer.nodes) or "no node of the graph"
            raise EngineError(
                f"{graph}: layer {layer.name} ({nodes}) multiplies matrices in "
                f"{_computes_in(layer, products)}, the graph does so in {precision}; build with "
                "another version of the library"
            )
    return dict(sorted(counts.items()))


def _matrix_layers(layers: list[Layer], products: Products) -> list[Layer]:
    """Layers that multiply matrices.

    A small product may be split into kernels of multiplications and additions that are not named
    as products. Then the kernels from its node that take its type count, or else all from its node.
    """
    whole = {node for layer in layers if layer.is_product for node in layer.nodes}
    found = [layer for layer in layers if layer.is_product]
    for node in products.named.keys() - whole:
        parts = [layer for layer in layers if node in layer.nodes and layer not in found]
        found += [part for part in parts if products.named[node] in part.types] or parts
    return found


def _computes_in(layer: Layer, products: Products) -> str:
    """The type of a product's operands; if several, the one its nodes have in the graph."""
    types = products.of(layer.nodes) & layer.types or layer.types
    return " and ".join(sorted(types)) or "integers"


def _is_meant(layer: Layer, precision: Precision, products: Products) -> bool:
    """Whether a layer takes its nodes' types in the graph; recurrent cells carry no node names."""
    own = products.of(layer.nodes)
    return own <= layer.types if own else layer.types <= products.unnamed | {precision}


def _counted(counts: Counter[str]) -> str:
    return (
        ", ".join(f"{count} in {kind}" for kind, count in sorted(counts.items())) or "no products"
    )
