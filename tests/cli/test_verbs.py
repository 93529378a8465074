"""index, search and inspect, on a small data directory."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from itr_deploy import Gallery
from tests.cli.conftest import CAPTIONS, IDS
from tests.support.command import Outcome, itr_deploy
from tests.support.files import largest_file, tree
from tests.support.golden import FULL

QUERY = FULL.captions[2]


def index(bundle: Path, data: Path, output: Path, *options: object) -> Outcome:
    return itr_deploy("index", bundle, "--data", data, "--output", output, *options)


def search(bundle: Path, gallery: Path, *options: object) -> Outcome:
    return itr_deploy("search", bundle, "--gallery", gallery, *options)


# search


def test_a_picture_for_a_model_of_regions_is_refused_as_one(
    bundle: Path, text_gallery: Path, tmp_path: Path
) -> None:
    (tmp_path / "dog.jpg").write_bytes(b"picture")
    outcome = search(bundle, text_gallery, "--image", tmp_path / "dog.jpg")
    assert outcome.code == 1
    assert "a picture was given, and this model takes features of regions" in outcome.error


# index


def test_images_are_indexed_under_their_ids(image_gallery: Path) -> None:
    gallery = Gallery.open(image_gallery)
    assert sorted(gallery.ids()) == IDS
    assert gallery.metadata_columns == ["split", "year"]
    assert gallery.description.storage == "float16"


def test_captions_are_indexed_with_their_text_and_image(text_gallery: Path) -> None:
    gallery = Gallery.open(text_gallery)
    assert sorted(gallery.ids()) == [f"{name}#{n}" for name in IDS for n in range(2)]
    assert gallery.metadata_columns == ["text", "image_id"]
    assert gallery.description.storage == "float32"


def test_an_int8_gallery_is_searched_as_any_other(
    bundle: Path, data: Path, image_gallery: Path, tmp_path: Path
) -> None:
    outcome = index(bundle, data, tmp_path / "g", "--storage", "int8")
    assert outcome.code == 0, outcome.err
    assert itr_deploy("inspect", tmp_path / "g", "--json").json["storage"] == "int8"
    narrow, usual = (
        search(bundle, path, QUERY, "--json").json[0]["hits"]
        for path in (tmp_path / "g", image_gallery)
    )
    assert [hit["id"] for hit in narrow] == [hit["id"] for hit in usual]
    for one, other in zip(narrow, usual, strict=True):
        assert one["score"] == pytest.approx(other["score"], abs=5e-2)


def test_a_bundle_that_reads_no_int8_galleries_makes_none(
    without_int8: Path, data: Path, tmp_path: Path
) -> None:
    outcome = index(without_int8, data, tmp_path / "g", "--storage", "int8")
    assert outcome.code == 1
    assert "export it again" in outcome.error
    assert not list(tmp_path.iterdir())


def test_the_result_as_json_says_where_what_and_how_many(
    bundle: Path, data: Path, tmp_path: Path
) -> None:
    outcome = index(bundle, data, tmp_path / "g", "--json")
    assert outcome.json == {
        "gallery": str(tmp_path / "g"), "modality": "image", "added": 6, "items": 6,
        "coarse_indexed": 0,
    }  # fmt: skip
    outcome = index(bundle, data, tmp_path / "g", "--append", "--split", "dev", "--json")
    assert outcome.json == {
        "gallery": str(tmp_path / "g"), "modality": "image", "added": 2, "items": 8,
        "coarse_indexed": 0,
    }  # fmt: skip


def test_a_coarse_index_is_built_with_a_gallery_or_for_one_that_is_there(
    bundle: Path, data: Path, tmp_path: Path
) -> None:
    gallery = tmp_path / "g"
    assert index(bundle, data, gallery, "--coarse-index", "--json").json["coarse_indexed"] == 6
    index(bundle, data, gallery, "--append", "--split", "dev")
    outcome = itr_deploy("index-coarse", gallery, "--json")
    assert (outcome.json["items"], outcome.json["coarse_indexed"]) == (8, 8)
    assert outcome.err == "- building the coarse index\n"
    old = itr_deploy("index", bundle, "--output", gallery, "--coarse-index", "--json")
    assert old.json == outcome.json
    assert f"deprecated; use itr-deploy index-coarse {gallery}\n" in old.err
    assert index(bundle, data, gallery, "--force", "--json").json["coarse_indexed"] == 0


def test_a_gallery_is_compacted_and_says_what_is_left(
    bundle: Path, data: Path, tmp_path: Path
) -> None:
    gallery = tmp_path / "g"
    index(bundle, data, gallery)
    opened = Gallery.open(gallery)
    opened.delete(opened.ids()[:1])
    kept = itr_deploy("compact", gallery)
    assert "old versions: 0 removed; 3 stay, which may hold deleted items" in kept.out
    made = itr_deploy("compact", gallery, "--keep", "0", "--json")
    assert made.json["items"] == 5
    assert made.json["versions_removed"] == 3
    assert made.json["versions_kept"] == 0
    assert made.json["files_after"] < made.json["files_before"]
    assert made.json["bytes_after"] < made.json["bytes_before"]
    again = itr_deploy("compact", gallery, "--keep", "0")
    assert again.out.splitlines()[1] == "old versions: 0 removed"
    assert itr_deploy("compact", tmp_path / "none").code == 1


def test_for_people_the_result_is_one_line(bundle: Path, data: Path, tmp_path: Path) -> None:
    assert index(bundle, data, tmp_path / "g").out == f"gallery: {tmp_path / 'g'} (6 images)\n"


def test_an_existing_gallery_is_kept_without_force_and_replaced_with_it(
    bundle: Path, data: Path, tmp_path: Path
) -> None:
    index(bundle, data, tmp_path / "g")
    before = tree(tmp_path)
    outcome = index(bundle, data, tmp_path / "g", "--split", "dev")
    assert outcome.code == 1
    assert "--force" in outcome.error
    assert tree(tmp_path) == before
    assert index(bundle, data, tmp_path / "g", "--split", "dev", "--force").code == 0
    assert sorted(Gallery.open(tmp_path / "g").ids()) == ["dev 0", "dev 1"]
    assert [path.name for path in tmp_path.iterdir()] == ["g"]


def test_a_directory_that_is_no_gallery_is_never_replaced(
    bundle: Path, data: Path, bundle_copy: Path
) -> None:
    before = tree(bundle_copy)
    outcome = index(bundle, data, bundle_copy, "--force")
    assert outcome.code == 1
    assert "not a gallery" in outcome.error
    assert tree(bundle_copy) == before


def test_force_and_append_exclude_each_other(bundle: Path, data: Path, tmp_path: Path) -> None:
    assert index(bundle, data, tmp_path / "g", "--force", "--append").code == 2


def test_items_that_are_there_are_not_appended_again(
    bundle: Path, data: Path, tmp_path: Path
) -> None:
    index(bundle, data, tmp_path / "g")
    outcome = index(bundle, data, tmp_path / "g", "--append")
    assert outcome.code == 1
    assert "'image 0.jpg' is there already (6 of 6 are)" in outcome.error


def test_nothing_is_appended_to_what_is_not_there(bundle: Path, data: Path, tmp_path: Path) -> None:
    outcome = index(bundle, data, tmp_path / "g", "--append")
    assert outcome.code == 1
    assert "no such gallery" in outcome.error


def test_captions_are_not_appended_to_a_gallery_of_images(
    bundle: Path, data: Path, tmp_path: Path
) -> None:
    index(bundle, data, tmp_path / "g")
    outcome = index(
        bundle, data, tmp_path / "g", "--append", "--modality", "text", "--split", "dev"
    )
    assert outcome.code == 1
    assert "holds images; add them with modality='image' (--modality image)" in outcome.error
    other = index(bundle, data, tmp_path / "g", "--append", "--storage", "int8", "--split", "dev")
    assert other.code == 1
    assert "stores float16, not int8" in other.error
    assert Gallery.open(tmp_path / "g").count() == 6


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("name,year\na,1\n", "no column 'id'"),
        ("id,year\nimage 0.jpg,1\n", "no row for id 'image 1.jpg' (5 are missing)"),
        ("id,year\na,1,2\n", "cannot be read as CSV"),
        ("", "cannot be read as CSV"),
        (None, "cannot be read"),
    ],
)
def test_metadata_that_does_not_fit_is_refused(
    content: str | None, words: str, bundle: Path, data: Path, tmp_path: Path
) -> None:
    path = tmp_path / "metadata.csv"
    if content is not None:
        path.write_text(content)
    outcome = index(bundle, data, tmp_path / "place" / "g", "--metadata", path)
    assert outcome.code == 1
    assert str(path) in outcome.error
    assert words in outcome.error
    assert not list((tmp_path / "place").glob("*"))


def test_metadata_ids_that_look_like_numbers_stay_text(
    bundle: Path, data: Path, tmp_path: Path
) -> None:
    for name in ("test_ims.npy", "test_caps.txt"):
        (tmp_path / name).write_bytes((data / name).read_bytes())
    lines = ["id,label", *(f"{n},label {n}" for n in reversed(range(6)))]
    (tmp_path / "m.csv").write_text("\n".join(lines))
    index(bundle, tmp_path, tmp_path / "g", "--metadata", tmp_path / "m.csv")
    (found,) = search(bundle, tmp_path / "g", QUERY, "--json").json
    assert {hit["id"]: hit["metadata"]["label"] for hit in found["hits"]} == {
        str(n): f"label {n}" for n in range(6)
    }


def test_data_that_cannot_be_encoded_leaves_nothing_behind(
    bundle: Path, data: Path, tmp_path: Path
) -> None:
    features = FULL.regions.copy()
    features[4, 0, 0] = np.nan
    np.save(tmp_path / "test_ims.npy", features)
    (tmp_path / "test_caps.txt").write_bytes((data / "test_caps.txt").read_bytes())
    outcome = index(bundle, tmp_path, tmp_path / "place" / "g")
    assert outcome.code == 1
    assert "regions of image 4 hold NaN" in outcome.error
    assert list((tmp_path / "place").iterdir()) == []


def test_a_missing_split_or_bundle_is_named(bundle: Path, data: Path, tmp_path: Path) -> None:
    outcome = index(bundle, data, tmp_path / "g", "--split", "nowhere")
    assert outcome.code == 1
    assert "nowhere_ims.npy" in outcome.error
    outcome = index(tmp_path / "absent", data, tmp_path / "g")
    assert outcome.code == 1
    assert "no such bundle" in outcome.error
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_the_old_gallery_and_nothing_else(
    bundle: Path, data: Path, tmp_path: Path
) -> None:
    index(bundle, data, tmp_path / "g", "--split", "dev")
    before = tree(tmp_path)
    for option in ("--force", "--append"):
        with largest_file(5_000):
            outcome = index(bundle, data, tmp_path / "g", option)
        assert outcome.code == 1
        assert "cannot write" in outcome.error
        assert tree(tmp_path) == before
        assert [path.name for path in tmp_path.iterdir()] == ["g"]
    assert len(search(bundle, tmp_path / "g", "a dog", "--json").json[0]["hits"]) == 2


# search


def test_texts_find_images_best_first(bundle: Path, image_gallery: Path) -> None:
    results = search(bundle, image_gallery, *FULL.captions[:3], "-k", 6, "--json").json
    assert [result["query"] for result in results] == FULL.captions[:3]
    for caption, result in enumerate(results):
        hits = result["hits"]
        assert [hit["rank"] for hit in hits] == [1, 2, 3, 4, 5, 6]
        for hit in hits:
            assert hit.keys() == {"rank", "id", "score", "metadata"}
            image = IDS.index(hit["id"])
            assert hit["score"] == pytest.approx(FULL.scores[image, caption], abs=1e-2)
            assert hit["metadata"] == {
                "split": "odd" if image % 2 else "even", "year": 2000 + image,
            }  # fmt: skip


@pytest.mark.parametrize(("file", "count"), [("query.npy", 1), ("queries.npy", 3)])
def test_images_find_texts_best_first(
    file: str, count: int, bundle: Path, data: Path, text_gallery: Path
) -> None:
    results = search(bundle, text_gallery, "--image", data / file, "-k", 12, "--json").json
    assert len(results) == count
    first = 2 if count == 1 else 0
    for number, result in enumerate(results):
        suffix = "" if count == 1 else f"[{number}]"
        assert result["query"] == f"{data / file}{suffix}"
        assert len(result["hits"]) == len(CAPTIONS)
        for hit in result["hits"]:
            name, which = hit["id"].split("#")
            caption = IDS.index(name)
            assert hit["metadata"] == {"text": CAPTIONS[2 * caption + int(which)], "image_id": name}
            if which == "0":
                expected = FULL.scores[first + number, caption]
                assert hit["score"] == pytest.approx(expected, abs=1e-4)


def test_the_table_shows_ids_scores_and_columns(bundle: Path, image_gallery: Path) -> None:
    outcome = search(bundle, image_gallery, QUERY, "-k", 2)
    assert outcome.code == 0
    for word in (QUERY, "rank", "score", "split", "year", ".jpg"):
        assert word in outcome.out


def test_a_filter_and_a_width_are_kept_to(bundle: Path, image_gallery: Path) -> None:
    options = ("--where", "split = 'odd'", "--json")
    (found,) = search(bundle, image_gallery, QUERY, *options).json
    assert {hit["id"] for hit in found["hits"]} == set(IDS[1::2])
    (found,) = search(bundle, image_gallery, QUERY, "--candidates", 2, "-k", 2, "--json").json
    assert len(found["hits"]) == 2
    (found,) = search(bundle, image_gallery, QUERY, "--exhaustive", "--json").json
    assert len(found["hits"]) == 6


def test_unknown_words_are_a_warning(bundle: Path, image_gallery: Path) -> None:
    outcome = search(bundle, image_gallery, "a zeppelin", "--json")
    assert outcome.code == 0
    assert outcome.err == "warning: the model does not know: zeppelin\n"
    assert len(outcome.json[0]["hits"]) == 6
    assert search(bundle, image_gallery, "a dog", "--json").err == ""


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        ((), 2, "give queries or image= (--image)"),
        (("a dog", "--exhaustive", "--candidates", "3"), 2, "give one"),
        (("a dog", "-k", "0"), 2, "k=0"),
        (("a dog", "-k", "many"), 2, "many"),
        (("a dog", "--candidates", "0"), 2, "candidates=0"),
        (("a dog", "--exhaustive", "--prefilter", "3"), 2, "give one"),
        (("a dog", "--prefilter", "0"), 2, "prefilter=0"),
        (("a dog", "--exhaustive", "--refine", "3"), 2, "give one"),
        (("a dog", "--refine", "0"), 2, "refine=0"),
        (("a dog", "--where", "colour = 1"), 1, "where='colour = 1' is not understood"),
        (("",), 1, "is empty"),
        (("dog " * 10_000,), 1, "10002 tokens"),
        (("a dog", "--device", "tpu"), 2, "'tpu' is unknown"),
        (("a dog", "--bank", "captions"), 2, "rerank=True (--rerank)"),
    ],
)
def test_a_search_that_makes_no_sense_is_refused(
    options: tuple[str, ...], code: int, words: str, bundle: Path, image_gallery: Path
) -> None:
    outcome = search(bundle, image_gallery, *options)
    assert outcome.code == code
    assert words in outcome.error
    assert outcome.out == ""


@pytest.mark.skipif(
    "CUDAExecutionProvider" in __import__("onnxruntime").get_available_providers(),
    reason="this onnxruntime can use a GPU",
)
def test_a_device_that_is_not_there_ends_with_4(bundle: Path, image_gallery: Path) -> None:
    outcome = search(bundle, image_gallery, "a dog", "--device", "cuda")
    assert outcome.code == 4
    assert "device 'cuda' needs an NVIDIA GPU" in outcome.error
    assert outcome.err.splitlines() == [outcome.error]


@pytest.mark.parametrize("content", [b"", b"nonsense", b"\x93NUMPY\x01\x00", None])
def test_a_query_image_that_cannot_be_read_is_named(
    content: bytes | None, bundle: Path, text_gallery: Path, tmp_path: Path
) -> None:
    path = tmp_path / "query.npy"
    if content is not None:
        path.write_bytes(content)
    outcome = search(bundle, text_gallery, "--image", path)
    assert outcome.code == 1
    assert str(path) in outcome.error


def test_a_query_archive_is_refused(bundle: Path, text_gallery: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "query.npz", a=FULL.regions[0])
    assert search(bundle, text_gallery, "--image", tmp_path / "query.npz").code == 1


def test_a_gallery_that_is_missing_empty_or_of_the_other_kind_is_named(
    bundle: Path, data: Path, image_gallery: Path, text_gallery: Path, matcher, tmp_path: Path
) -> None:
    assert "no such gallery" in search(bundle, tmp_path / "absent", "a dog").error
    Gallery.create(tmp_path / "empty", matcher)
    assert "the gallery is empty" in search(bundle, tmp_path / "empty", "a dog").error
    assert "holds texts" in search(bundle, text_gallery, "a dog").error
    assert "holds images" in search(bundle, image_gallery, "--image", data / "query.npy").error


# inspect


def test_a_bundle_is_described_as_json(bundle: Path) -> None:
    content = itr_deploy("inspect", bundle, "--json").json
    assert content.keys() >= {
        "kind", "schema_version", "family", "options", "encoding_id", "image_dim", "regions",
        "vocabulary", "max_tokens", "text_processing", "pipeline", "parity", "bytes",
        "provenance", "graphs", "stored",
    }  # fmt: skip
    assert (content["kind"], content["family"], content["parity"]) == ("bundle", "imram", "passed")
    assert {graph["name"] for graph in content["graphs"]} >= {"image_encoder", "text_encoder"}


def test_a_gallery_is_described_as_json(image_gallery: Path) -> None:
    content = itr_deploy("inspect", image_gallery, "--json").json
    assert content.keys() >= {
        "kind", "schema_version", "modality", "items", "storage", "regions", "embedding_dim",
        "metadata_columns", "family", "encoding_id", "resident_bytes", "version", "stored",
        "files", "bytes", "versions", "fragments", "deleted_share",
    }  # fmt: skip
    assert (content["kind"], content["modality"], content["items"]) == ("gallery", "image", 6)
    assert content["metadata_columns"] == ["split", "year"]
    assert content["regions"] == 36


def test_stored_bytes_are_compared_on_demand(
    bundle: Path, image_gallery: Path, tmp_path: Path
) -> None:
    assert itr_deploy("inspect", bundle, "--verify", "--json").json["verified"]["files"] > 3
    copy = shutil.copytree(image_gallery, tmp_path / "copy")
    content = itr_deploy("inspect", copy, "--verify", "--json").json
    assert content["verified"]["files"] == 2
    (file,) = copy.rglob("data/*.lance")
    stored = bytearray(file.read_bytes())
    stored[len(stored) // 2] ^= 1
    file.write_bytes(stored)
    assert itr_deploy("inspect", copy).code == 0
    outcome = itr_deploy("inspect", copy, "--verify")
    assert outcome.code == 1
    assert f"{copy}: damaged: data/{file.name} is not as it was written" in outcome.error
    assert "--force" in outcome.error


@pytest.mark.parametrize("kind", ["bundle", "image_gallery", "text_gallery"])
def test_for_people_there_are_tables(kind: str, request: pytest.FixtureRequest) -> None:
    outcome = itr_deploy("inspect", request.getfixturevalue(kind))
    assert outcome.code == 0
    assert "imram" in outcome.out
    assert "encoding_id" in outcome.out


def test_what_is_neither_bundle_nor_gallery_is_named(tmp_path: Path) -> None:
    outcome = itr_deploy("inspect", tmp_path)
    assert outcome.code == 1
    assert f"{tmp_path}: neither a bundle, which has a manifest.json, nor a" in outcome.error


def test_a_gallery_of_another_bundle_is_refused(
    bundle_copy: Path, data: Path, image_gallery: Path
) -> None:
    from itr_deploy.bundle.manifest import Manifest
    from itr_deploy.bundle.store import write_manifest

    content = json.loads((bundle_copy / "manifest.json").read_bytes())
    del content["checksum"]
    content["encoding_id"] = "f" * 64
    write_manifest(bundle_copy, Manifest.model_validate_json(json.dumps(content)))
    for outcome in (
        search(bundle_copy, image_gallery, "a dog"),
        index(bundle_copy, data, image_gallery, "--append", "--split", "dev"),
    ):
        assert outcome.code == 1
        assert "made with another bundle" in outcome.error


def test_force_spares_a_directory_with_a_manifest_of_something_else(
    bundle: Path, tmp_path: Path
) -> None:
    web = tmp_path / "web"
    web.mkdir()
    (web / "manifest.json").write_text('{"name": "an app"}')
    (web / "index.html").write_text("a page")
    outcome = itr_deploy("ensemble", bundle, bundle, "--output", web, "--force")
    assert outcome.code == 1
    assert "is not a bundle" in outcome.error
    assert (web / "index.html").read_text() == "a page"
