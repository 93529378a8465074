"""Inputs and outputs of a bundle's graphs: names, types and axes."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from itr_deploy.bundle.manifest import AttentionStep, StoredTensor
from itr_deploy.bundle.modality import EXPLAIN, GraphRole, Modality
from itr_deploy.models.contract import Deployed, DeployedMatcher, DualEncoder, TrainedMatcher

Axes = tuple[int | str, ...]
"""A string is a dynamic axis."""


@dataclass(frozen=True)
class GraphTensor:
    """One tensor of a graph: its name, dtype, and axes."""

    name: str
    dtype: torch.dtype
    axes: Axes


@dataclass(frozen=True)
class GraphSpec:
    """A graph's role, inputs and outputs, and what the steps are that it tells of, if it does."""

    role: GraphRole
    inputs: tuple[GraphTensor, ...]
    outputs: tuple[GraphTensor, ...]
    attention: tuple[AttentionStep, ...] | None = None

    @property
    def gallery_inputs(self) -> list[str]:
        """Names of the stored tensors that a matcher graph gathers its candidates from."""
        return [
            tensor.name
            for tensor in self.inputs
            if tensor.axes[0] == "gallery" and tensor.dtype == torch.float32
        ]


@dataclass(frozen=True)
class PairTensors:
    """Inputs and outputs of scoring pairs, before a direction is chosen.

    Attributes:
        texts: ``[groups, texts, ...]``.
        lengths: ``[groups, texts]``.
        images: ``[groups, images, ...]``.
        outputs: ``[groups, texts, images, ...]``.
    """

    texts: tuple[GraphTensor, ...]
    lengths: GraphTensor
    images: tuple[GraphTensor, ...]
    outputs: tuple[GraphTensor, ...]


def image_encoder_spec(trained: TrainedMatcher) -> GraphSpec:
    """``regions`` and boxes, or ``pictures`` -> the stored image tensors, then the embedding."""
    deployed = trained.deployed
    outputs = (*_stored(deployed, "image", "batch"), _embedding(deployed, "image"))
    if deployed.takes_pictures:
        axes: Axes = ("batch", "height", "width", 3)
        pictures = GraphTensor("pictures", torch.uint8, axes)
        return GraphSpec("image_encoder", (pictures,), outputs)
    regions = deployed.regions or "regions"
    inputs = [GraphTensor("regions", torch.float32, ("batch", regions, trained.image_dim))]
    if deployed.takes_boxes:
        inputs.append(GraphTensor("boxes", torch.float32, ("batch", regions, 4)))
        inputs.append(GraphTensor("picture_sizes", torch.float32, ("batch", 2)))
    return GraphSpec("image_encoder", tuple(inputs), outputs)


def text_encoder_spec(trained: TrainedMatcher) -> GraphSpec:
    """``token_ids, text_lengths`` -> the stored text tensors, then the embedding."""
    deployed = trained.deployed
    ids = GraphTensor("token_ids", torch.int64, ("batch", deployed.text_length or "length"))
    outputs = (*_stored(deployed, "text", "batch"), _embedding(deployed, "text"))
    return GraphSpec("text_encoder", (ids, _lengths("batch")), outputs)


def pair_tensors(deployed: DeployedMatcher) -> PairTensors:
    """The matcher's tensors; outputs are the scores, then `DeployedMatcher.pair_outputs`."""
    pairs = ("groups", "texts", "images")
    told = (
        GraphTensor(output.name, torch.float32, (*pairs, *output.shape))
        for output in deployed.pair_outputs
    )
    return PairTensors(
        _stored(deployed, "text", "groups", "texts"),
        _lengths("groups", "texts"),
        _stored(deployed, "image", "groups", "images"),
        (GraphTensor("scores", torch.float32, pairs), *told),
    )


def prefilter_tensors(deployed: DeployedMatcher) -> PairTensors:
    """The prefilter's tensors: it reads some of the stored ones and returns only the score."""
    return _partial(deployed, deployed.prefilter_text_tensors, deployed.prefilter_image_tensors)


def refine_tensors(deployed: DeployedMatcher) -> PairTensors:
    """The refiner's tensors, as for the prefilter."""
    return _partial(deployed, deployed.refine_text_tensors, deployed.refine_image_tensors)


def _partial(
    deployed: DeployedMatcher, text_names: tuple[str, ...], image_names: tuple[str, ...]
) -> PairTensors:
    pairs = pair_tensors(deployed)
    texts = {f"text_{name}" for name in text_names}
    images = {f"image_{name}" for name in image_names}
    return PairTensors(
        tuple(tensor for tensor in pairs.texts if tensor.name in texts),
        pairs.lengths,
        tuple(tensor for tensor in pairs.images if tensor.name in images),
        pairs.outputs[:1],
    )


def attention_tensors(deployed: DeployedMatcher) -> PairTensors:
    """The tensors of what attends to what: inputs as the matcher's, weights and words' matches."""
    pairs = pair_tensors(deployed)
    axes: Axes = ("groups", "texts", "images", len(deployed.attention_steps))
    axes = (*axes, deployed.text_length or "length")
    weights = GraphTensor("attention", torch.float32, (*axes, deployed.regions or "regions"))
    words = GraphTensor("word_scores", torch.float32, axes)
    return PairTensors(pairs.texts, pairs.lengths, pairs.images, (weights, words))


def explain_spec(deployed: DeployedMatcher) -> GraphSpec:
    """``[batch, ...]`` texts, and as many images -> what attends to what in each pair."""
    pairs = attention_tensors(deployed)
    return GraphSpec(
        EXPLAIN,
        tuple(
            GraphTensor(tensor.name, tensor.dtype, ("batch", *tensor.axes[2:]))
            for tensor in (*pairs.texts, pairs.lengths, *pairs.images)
        ),
        tuple(
            GraphTensor(tensor.name, tensor.dtype, ("batch", *tensor.axes[3:]))
            for tensor in pairs.outputs
        ),
        deployed.attention_steps,
    )


def direction_spec(role: GraphRole, query: Modality, pairs: PairTensors) -> GraphSpec:
    """One direction of scoring pairs: queries, and their candidates as rows of a gallery."""
    queries, gallery = (*pairs.texts, pairs.lengths), pairs.images
    if query == "image":
        queries, gallery = gallery, queries
    inputs = (
        *(_leading(tensor, "queries") for tensor in queries),
        *(_leading(tensor, "gallery") for tensor in gallery),
        GraphTensor("candidates", torch.int64, ("groups", "candidates")),
    )
    outputs = tuple(
        GraphTensor(tensor.name, tensor.dtype, ("queries", "candidates", *tensor.axes[3:]))
        for tensor in pairs.outputs
    )
    return GraphSpec(role, inputs, outputs)


def _leading(tensor: GraphTensor, first: str) -> GraphTensor:
    """An item tensor with one axis where pairs have two."""
    return GraphTensor(tensor.name, tensor.dtype, (first, *tensor.axes[2:]))


def _stored(deployed: Deployed, modality: Modality, *first: str) -> tuple[GraphTensor, ...]:
    if modality == "image":
        specs, positions = deployed.image_tensors, deployed.regions or "regions"
    else:
        specs, positions = deployed.text_tensors, deployed.text_length or "length"

    def axes(spec: StoredTensor) -> Axes:
        return (*first, positions, spec.width) if spec.per_position else (*first, spec.width)

    return tuple(
        GraphTensor(f"{modality}_{spec.name}", torch.float32, axes(spec)) for spec in specs
    )


def _embedding(deployed: Deployed, modality: Modality) -> GraphTensor:
    width = deployed.embedding_dim
    if modality == "image" and isinstance(deployed, DualEncoder):
        width *= deployed.views or 1
    return GraphTensor(f"{modality}_embedding", torch.float32, ("batch", width))


def _lengths(*first: str) -> GraphTensor:
    return GraphTensor("text_lengths", torch.int64, first)
