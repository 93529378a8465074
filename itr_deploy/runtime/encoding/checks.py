"""Checks of user input, region features and token ids; the graphs then trust it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from itr_deploy.bundle.manifest import ImageItems, TextItems
from itr_deploy.errors import InputError


def as_array(values: Any, what: str) -> NDArray[Any]:
    """The user's values as one array.

    Raises:
        InputError: The values are ragged.
    """
    try:
        return values if isinstance(values, np.ndarray) else np.asarray(values)
    except ValueError as error:
        raise InputError(f"{what} do not make one array: {str(error).splitlines()[0]}") from error


def check_regions(regions: Any, items: ImageItems) -> NDArray[Any]:
    """Check the shape and type of region features; the values are checked batch by batch.

    Args:
        regions: ``[N, R, Di]`` of any float type, in memory or mapped from disk.
        items: The bundle's description of images.

    Raises:
        InputError: Wrong rank, width, number of regions or type.
    """
    array = as_array(regions, "regions")
    if array.ndim != 3:
        raise InputError(
            f"regions have shape {list(array.shape)}; expected 3 axes: "
            f"[images, regions, {items.feature_dim}]"
        )
    if not np.issubdtype(array.dtype, np.floating):
        raise InputError(f"regions are of type {array.dtype}; expected float32 features")
    if array.shape[2] != items.feature_dim:
        raise InputError(
            f"regions have {array.shape[2]} features each; this model takes {items.feature_dim}"
        )
    if array.shape[1] < 1 or (items.regions and array.shape[1] != items.regions):
        wanted = items.regions or "at least 1"
        raise InputError(f"{array.shape[1]} regions an image; this model takes {wanted}")
    return array


def finite_batch(regions: NDArray[Any], first: int) -> NDArray[np.float32]:
    """One batch of region features as contiguous float32.

    Args:
        regions: ``[n, R, Di]``.
        first: Number of the batch's first image among all images, for the message.

    Raises:
        InputError: A value is NaN, infinite, or too large for float32.
    """
    with np.errstate(over="ignore"):
        batch = np.ascontiguousarray(regions, np.float32)
    finite = np.isfinite(batch).all(axis=(1, 2))
    if not finite.all():
        image = first + int(np.flatnonzero(~finite)[0])
        raise InputError(f"regions of image {image} hold NaN or infinity; extract them again")
    return batch


def check_token_ids(
    token_ids: ArrayLike, lengths: ArrayLike, items: TextItems
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Check padded token ids and their lengths.

    Args:
        token_ids: Integers ``[C, L]``, padded on the right.
        lengths: Integers ``[C]``.
        items: The bundle's description of texts.

    Returns:
        Both as int64.

    Raises:
        InputError: Wrong rank or type, a length outside 1 to L or over the limit, an id outside
            the vocabulary.
    """
    ids, counts = as_array(token_ids, "token ids"), as_array(lengths, "lengths")
    if ids.ndim != 2 or counts.ndim != 1 or len(ids) != len(counts):
        raise InputError(
            f"token ids have shape {list(ids.shape)} and lengths {list(counts.shape)}; "
            "expected [texts, length] and [texts]"
        )
    if not (np.issubdtype(ids.dtype, np.integer) and np.issubdtype(counts.dtype, np.integer)):
        raise InputError(f"token ids are {ids.dtype} and lengths {counts.dtype}; expected integers")
    limit = min(ids.shape[1], items.max_tokens)
    bad = np.flatnonzero((counts < 1) | (counts > limit))
    if bad.size:
        raise InputError(
            f"text {bad[0]} has {counts[bad[0]]} tokens; expected 1 to {limit} "
            f"(padded length {ids.shape[1]}, the bundle's limit {items.max_tokens})"
        )
    outside = (ids < 0) | (ids >= items.vocab_size)
    if outside.any():
        text, place = np.argwhere(outside)[0]
        raise InputError(
            f"text {text}: token id {ids[text, place]} is not in the vocabulary "
            f"(0 to {items.vocab_size - 1})"
        )
    return ids.astype(np.int64), counts.astype(np.int64)
