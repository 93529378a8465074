"""Times the scores of all pairs of random images and texts.

    python matrix.py bundle/ half/ --images 1000 --texts 5000 --device cuda

Prints a JSON object for each bundle: seconds of encoding both sides and of scoring, pairs a second.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from itr_deploy import Matcher
from itr_deploy.benchmarking.random_items import RandomItems

FEW = 64
"""Items of the first call, which makes sessions and chooses kernels."""


def main() -> None:
    """Measure the bundles in turn."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundles", type=Path, nargs="+")
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--texts", type=int, default=5000)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    for bundle in arguments.bundles:
        found = measured(bundle, arguments.images, arguments.texts, arguments.device)
        print(json.dumps(found), flush=True)


def measured(bundle: Path, images: int, texts: int, device: str) -> dict[str, Any]:
    """Measure one bundle."""
    begun = time.perf_counter()
    matcher = Matcher.load(bundle, device)
    items = RandomItems(matcher)
    regions, captions = items.images(images), items.captions(texts)
    matcher.score(texts=captions[:FEW], images=regions[:FEW])
    ready = time.perf_counter()
    encoded_images = matcher.encode_images(regions)
    encoded_at = time.perf_counter()
    encoded_texts = matcher.encode_texts(captions)
    texts_at = time.perf_counter()
    scores = matcher.score(texts=encoded_texts, images=encoded_images)
    done = time.perf_counter()
    return {
        "bundle": bundle.name,
        "images": images,
        "texts": texts,
        "finite": bool(np.isfinite(scores).all()),
        "ready_seconds": ready - begun,
        "image_seconds": encoded_at - ready,
        "text_seconds": texts_at - encoded_at,
        "score_seconds": done - texts_at,
        "pairs_per_second": scores.size / (done - texts_at),
        "ran_on": matcher.backend.description,
    }


if __name__ == "__main__":
    main()
