"""From a loaded checkpoint to the files of a bundle."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path

import onnx_ir as ir
import torch
from torch import nn

from itr_deploy.bundle.files import canonical_json, sha256_of, write_file, write_json
from itr_deploy.bundle.manifest import (
    DataType,
    GraphInfo,
    HeldType,
    ImageItems,
    Manifest,
    Precision,
    Provenance,
    Quantization,
    TensorInfo,
    TextItems,
    Workspace,
)
from itr_deploy.bundle.modality import ENCODERS, MATCHERS
from itr_deploy.bundle.names import scale_name
from itr_deploy.bundle.store import list_files, write_manifest
from itr_deploy.engines.preflight import GraphView, lint_graph
from itr_deploy.errors import SetupError
from itr_deploy.exporters.casts import cancel_casts
from itr_deploy.exporters.graphs import traced_graphs
from itr_deploy.exporters.in_bytes import with_byte_gallery
from itr_deploy.exporters.specs import GraphSpec
from itr_deploy.exporters.storage import with_float16_gallery, with_int8_gallery
from itr_deploy.exporters.text import BundledText
from itr_deploy.exporters.tracing import to_onnx
from itr_deploy.exporters.weights import WeightsFile
from itr_deploy.models.contract import DeployedMatcher, DualEncoder, TrainedMatcher

GRAPHS = "graphs"
WEIGHTS = "weights.bin"
MAX_TOKENS = 256
"""Longest text a bundle takes: several times as long as the data sets' longest captions."""

_TOOLS = ("itr-deploy", "torch", "onnx", "onnx-ir", "onnxscript")
_DTYPES: dict[torch.dtype, DataType] = {
    torch.float32: "float32",
    torch.int64: "int64",
    torch.uint8: "uint8",
}

Progress = Callable[[str], None]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Source:
    """What is exported: the family's name, the checkpoint file and its contents."""

    family: str
    checkpoint: Path
    trained: TrainedMatcher
    text: BundledText


def build_bundle(
    source: Source,
    root: Path,
    *,
    opset: int,
    precision: Precision = "float32",
    quantization: Quantization | None = None,
    progress: Progress = lambda step: None,
) -> Manifest:
    """Write graphs, weights, text files and manifest into an empty directory.

    Args:
        source: What to export.
        root: The directory.
        opset: ONNX operator set of the graphs.
        precision: Type of their matrix products.
        quantization: What the matchers' Linears are rounded to.
        progress: Called with the name of each step as it begins.

    Returns:
        The manifest that was written.

    Raises:
        SetupError: A graph cannot be had in this operator set.
    """
    for name, content in source.text.files.items():
        if isinstance(content, str):
            write_file(root / name, content)
        else:
            write_json(root / name, content)
    graphs = _write_graphs(source.trained, root, opset, precision, quantization, progress)
    progress("checksums and manifest")
    manifest = _manifest(source, graphs, precision, quantization, root)
    write_manifest(root, manifest)
    return manifest


def tool_versions() -> dict[str, str]:
    """Versions of the packages that take part in an export, for the manifest."""
    return {tool: version(tool) for tool in _TOOLS}


def provenance_of(checkpoint: str, sha256: str) -> Provenance:
    """Where a bundle that is made now came from."""
    return Provenance(
        checkpoint=checkpoint,
        checkpoint_sha256=sha256,
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        versions=tool_versions(),
    )


def _write_graphs(
    trained: TrainedMatcher,
    root: Path,
    opset: int,
    precision: Precision,
    quantization: Quantization | None,
    progress: Progress,
) -> dict[str, GraphInfo]:
    infos: dict[str, GraphInfo] = {}
    (root / GRAPHS).mkdir()
    with WeightsFile(root / GRAPHS / WEIGHTS) as weights:

        def save(name: str, model: ir.Model, spec: GraphSpec, storage: HeldType | None) -> None:
            info = infos[name] = graph_info(spec, checked_opset(name, model, opset), name, storage)
            save_graph(model, root / info.file, precision, weights)
            # Graphs with products of integers are for a CPU: what TensorRT refuses is irrelevant.
            if not info.is_for_cpu and (quantization is None or info.role in ENCODERS):
                warn_of_findings(name, root / info.file)

        for spec, model in traced_graphs(trained, opset, precision, quantization, progress):
            if spec.gallery_inputs:
                forms: dict[HeldType, ir.Model | None] = {
                    "float16": with_float16_gallery(model, spec.gallery_inputs),
                    "int8": with_int8_gallery(model, spec.gallery_inputs),
                    "float32": model,
                    "uint8": None,
                }
                if spec.role not in MATCHERS.values() and precision == "float32":
                    forms["uint8"] = with_byte_gallery(model, spec.gallery_inputs)
                for storage, form in forms.items():
                    if form is None:
                        continue
                    name = spec.role if storage == "float16" else f"{spec.role}_{storage}"
                    save(name, form, spec, storage)
            else:
                save(spec.role, model, spec, None)
    return infos


def checked_opset(name: str, model: ir.Model, asked: int) -> int:
    """A graph's operator set, which must be the one that was asked for.

    PyTorch traces to one and converts to the others; where that fails, it only logs it.

    Raises:
        SetupError: The graph has another one.
    """
    found = model.opset_imports.get("", 0)
    if found != asked:
        raise SetupError(
            f"graph {name}: torch {version('torch')} made operator set {found} of it, not "
            f"opset={asked}; give opset={found} (--opset {found}), or upgrade onnxscript and torch"
        )
    return found


def save_graph(
    model: ir.Model,
    file: Path,
    precision: Precision,
    weights: WeightsFile,
) -> None:
    """Write a graph, and its weights into the file shared with other graphs.

    Args:
        model: The graph; it cannot be used afterwards.
        file: Where to write it.
        precision: Precision of its matrix products.
        weights: The file that its weights are added to.
    """
    if precision != "float32":
        cancel_casts(model)
    drop_traces(model)
    weights.take(model)
    ir.save(model, file)
    log.debug("%s: %d nodes", file.stem, len(model.graph))


def write_graph(
    module: nn.Module,
    spec: GraphSpec,
    root: Path,
    opset: int,
    precision: Precision,
    weights: WeightsFile,
) -> GraphInfo:
    """Trace a module whose graph is called by its role, and write it.

    Args:
        module: The module.
        spec: The graph's role, inputs and outputs.
        root: The bundle's directory.
        opset: ONNX operator set.
        precision: Type of its matrix products.
        weights: The file that its weights are added to.

    Returns:
        The manifest's entry.

    Raises:
        SetupError: The graph cannot be had in this operator set.
    """
    name = spec.role
    model = to_onnx(module, spec.inputs, spec.outputs, opset, precision)
    info = graph_info(spec, checked_opset(name, model, opset), name, None)
    save_graph(model, root / info.file, precision, weights)
    warn_of_findings(name, root / info.file)
    return info


def warn_of_findings(name: str, file: Path) -> None:
    """Log what TensorRT would refuse in a written graph."""
    for finding in lint_graph(name, GraphView.read(file), "tensorrt"):
        log.warning("TensorRT: %s", finding)


def graph_info(spec: GraphSpec, opset: int, name: str, storage: HeldType | None) -> GraphInfo:
    """The manifest's entry for a graph."""

    def inputs() -> Iterator[TensorInfo]:
        for t in spec.inputs:
            stored = storage if t.name in spec.gallery_inputs else None
            yield TensorInfo(name=t.name, dtype=stored or _DTYPES[t.dtype], shape=t.axes)
            if stored in ("int8", "uint8"):
                name = scale_name(t.name)
                yield TensorInfo(name=name, dtype="float32", shape=t.axes[:-1])

    return GraphInfo(
        role=spec.role,
        file=f"{GRAPHS}/{name}.onnx",
        opset=opset,
        storage=storage,
        inputs=tuple(inputs()),
        outputs=tuple(
            TensorInfo(name=t.name, dtype=_DTYPES[t.dtype], shape=t.axes) for t in spec.outputs
        ),
        attention=spec.attention,
    )


def drop_traces(model: ir.Model) -> None:
    """Remove the exporter's notes: they contain source paths of the exporting machine."""
    model.metadata_props.clear()
    model.graph.metadata_props.clear()
    for node in model.graph.all_nodes():
        scope = node.metadata_props.get("namespace")
        node.metadata_props.clear()
        if scope:
            node.metadata_props["namespace"] = scope
    for value in [*model.graph.inputs, *model.graph.outputs, *model.graph.initializers.values()]:
        value.metadata_props.clear()


def _manifest(
    source: Source,
    graphs: dict[str, GraphInfo],
    precision: Precision,
    quantization: Quantization | None,
    root: Path,
) -> Manifest:
    deployed = source.trained.deployed
    options, origin = dict(source.trained.options), source.trained.changed_from
    images = ImageItems(
        feature_dim=source.trained.image_dim,
        regions=deployed.regions,
        tensors=deployed.image_tensors,
        views=deployed.views if isinstance(deployed, DualEncoder) else None,
        max_regions=deployed.max_regions,
        boxes=deployed.takes_boxes or None,
        pictures=deployed.takes_pictures or None,
    )
    texts = TextItems(
        vocab_size=source.trained.vocab_size,
        length=deployed.text_length,
        padded_together=deployed.padded_together,
        max_tokens=deployed.text_length or deployed.max_tokens or MAX_TOKENS,
        tensors=deployed.text_tensors,
    )
    checkpoint_hash = sha256_of(source.checkpoint)
    files = list_files(root)
    text_files = {name: files[name].sha256 for name in source.text.files}
    identity = {
        "family": source.family,
        "options": options,
        "checkpoint": checkpoint_hash,
        # What is checked of a stored tensor does not change it.
        "images": images.model_dump(mode="json", exclude={"tensors": {"__all__": {"unit"}}}),
        "texts": texts.model_dump(mode="json"),
        "text_processing": source.text.processing.model_dump(mode="json"),
        "text_files": text_files,
    }
    return Manifest(
        family=source.family,
        options=options,
        precision=precision,
        quantization=quantization,
        embedding_dim=deployed.embedding_dim,
        images=images,
        texts=texts,
        workspace=deployed.workspace if isinstance(deployed, DeployedMatcher) else Workspace(),
        pipeline=deployed.pipeline,
        pruning=None if origin is None else origin.pruning,
        text_processing=source.text.processing,
        graphs=graphs,
        encoding_id=hashlib.sha256(canonical_json(identity)).hexdigest(),
        provenance=provenance_of(source.checkpoint.name, checkpoint_hash),
        files=files,
    )
