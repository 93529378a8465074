"""Make the world's data in the field's published layout.

For every split: `{split}_ims.npy` (float32 `[pictures, 36, features]`), `{split}_boxes.npy` and
`{split}_img_sizes.npy` (where these regions are, in pixels), `{split}_caps.txt` (five lines per
picture), `{split}_ids.txt` (one line per picture) and `pictures/{id}.png`. The train split also
produces `shapes_vocab.json`.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from examples.shapes.captions import describe
from examples.shapes.drawing import PICTURE_SIDE, draw_scene
from examples.shapes.features import region_boxes, region_features
from examples.shapes.files import replacing, write_text
from examples.shapes.scenes import generator, sample_scene
from examples.shapes.vocabulary import build_vocabulary, write_vocabulary

SPLIT_SIZES = {"train": 3000, "dev": 200, "test": 250, "rerank": 3000}
MATCHERS_SPLITS = ("train", "dev", "test")
VOCABULARY_NAME = "shapes_vocab.json"


def picture_and_captions(split: str, index: int) -> tuple[Image.Image, list[str]]:
    """Picture `index` of a split and its five captions; always the same."""
    scene = sample_scene(generator(split, index, "scene"))
    picture = draw_scene(scene, generator(split, index, "drawing"))
    return picture, describe(scene, generator(split, index, "captions"))


def make_split(split: str, output: Path, *, with_pictures: bool, size: int | None = None) -> None:
    """Write one split's files, with `size` pictures; by default as many as the split has."""
    ids, captions, features = [], [], []
    for index in range(SPLIT_SIZES[split] if size is None else size):
        picture, five = picture_and_captions(split, index)
        ids.append(f"{split}_{index:04}")
        captions.extend(five)
        features.append(region_features(np.asarray(picture)))
        if with_pictures:
            _write_picture(picture, output / "pictures" / f"{ids[-1]}.png")
    _write_array(np.stack(features), output / f"{split}_ims.npy")
    _write_array(np.stack([region_boxes()] * len(ids)), output / f"{split}_boxes.npy")
    sizes = np.full((len(ids), 2), PICTURE_SIDE, np.float32)
    _write_array(sizes, output / f"{split}_img_sizes.npy")
    _write_lines(captions, output / f"{split}_caps.txt")
    _write_lines(ids, output / f"{split}_ids.txt")
    if split == "train":
        write_vocabulary(build_vocabulary(captions), output / VOCABULARY_NAME)


def _write_picture(picture: Image.Image, path: Path) -> None:
    with replacing(path) as temporary:
        picture.save(temporary)


def _write_array(array: np.ndarray, path: Path) -> None:
    with replacing(path) as temporary:
        np.save(temporary, array)


def _write_lines(lines: Iterable[str], path: Path) -> None:
    write_text(path, "".join(f"{line}\n" for line in lines))


def main(arguments: list[str] | None = None) -> None:
    """Make the requested splits."""
    parser = argparse.ArgumentParser(
        prog="python -m examples.shapes.make_data", description="Make the shapes world's data."
    )
    parser.add_argument("--output", type=Path, required=True, help="folder to write to")
    parser.add_argument(
        "--splits", nargs="+", choices=SPLIT_SIZES, default=MATCHERS_SPLITS, metavar="SPLIT"
    )
    parser.add_argument(
        "--pictures", action="store_true", help="write the pictures of train and dev too"
    )
    options = parser.parse_args(arguments)
    for split in options.splits:
        make_split(split, options.output, with_pictures=options.pictures or split == "test")
        print(f"{split}: {SPLIT_SIZES[split]} pictures in {options.output}")


if __name__ == "__main__":
    main()
