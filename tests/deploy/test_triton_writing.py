from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from itr_deploy import (
    BundleError,
    Gallery,
    GalleryError,
    Matcher,
    OutputError,
    triton,
)
from itr_deploy.deploy import triton_writing
from tests.support.command import itr_deploy
from tests.support.exports import Bundles
from tests.support.files import largest_file, tree
from tests.support.golden import FULL, IMAGE

OWN = {"client.py", "environment.txt", "image_encoder", "itr_search", "text_encoder"}


@pytest.fixture
def gallery(matcher: Matcher, tmp_path: Path) -> Path:
    made = Gallery.create(tmp_path / "gallery", matcher)
    made.add(["a", "b"], FULL.regions[:2])
    return tmp_path / "gallery"


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_the_command_says_what_runs_every_model(
    bundle: Path, gallery: Path, tmp_path: Path
) -> None:
    output = tmp_path / "models"
    done = itr_deploy("triton", bundle, "--gallery", gallery, "--output", output)
    assert done.code == 0, done.err
    assert done.out.splitlines() == [
        "itr_search: python",
        "text_encoder: onnxruntime",
        "image_encoder: onnxruntime",
        f"repository: {output}",
    ]
    assert names(output) == OWN
    again = itr_deploy("triton", bundle, "--gallery", gallery, "--output", output, "--json")
    assert again.code == 1
    assert "--force" in again.error
    forced = ("--output", output, "--force", "--json")
    assert itr_deploy("triton", bundle, "--gallery", gallery, *forced).json == {
        "repository": str(output),
        "models": {
            "itr_search": "python",
            "text_encoder": "onnxruntime",
            "image_encoder": "onnxruntime",
        },
        "bundle": str(bundle),
        "gallery": str(gallery),
    }


def test_relative_paths_are_named_as_absolute_ones(
    bundle: Path, gallery: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    made = triton(os.path.relpath(bundle), gallery="gallery", output="models")
    config = (tmp_path / "models" / "itr_search" / "config.pbtxt").read_text()
    assert made.gallery == str(gallery)
    assert f'string_value: "{gallery}"' in config
    assert f'string_value: "{Path(made.bundle)}"' in config
    assert Path(made.bundle).samefile(bundle)


def test_queue_and_batches_are_as_asked(bundle: Path, gallery: Path, tmp_path: Path) -> None:
    queue = ("--max-wait-ms", 7, "--max-queue", 5, "--request-timeout", 0.25, "--max-batch", 3)
    more = ("--max-k", 20, "--refresh", 1.5, "--output", tmp_path / "models")
    assert itr_deploy("triton", bundle, "--gallery", gallery, *queue, *more).code == 0
    config = (tmp_path / "models" / "itr_search" / "config.pbtxt").read_text()
    for line in (
        "max_batch_size: 3",
        "max_queue_delay_microseconds: 7000",
        "default_timeout_microseconds: 250000",
        "max_queue_size: 5",
        'string_value: "20"',
        'string_value: "1.5"',
    ):
        assert line in config


def test_a_copy_is_of_what_a_search_reads(bundle: Path, gallery: Path, tmp_path: Path) -> None:
    made = triton(bundle, gallery=gallery, output=tmp_path / "models", copy=True)
    assert tree(Path(made.bundle)) == tree(bundle)
    assert Gallery.open(made.gallery, Matcher.load(made.bundle)).verify()
    config = (tmp_path / "models" / "itr_search" / "config.pbtxt").read_text()
    assert str(tmp_path) not in config


def test_a_gallery_that_changes_while_it_is_copied_is_refused(
    bundle: Path, gallery: Path, matcher: Matcher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied = shutil.copytree

    def copy_and_add(source: Path, *more: object, **how: object) -> object:
        done = copied(source, *more, **how)
        if Path(source) == gallery:
            Gallery.open(gallery, matcher).add(["c"], FULL.regions[2:3])
        return done

    monkeypatch.setattr(triton_writing.shutil, "copytree", copy_and_add)
    with pytest.raises(GalleryError, match="changed while it was copied"):
        triton(bundle, gallery=gallery, output=tmp_path / "models", copy=True)
    assert names(tmp_path) == {"gallery"}


def test_another_directory_is_never_replaced(bundle: Path, gallery: Path, tmp_path: Path) -> None:
    output = tmp_path / "models"
    triton(bundle, gallery=gallery, output=output)
    (output / "own_model").mkdir()
    before = tree(output)
    with pytest.raises(OutputError, match="is not a model repository, or holds other files"):
        triton(bundle, gallery=gallery, output=output, force=True)
    assert tree(output) == before


@pytest.mark.parametrize("inside", ["bundle", "gallery"])
def test_an_output_inside_what_is_served_is_refused(
    bundle_copy: Path, gallery: Path, tmp_path: Path, inside: str
) -> None:
    before = tree(tmp_path)
    with pytest.raises(OutputError, match="is inside"):
        triton(bundle_copy, gallery=gallery, output=tmp_path / inside / "models")
    assert tree(tmp_path) == before


def test_a_gallery_of_another_bundle_is_refused(
    bundles: Bundles, gallery: Path, tmp_path: Path
) -> None:
    with pytest.raises(GalleryError, match="made with another bundle"):
        triton(bundles.path(IMAGE), gallery=gallery, output=tmp_path / "models")
    assert names(tmp_path) == {"gallery"}


def test_a_quantised_bundle_is_refused_for_a_gpu(
    bundles: Bundles, gallery: Path, tmp_path: Path
) -> None:
    bundle = bundles.path(FULL, "--quantize", "int8")
    with pytest.raises(BundleError, match="is for a CPU"):
        triton(bundle, gallery=gallery, output=tmp_path / "models", device="cuda")
    assert triton(bundle, gallery=gallery, output=tmp_path / "models").models


def test_a_device_that_is_unknown_is_refused(bundle: Path, gallery: Path, tmp_path: Path) -> None:
    words = ("--gallery", gallery, "--output", tmp_path / "models", "--device", "tpu")
    refused = itr_deploy("triton", bundle, *words)
    assert (refused.code, names(tmp_path)) == (2, {"gallery"})
    assert refused.error == "error: device 'tpu' is unknown; known: cpu, cuda"


def test_a_full_disk_leaves_nothing(bundle: Path, gallery: Path, tmp_path: Path) -> None:
    with largest_file(5000), pytest.raises(OutputError, match="cannot write"):
        triton(bundle, gallery=gallery, output=tmp_path / "models")
    assert names(tmp_path) == {"gallery"}
