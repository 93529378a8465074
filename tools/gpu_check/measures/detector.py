"""Times a region detector on a made picture of 640 x 480.

    python detector.py bundle/ --pictures 5 --device cuda

Prints one JSON object: the first picture's seconds, which makes sessions, and the others' median.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from statistics import median

from itr_deploy import Detector

HEIGHT, WIDTH = 480, 640


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--pictures", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    detector = Detector.load(arguments.bundle, arguments.device)
    picture = _picture(arguments.bundle)
    seconds, regions = [], 0
    for _ in range(1 + arguments.pictures):
        begun = time.perf_counter()
        regions = len(detector.detect([picture])[0])
        seconds.append(time.perf_counter() - begun)
    found = {
        "bundle": arguments.bundle.name,
        "picture": [WIDTH, HEIGHT],
        "proposals": detector.proposals,
        "regions": regions,
        "first_seconds": seconds[0],
        "seconds": median(seconds[1:]),
        "pictures": arguments.pictures,
        "ran_on": detector.backend.description,
    }
    print(json.dumps(found))


def _picture(bundle: Path) -> Path:
    return bundle.parent / "picture.png"


if __name__ == "__main__":
    main()
