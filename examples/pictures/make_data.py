"""Write the shapes world as people have theirs: folders of pictures, and captions.

For every split: `pictures/{split}/{id}.png`, `{split}_caps.txt` (five lines a picture) and
`{split}_ids.txt`. The train split also produces `shapes_vocab.json`. Features are not among them:
a detector makes those, see `extract.py`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from examples.shapes.files import replacing, write_text
from examples.shapes.make_data import (
    MATCHERS_SPLITS,
    SPLIT_SIZES,
    VOCABULARY_NAME,
    picture_and_captions,
)
from examples.shapes.vocabulary import build_vocabulary, write_vocabulary


def pictures_of(data: Path, split: str) -> Path:
    """The folder of a split's pictures."""
    return data / "pictures" / split


def make_split(split: str, output: Path, size: int | None = None) -> None:
    """Write one split's files, with `size` pictures; by default as many as the split has."""
    ids, captions = [], []
    for index in range(SPLIT_SIZES[split] if size is None else size):
        picture, five = picture_and_captions(split, index)
        ids.append(f"{split}_{index:04}")
        captions.extend(five)
        with replacing(pictures_of(output, split) / f"{ids[-1]}.png") as temporary:
            picture.save(temporary)
    for name, lines in (("caps", captions), ("ids", ids)):
        write_text(output / f"{split}_{name}.txt", "".join(f"{line}\n" for line in lines))
    if split == "train":
        write_vocabulary(build_vocabulary(captions), output / VOCABULARY_NAME)


def main(arguments: list[str] | None = None) -> None:
    """Make the requested splits."""
    parser = argparse.ArgumentParser(
        prog="python -m examples.pictures.make_data",
        description="Write the shapes world's pictures and captions.",
    )
    parser.add_argument("--output", type=Path, required=True, help="folder to write to")
    parser.add_argument(
        "--splits", nargs="+", choices=MATCHERS_SPLITS, default=MATCHERS_SPLITS, metavar="SPLIT"
    )
    options = parser.parse_args(arguments)
    for split in options.splits:
        make_split(split, options.output)
        print(f"{split}: {SPLIT_SIZES[split]} pictures in {pictures_of(options.output, split)}")


if __name__ == "__main__":
    main()
