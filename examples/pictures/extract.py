"""Write the regions that a detector's bundle finds in a split's pictures, as matchers train on.

    python -m examples.pictures.extract --data build/pictures --detector build/detector

For every split: `{split}_ims.npy` (float32 `[pictures, 36, features]`), and beside it boxes and
picture sizes. Prints how good the detector is.
"""

from __future__ import annotations

import argparse
import sys
import time
from argparse import Namespace
from pathlib import Path

import numpy as np

from examples.pictures.judging import Judged, judged
from examples.pictures.make_data import pictures_of
from examples.pictures.truth import objects_of
from examples.shapes.files import replacing
from examples.shapes.make_data import MATCHERS_SPLITS
from itr_deploy.errors import InputError, ItrDeployError
from itr_deploy.evaluation.data.features import EXTRAS, FILES
from itr_deploy.runtime.detector.detection import Detection
from itr_deploy.runtime.detector.detector import Detector

_TOLD = 500  # pictures between two lines


def extract(detector: Detector, data: Path, split: str) -> Judged:
    """Write a split's regions; returns how good they are.

    Raises:
        FileNotFoundError: The split has not been made.
        InputError: A picture is broken.
    """
    ids = (data / f"{split}_ids.txt").read_text(encoding="utf-8").split()
    began, found = time.monotonic(), list[Detection]()
    for one in detector.stream([pictures_of(data, split) / f"{own}.png" for own in ids]):
        if isinstance(one, InputError):
            raise one
        found.append(one)
        if len(found) % _TOLD == 0:
            seconds = time.monotonic() - began
            print(f"{split}: {len(found)} of {len(ids)}, {seconds:.0f} s", flush=True)
    boxes, sizes = (EXTRAS[name][0] for name in ("boxes", "picture_sizes"))
    for name, rows in (
        (FILES[0], [one.features for one in found]),
        (boxes, [one.boxes for one in found]),
        (sizes, [one.picture_size for one in found]),
    ):
        with replacing(data / name.format(split=split)) as temporary:
            np.save(temporary, np.array(rows, np.float32))
    return judged(found, [objects_of(own) for own in ids])


def work(options: Namespace) -> None:
    """Write the splits that are asked for."""
    detector = Detector.load(options.detector)
    for split in options.splits:
        print(f"{split}: {extract(detector, options.data, split)}", flush=True)


def main(arguments: list[str] | None = None) -> int:
    """Extract; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m examples.pictures.extract",
        description="Write the regions that a detector finds in the pictures of splits.",
    )
    add = parser.add_argument
    add("--data", type=Path, required=True, help="folder that make_data wrote")
    add("--detector", type=Path, required=True, help="the detector's bundle")
    add("--splits", nargs="+", choices=MATCHERS_SPLITS, default=MATCHERS_SPLITS, metavar="SPLIT")
    try:
        work(parser.parse_args(arguments))
    except (OSError, ItrDeployError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
