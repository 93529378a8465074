"""Batched encoding of images and texts through a bundle's encoders."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from itr_deploy.bundle.manifest import Manifest, TextItems
from itr_deploy.bundle.modality import Modality
from itr_deploy.runtime.backends.base import Backend
from itr_deploy.runtime.encoding.checks import check_encoded
from itr_deploy.runtime.encoding.encoded import Block, Encoded, length_groups
from itr_deploy.runtime.encoding.images import CheckedImages
from itr_deploy.runtime.encoding.pictures import Limits

BATCH = 64
"""Items per encoder call: enough to fill the matrix products, few enough to save memory."""


def encode_images(
    backend: Backend, manifest: Manifest, images: CheckedImages, part: slice
) -> Encoded:
    """Encode a slice of checked images, those of equal numbers of regions together.

    Raises:
        InputError: A value is not finite, a region is all zeros, or a picture cannot be decoded.
        NotFiniteError: The encoder gives values that cannot be ranked.
    """
    # By the number of regions: the images' numbers, and what the encoder gave.
    found: dict[int, tuple[list[NDArray[np.int64]], list[dict[str, NDArray[np.float32]]]]] = {}
    sides = (backend.max_size("image_encoder", side) for side in ("height", "width"))
    limits = Limits(_batch(backend, "image_encoder"), *sides)
    for numbers, given in images.batches(part, limits):
        outputs = backend.run("image_encoder", given)
        features = given.get("regions")
        check_encoded(outputs, "image", manifest.images.tensors, numbers, features)
        own = found.setdefault(int(images.counts[numbers[0]]), ([], []))
        own[0].append(numbers)
        own[1].append(outputs)
    each = [numbers for own, _ in found.values() for numbers in own]
    encoded = np.sort(np.concatenate([*each, np.zeros(0, np.int64)]))
    embedding = np.zeros((len(encoded), manifest.embedding_width("image")), np.float32)
    blocks = []
    for positions, (own_numbers, batches) in found.items():
        rows = np.searchsorted(encoded, np.concatenate(own_numbers))
        tensors, embedding[rows] = _joined(batches, manifest, "image", positions)
        blocks.append(Block(rows, tensors))
    return Encoded("image", embedding, tuple(blocks), manifest.encoding_id)


def encode_texts(
    backend: Backend,
    manifest: Manifest,
    token_ids: NDArray[np.int64],
    lengths: NDArray[np.int64],
    widths: NDArray[np.int64] | None = None,
    first: int = 0,
) -> Encoded:
    """Encode checked token ids ``[C, L]``, texts of similar length together.

    Args:
        backend: Runs the encoder.
        manifest: The bundle's manifest.
        token_ids: ``int64 [C, L]``.
        lengths: ``int64 [C]``.
        widths: ``int64 [C]``, the length each text is padded to for the encoder, see
            `padded_widths`; None if it makes no difference.
        first: Numbers the texts in messages.

    Raises:
        NotFiniteError: The encoder gives values that cannot be ranked.
    """
    embedding = np.zeros((len(lengths), manifest.embedding_width("text")), np.float32)
    batch = _batch(backend, "text_encoder")
    blocks = []
    for rows in length_groups(lengths, manifest.texts.length):
        padded = manifest.texts.length or int(lengths[rows].max())
        own = np.full(len(rows), padded) if widths is None else widths[rows]
        batches, done = [], 0
        for ids, counts in _text_batches(token_ids[rows], lengths[rows], own, batch):
            outputs = backend.run("text_encoder", {"token_ids": ids, "text_lengths": counts})
            numbers = first + rows[done : done + len(ids)]
            check_encoded(outputs, "text", manifest.texts.tensors, numbers)
            batches.append(outputs)
            done += len(ids)
        tensors, embedding[rows] = _joined(batches, manifest, "text", padded)
        blocks.append(Block(rows, tensors, lengths[rows]))
    return Encoded("text", embedding, tuple(blocks), manifest.encoding_id)


def padded_widths(texts: TextItems, lengths: NDArray[np.int64]) -> NDArray[np.int64] | None:
    """The length each text is padded to if padding affects its encoding, else None.

    An encoding then depends only on this width and the text, not on what else is encoded in the
    same call, so a source can still be encoded slice by slice.

    Args:
        texts: The bundle's description of texts.
        lengths: ``int64 [C]`` of all texts of a source, in the order given.

    Returns:
        ``int64 [C]`` or None.
    """
    size = texts.padded_together
    if size is None:
        return None
    longest = [lengths[start : start + size].max() for start in range(0, len(lengths), size)]
    return np.repeat(np.array(longest, np.int64), size)[: len(lengths)]


def _batch(backend: Backend, graph: str) -> int:
    """Items per call of an encoder."""
    return min(BATCH, backend.max_size(graph, "batch") or BATCH)


def _text_batches(
    token_ids: NDArray[np.int64],
    lengths: NDArray[np.int64],
    widths: NDArray[np.int64],
    batch: int,
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Ids and lengths of consecutive texts with the same width, padded to it with 0."""
    for places in np.split(np.arange(len(widths)), np.flatnonzero(np.diff(widths)) + 1):
        width = int(widths[places[0]])
        missing = max(width - token_ids.shape[1], 0)
        ids = np.pad(token_ids[places], ((0, 0), (0, missing)))[:, :width]
        ids = ids * (np.arange(width) < lengths[places, None])
        for start in range(0, len(places), batch):
            part = slice(start, start + batch)
            yield np.ascontiguousarray(ids[part]), lengths[places[part]]


def _joined(
    batches: list[dict[str, NDArray[np.float32]]],
    manifest: Manifest,
    modality: Modality,
    positions: int,
) -> tuple[dict[str, NDArray[np.float32]], NDArray[np.float32]]:
    """All batches' stored tensors by name, cut to ``positions``, and their embeddings."""
    tensors = {}
    for spec in manifest.items(modality).tensors:
        parts = [batch[f"{modality}_{spec.name}"] for batch in batches]
        if spec.per_position:
            parts = [part[:, :positions] for part in parts]
        shape = (0, positions, spec.width) if spec.per_position else (0, spec.width)
        tensors[spec.name] = np.concatenate(parts) if parts else np.zeros(shape, np.float32)
    embeddings = [batch[f"{modality}_embedding"] for batch in batches]
    empty = np.zeros((0, manifest.embedding_width(modality)), np.float32)
    return tensors, np.concatenate(embeddings) if embeddings else empty
