"""Compares golden cases, scored on a device, with what the published programs computed.

    python golden.py golden/ --device cuda [--backend tensorrt] [--only CASE]

Prints a JSON object for each case as it is done; exit code 3 if one is off by more than allowed.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from itr_deploy import Detector, Matcher, Regions
from itr_deploy.runtime.detector.geometry import overlaps

ALLOWED = {"float32": 1e-4, "float16": 1e-2}
"""Largest error of a score, on ``|a - b| / (1 + |b|)``, by the bundle's precision."""
SAME, LEAST_FOUND, TURNED = 0.9, 0.9, 1e-3
"""Of regions: the intersection over union that makes them one, the share of them to be found again,
and the largest mean of 1 - cosine of their features."""


def main() -> None:
    """Compare all cases of a folder."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--backend", default="onnxruntime")
    parser.add_argument("--only")
    arguments = parser.parse_args()
    cases = [path for path in sorted(arguments.folder.iterdir()) if path.is_dir()]
    passed = True
    for case in cases:
        if arguments.only in (None, case.name):
            found = compared(case, arguments.device, arguments.backend)
            print(json.dumps(found), flush=True)
            passed &= found["passed"]
    if not passed:
        print("error: a case is off by more than allowed", file=sys.stderr)
        sys.exit(3)


def compared(case: Path, device: str, backend: str) -> dict[str, Any]:
    """One case compared; what it raises is a result too."""
    begun = time.perf_counter()
    judge = regions if (case / "regions.npz").exists() else scores
    try:
        found = judge(case, device, backend)
    except Exception as error:  # the other cases are compared all the same
        found = {"passed": False, "problem": f"{type(error).__name__}: {error}".splitlines()[0]}
    return {"case": case.name, **found, "seconds": round(time.perf_counter() - begun, 3)}


def scores(case: Path, device: str, backend: str) -> dict[str, Any]:
    """A matcher's scores ``[images, texts]`` against the published ones."""
    matcher = Matcher.load(case / "bundle", device, backend=backend)
    given, expected = _arrays(case / "inputs.npz"), _arrays(case / "expected.npz")["scores"]
    ids = given["captions"] if "captions" in given else given["input_ids"]
    own = matcher.score(texts=(ids, given["lengths"]), images=images(case, given))
    error = float((np.abs(own - expected) / (1 + np.abs(expected))).max())
    precision = matcher.bundle.manifest.precision
    return {
        "passed": bool(np.isfinite(own).all()) and error <= ALLOWED[precision],
        "error": error,
        "allowed": ALLOWED[precision],
        "pairs": int(own.size),
        "ran_on": matcher.backend.description,
    }


def images(case: Path, given: Mapping[str, NDArray[Any]]) -> Any:
    """A case's images as a matcher takes them."""
    pictures = case / "pictures"
    if pictures.is_dir():
        return sorted(pictures.iterdir())
    places = given.get("boxes"), given.get("img_sizes")
    return Regions(given["images"], *places, counts=given.get("image_lengths"))


def regions(case: Path, device: str, backend: str) -> dict[str, Any]:
    """A detector's regions against those of a CPU, which tests compare with the published ones."""
    detector = Detector.load(case / "bundle", device, backend=backend)
    expected = _arrays(case / "regions.npz")
    found, turned = [], []
    for number, one in enumerate(detector.detect(sorted((case / "pictures").iterdir()))):
        boxes, features = (expected[f"{name}_{number}"] for name in ("boxes", "features"))
        shared = overlaps(boxes[:, None], one.boxes[None], 0)
        again, same = shared.max(axis=1) > SAME, shared.argmax(axis=1)
        found += again.tolist()
        pairs = features[again], one.features[same[again]]
        norms = np.linalg.norm(pairs[0], axis=1) * np.linalg.norm(pairs[1], axis=1)
        turned += (1 - (pairs[0] * pairs[1]).sum(axis=1) / norms).tolist()
    share, turn = float(np.mean(found)), float(np.mean(turned)) if turned else 1.0
    return {
        "passed": share >= LEAST_FOUND and turn <= TURNED,
        "found_again": share,
        "turned": turn,
        "regions": len(found),
        "ran_on": detector.backend.description,
    }


def _arrays(path: Path) -> dict[str, NDArray[Any]]:
    with np.load(path) as stored:
        return dict(stored)


if __name__ == "__main__":
    main()
