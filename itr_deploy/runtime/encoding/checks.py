"""Checks of user input, region features and token ids; the graphs then trust it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from itr_deploy.bundle.manifest import ImageItems, StoredTensor, TextItems
from itr_deploy.bundle.modality import Modality
from itr_deploy.errors import InputError

UNIT_ERROR = 0.05
"""How far a vector of length 1 may be off: half precision is off by less than a tenth of it."""


class NotFiniteError(InputError):
    """A graph gives NaN or infinity, or vectors that are not of the length that they must have."""


def as_array(values: Any, what: str) -> NDArray[Any]:
    """The user's values as one array.

    Raises:
        InputError: The values are ragged, masked, or of a kind that makes no array.
    """
    if isinstance(values, np.ma.MaskedArray):
        raise InputError(
            f"{what} are a masked array; give .filled(...) or the images that are whole"
        )
    try:
        return values if isinstance(values, np.ndarray) else np.asarray(values)
    except Exception as error:  # the array protocol runs other libraries' code, such as PyTorch's
        said = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"{what} do not make one array: {said[:200]}") from error


def check_regions(regions: Any, items: ImageItems, *, padded: bool = False) -> NDArray[Any]:
    """Check the shape and type of region features; the values are checked batch by batch.

    Args:
        regions: ``[N, R, Di]`` of any float type, in memory or mapped from disk.
        items: The bundle's description of images.
        padded: Whether there may be more rows than regions.

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
    fixed = None if padded else items.regions
    if array.shape[1] < 1 or (fixed and array.shape[1] != fixed):
        wanted = fixed or "at least 1"
        raise InputError(f"{array.shape[1]} regions an image; this model takes {wanted}")
    if items.max_regions is not None and array.shape[1] > items.max_regions:
        raise InputError(
            f"{array.shape[1]} regions an image; this model takes {items.max_regions} at most"
        )
    return array


def finite_batch(
    regions: NDArray[Any], numbers: NDArray[np.int64], *, zeros_are_regions: bool = False
) -> NDArray[np.float32]:
    """One batch of region features as contiguous float32.

    Args:
        regions: ``[n, R, Di]``.
        numbers: ``int64 [n]``, the number of each image among all images, for the message.
        zeros_are_regions: Whether the caller has said which rows are regions, so that one of zeros
            is not padding; an image of nothing else is refused all the same.

    Raises:
        InputError: A value is NaN, infinite, or too large for float32, all of an image's are 0, or
            a region's are.
    """
    with np.errstate(over="ignore"):
        batch = np.ascontiguousarray(regions, np.float32)
    finite = np.isfinite(batch).all(axis=(1, 2))
    if not finite.all():
        image = int(numbers[~finite][0])
        raise InputError(f"regions of image {image} hold NaN or infinity; extract them again")
    # Most rows show in a few of their values that they are not zeros.
    suspect = ~np.any(batch[:, :, :8], axis=2)
    for place in np.flatnonzero(suspect.any(axis=1)):
        zeros = ~batch[place].any(axis=1)
        if zeros.all():
            raise InputError(
                f"regions of image {numbers[place]} are all 0, as no extractor gives them; "
                "extract them again, or leave the image out"
            )
        if zeros.any() and not zeros_are_regions:
            raise InputError(
                f"region {int(np.argmax(zeros))} of image {numbers[place]} is all 0, as padding is "
                "and no extractor gives it; say how many regions are real with "
                "itr_deploy.Regions(features, counts=...), or give a list of arrays without padding"
            )
    return batch


def check_encoded(
    outputs: Mapping[str, NDArray[np.float32]],
    modality: Modality,
    tensors: Sequence[StoredTensor],
    items: NDArray[np.int64],
    regions: NDArray[np.float32] | None = None,
) -> None:
    """Refuse what an encoder gave for a batch if a search could not rank it.

    Where layers overflow, an item becomes NaN, or 0 where it is divided by its length.

    Args:
        outputs: By name, ``[n, ..]``.
        modality: Of the items.
        tensors: What is stored of an item.
        items: ``int64 [n]``, the number of each item among all, for the message.
        regions: What was encoded, for the message; None for texts.

    Raises:
        NotFiniteError: A value is not finite, an embedding is 0, or a row of an image that must
            have length 1 has not.
    """
    embedding = outputs[f"{modality}_embedding"]
    wrong = ~embedding.any(axis=1)
    for values in outputs.values():
        wrong |= ~np.isfinite(values).reshape(len(values), -1).all(axis=1)
    with np.errstate(all="ignore"):
        for tensor in tensors if regions is not None else ():
            if tensor.unit:
                rows = outputs[f"{modality}_{tensor.name}"]
                squares = np.einsum("...d,...d->...", rows, rows).reshape(len(rows), -1)
                wrong |= ~(np.abs(squares - 1) < 2 * UNIT_ERROR).all(axis=1)
    if wrong.any():
        place = int(np.flatnonzero(wrong)[0])
        cause, remedy = "", "its bundle is damaged, or its precision too low: itr-deploy verify"
        if regions is not None:
            cause = f" of regions up to {np.abs(regions[place]).max():.3g}"
            remedy = "extract its features as they were for training"
        raise NotFiniteError(
            f"{modality} {items[place]}: the model overflows, or divides 0 by 0: its encoder gives "
            f"values that are NaN or infinite, or vectors of a wrong length{cause}; {remedy}"
        )


def check_scores(scores: NDArray[np.floating], part: str) -> None:
    """Refuse scores that cannot be ranked.

    Raises:
        NotFiniteError: One is NaN or infinite.
    """
    if not np.isfinite(scores).all():
        raise NotFiniteError(
            f"the bundle's {part} gives a score that is NaN or infinite; it is damaged, or its "
            "precision too low for these items: itr-deploy verify, or export it in float32"
        )


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
