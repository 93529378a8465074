"""Runs every pair of a split through a matcher, with all outputs of its graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from itr_deploy.evaluation.data.split import Split
from itr_deploy.runtime.encoding.sources import source
from itr_deploy.runtime.matcher import Matcher
from itr_deploy.runtime.scorer import Observer


def observe_pairs(
    matcher: Matcher,
    split: Split,
    observe: Observer,
    progress: Callable[[int], None] = lambda pairs: None,
) -> None:
    """Score all images of a split with all its captions, tile by tile.

    Args:
        matcher: The bundle, loaded.
        split: The data.
        observe: Called with the outputs ``[captions, images, ...]`` of each tile.
        progress: Called with the number of pairs done so far.

    Raises:
        InputError: The data does not fit the bundle.
    """
    texts = source(matcher, split.captions, "text")
    images = source(matcher, split.given, "image")
    done = 0
    for _, encoded_texts in texts.tiles(matcher.memory_budget // 4):
        for _, encoded_images in images.tiles(matcher.memory_budget // 2):

            def count(outputs: Mapping[str, NDArray[np.float32]]) -> None:
                nonlocal done
                observe(outputs)
                done += outputs["scores"].size
                progress(done)

            matcher.scorer.score_all(encoded_texts, encoded_images, observe=count)
