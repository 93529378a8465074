"""The models ``text_encoder`` and ``image_encoder``: a bundle's graphs, or engines of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from itr_deploy.bundle.files import write_file
from itr_deploy.bundle.manifest import TensorInfo
from itr_deploy.bundle.store import Bundle
from itr_deploy.engines.files import (
    EngineDirectory,
    check_engine_file,
    engine_directories,
    graph_digest,
)
from itr_deploy.errors import EngineError
from itr_deploy.model_repository.batching import dynamic_batching
from itr_deploy.model_repository.protobuf import Message, Word, text_of
from itr_deploy.model_repository.search import CONFIG, VERSION
from itr_deploy.model_repository.settings import Settings
from itr_deploy.model_repository.warm_up import SIDE, TYPES, WarmUp, image_of
from itr_deploy.runtime.encoding.encode import BATCH

ENCODERS = ("text_encoder", "image_encoder")
WORDS = 8
"""Words of the text that warms up, where the model fixes no length."""


@dataclass(frozen=True)
class Plans:
    """Engines of one graph, which Triton chooses from by the GPU's compute capability.

    Attributes:
        files: Files by compute capability, such as ``"8.6"``.
        max_batch: The most items that all of them take.
    """

    files: dict[str, Path]
    max_batch: int


def write_encoder(root: Path, name: str, bundle: Bundle, settings: Settings) -> str:
    """Write an encoder's directory.

    Args:
        root: The repository.
        name: ``"text_encoder"`` or ``"image_encoder"``, the graph's name too.
        bundle: The opened bundle.
        settings: How to serve.

    Returns:
        The backend that runs it: ``"onnxruntime"`` or ``"tensorrt"``.

    Raises:
        BundleError: Something has written into the bundle's files.
        EngineError: A record of engines, or an engine, is damaged.
        OutputError: It cannot be written.
    """
    model = root / name
    plans = plans_of(bundle, name) if settings.device == "cuda" else None
    if plans is None:
        write_file(model / VERSION / "model.onnx", bundle.read(bundle.manifest.graphs[name].file))
        for location, weights in bundle.weights_of(name).items():
            write_file(model / VERSION / location, bytes(weights.content()))
    else:
        for capability, engine in plans.files.items():
            write_file(model / VERSION / plan_file(capability), engine.read_bytes())
    config = encoder_config(bundle, name, settings, plans)
    warm_up = first_item(bundle, name)
    warm_up.write(model)
    write_file(model / CONFIG, text_of({**config, "model_warmup": [warm_up.message()]}))
    return "onnxruntime" if plans is None else "tensorrt"


def encoder_config(bundle: Bundle, name: str, settings: Settings, plans: Plans | None) -> Message:
    """An encoder's configuration, without what warms it up.

    Triton computes requests together that have equal shapes but for the first axis.
    """
    graph = bundle.manifest.graphs[name]
    config: dict[str, Any] = {
        "name": name,
        "backend": "onnxruntime" if plans is None else "tensorrt",
        "max_batch_size": BATCH if plans is None else plans.max_batch,
        "input": list(map(_tensor, graph.inputs)),
        "output": list(map(_tensor, graph.outputs)),
        "instance_group": [
            {"count": 1, "kind": Word("KIND_CPU" if settings.device == "cpu" else "KIND_GPU")}
        ],
        "dynamic_batching": dynamic_batching(settings),
    }
    if plans is not None:
        names = {capability: plan_file(capability) for capability in plans.files}
        config["default_model_filename"] = next(iter(names.values()))
        config["cc_model_filenames"] = [
            {"key": capability, "value": file} for capability, file in names.items()
        ]
    return config


def _tensor(info: TensorInfo) -> Message:
    """An input or output as Triton sees it: without the axis of the batch."""
    dims = [-1 if isinstance(size, str) else size for size in info.shape[1:]]
    told: dict[str, Any] = {"name": info.name, "data_type": Word(TYPES[info.dtype])}
    # Triton knows no item without an axis: one number is one of length 1, reshaped.
    told |= {"dims": dims} if dims else {"dims": [1], "reshape": {"shape": []}}
    return told


def first_item(bundle: Bundle, name: str) -> WarmUp:
    """A text or an image for an encoder."""
    warm_up, manifest = WarmUp(), bundle.manifest
    if name == "text_encoder":
        length = manifest.texts.length or min(WORDS, manifest.texts.max_tokens)
        warm_up.add("token_ids", np.zeros(length, np.int64))
        warm_up.add("text_lengths", np.array([length], np.int64))
    elif manifest.images.pictures:
        (pixels,) = manifest.graphs[name].inputs
        warm_up.add(pixels.name, np.full((SIDE, SIDE, 3), 128, np.uint8))
    else:
        for own, value in image_of(manifest.images).items():
            warm_up.add(own, value)
    return warm_up


def plan_file(capability: str) -> str:
    """The name of an engine's file."""
    return f"model_sm{capability.replace('.', '')}.plan"


def plans_of(bundle: Bundle, name: str) -> Plans | None:
    """The engines of a graph that Triton's TensorRT backend loads, None if there are none.

    Those of TensorRT for RTX are not among them: another library runs them.

    Raises:
        EngineError: A record of engines, or an engine, is damaged.
    """
    fit = [
        directory
        for directory in engine_directories(bundle)
        if name in directory.record.engines
        and directory.record.engines[name].fingerprint.target == "tensorrt"
        and directory.record.engines[name].fingerprint.graph_sha256 == graph_digest(bundle, name)
    ]
    if not fit:
        return None
    for directory in fit:
        check_engine_file(directory, name)
    files = {
        capability: directory.file(name)
        for directory in fit
        for capability in directory.record.engines[name].fingerprint.capabilities
    }
    return Plans(files, most_items(fit, name))


def most_items(directories: Sequence[EngineDirectory], name: str) -> int:
    """The most items that all engines of a graph take at once.

    Raises:
        EngineError: An engine was built for more than one item at least, as Triton never asks.
    """
    most = []
    for directory in directories:
        for shapes in directory.record.engines[name].fingerprint.profile.values():
            if shapes.min[0] > 1:
                raise EngineError(
                    f"{directory.file(name)} takes {shapes.min[0]} items or more, and Triton asks "
                    "for one too; build the engines with a smallest batch of 1"
                )
            most.append(shapes.max[0])
    return min(most)
