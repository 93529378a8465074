"""Batched encoding of images and texts through a bundle's encoders."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from itr_deploy.bundle.manifest import Manifest, Modality
from itr_deploy.runtime.backends.base import Backend
from itr_deploy.runtime.inputs import finite_batch
from itr_deploy.runtime.items import Block, Encoded, length_groups

BATCH = 64
"""Items an encoder call takes: large enough to fill the matrix products, small in memory."""


def encode_images(
    backend: Backend, manifest: Manifest, regions: NDArray[Any], first: int = 0
) -> Encoded:
    """Encode checked regions ``[N, R, Di]``; ``first`` numbers them in messages."""
    starts = range(0, len(regions), BATCH)
    batches = [
        backend.run("image_encoder", {"regions": finite_batch(regions[s : s + BATCH], first + s)})
        for s in starts
    ]
    tensors, embedding = _joined(batches, manifest, "image", regions.shape[1])
    return Encoded("image", embedding, (Block(np.arange(len(regions)), tensors),))


def encode_texts(
    backend: Backend,
    manifest: Manifest,
    token_ids: NDArray[np.int64],
    lengths: NDArray[np.int64],
) -> Encoded:
    """Encode checked token ids ``[C, L]``, texts of similar length together."""
    embedding = np.zeros((len(lengths), manifest.embedding_dim), np.float32)
    blocks = []
    for rows in length_groups(lengths):
        padded = manifest.texts.length or int(lengths[rows].max())
        batches = [
            backend.run("text_encoder", {"token_ids": ids, "text_lengths": counts})
            for ids, counts in _text_batches(token_ids, lengths, rows, padded)
        ]
        tensors, embedding[rows] = _joined(batches, manifest, "text", padded)
        blocks.append(Block(rows, tensors, lengths[rows]))
    return Encoded("text", embedding, tuple(blocks))


def _text_batches(
    token_ids: NDArray[np.int64], lengths: NDArray[np.int64], rows: NDArray[np.int64], padded: int
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    real = np.arange(padded) < lengths[:, None]
    missing = max(padded - token_ids.shape[1], 0)
    ids = np.pad(token_ids, ((0, 0), (0, missing)))[:, :padded] * real
    for start in range(0, len(rows), BATCH):
        chosen = rows[start : start + BATCH]
        yield np.ascontiguousarray(ids[chosen]), lengths[chosen]


def _joined(
    batches: list[dict[str, NDArray[np.float32]]],
    manifest: Manifest,
    modality: Modality,
    positions: int,
) -> tuple[dict[str, NDArray[np.float32]], NDArray[np.float32]]:
    """The stored tensors by name, and the embeddings, of all batches."""
    specs = (manifest.images if modality == "image" else manifest.texts).tensors
    tensors = {}
    for spec in specs:
        parts = [batch[f"{modality}_{spec.name}"] for batch in batches]
        shape = (0, positions, spec.width) if spec.per_position else (0, spec.width)
        tensors[spec.name] = np.concatenate(parts) if parts else np.zeros(shape, np.float32)
    embeddings = [batch[f"{modality}_embedding"] for batch in batches]
    empty = np.zeros((0, manifest.embedding_dim), np.float32)
    return tensors, np.concatenate(embeddings) if embeddings else empty
