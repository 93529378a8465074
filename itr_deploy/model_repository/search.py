"""The model ``itr_search``: a `Retriever` behind Triton's Python backend."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from itr_deploy.bundle.files import write_file
from itr_deploy.bundle.manifest import ImageItems
from itr_deploy.bundle.modality import Modality
from itr_deploy.model_repository.batching import dynamic_batching
from itr_deploy.model_repository.protobuf import Message, Word, text_of
from itr_deploy.model_repository.settings import Settings
from itr_deploy.model_repository.warm_up import WarmUp, image_of, picture_file

NAME = "itr_search"
VERSION = "1"
CONFIG = "config.pbtxt"


def write_search(root: Path, settings: Settings, images: ImageItems, holds: Modality) -> None:
    """Write the model's directory.

    Args:
        root: The repository.
        settings: How to serve.
        images: The bundle's description of images.
        holds: The modality of the gallery's items.

    Raises:
        OutputError: It cannot be written.
    """
    model = root / NAME
    warm_up = first_search(images, holds)
    warm_up.write(model)
    config = {**search_config(settings, images), "model_warmup": [warm_up.message()]}
    write_file(model / CONFIG, text_of(config))
    source = files("itr_deploy.model_repository") / "templates" / "search_model.py"
    write_file(model / VERSION / "model.py", source.read_bytes())


def search_config(settings: Settings, images: ImageItems) -> Message:
    """The model's configuration, without what warms it up."""
    parameters = {
        "bundle": str(settings.bundle),
        "gallery": str(settings.gallery),
        "device": settings.device,
        "max_k": str(settings.max_k),
        "refresh_seconds": str(settings.refresh),
    }
    asked = [
        _optional("query", "TYPE_STRING", 1),
        *_image_inputs(images),
        _optional("k", "TYPE_INT32", 1),
        _optional("where", "TYPE_STRING", 1),
    ]
    return {
        "name": NAME,
        "backend": "python",
        "max_batch_size": settings.max_batch,
        "input": asked,
        "output": [
            {"name": "ids", "data_type": Word("TYPE_STRING"), "dims": [-1]},
            {"name": "scores", "data_type": Word("TYPE_FP32"), "dims": [-1]},
            {"name": "metadata", "data_type": Word("TYPE_STRING"), "dims": [-1]},
            {"name": "count", "data_type": Word("TYPE_INT32"), "dims": [1]},
        ],
        # The process chooses its own device; a second one would load the gallery again.
        "instance_group": [{"count": 1, "kind": Word("KIND_CPU")}],
        "dynamic_batching": dynamic_batching(settings),
        "parameters": [
            {"key": key, "value": {"string_value": value}} for key, value in parameters.items()
        ],
    }


def first_search(images: ImageItems, holds: Modality) -> WarmUp:
    """A search that goes through all parts of the model."""
    warm_up = WarmUp()
    if holds == "image":
        warm_up.add_bytes("query", b"a photo")
    elif images.pictures:
        warm_up.add_bytes("picture", picture_file())
    else:
        for name, value in image_of(images).items():
            warm_up.add(name, value)
    return warm_up


def _image_inputs(images: ImageItems) -> list[Message]:
    """What an image consists of."""
    if images.pictures:
        return [_optional("picture", "TYPE_STRING", 1)]
    regions = _optional("regions", "TYPE_FP32", images.regions or -1, images.feature_dim)
    if not images.boxes:
        return [regions]
    return [
        regions,
        _optional("boxes", "TYPE_FP32", images.regions or -1, 4),
        _optional("picture_sizes", "TYPE_FP32", 2),
    ]


def _optional(name: str, kind: str, *dims: int) -> Message:
    return {"name": name, "data_type": Word(kind), "dims": list(dims), "optional": True}
