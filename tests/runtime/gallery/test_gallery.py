from __future__ import annotations

import json
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lancedb
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from itr_deploy import Encoded, Gallery, Matcher
from itr_deploy.bundle.manifest import Manifest
from itr_deploy.bundle.store import write_manifest
from itr_deploy.errors import (
    BundleError,
    GalleryError,
    InputError,
    ItrDeployError,
    OutputError,
    UsageError,
)
from itr_deploy.runtime.gallery.held import read_all
from itr_deploy.runtime.gallery.layout import METADATA_KEY, TABLE
from itr_deploy.runtime.gallery.read import read_in_parts, stored_bytes
from tests.support.files import largest_file, tree
from tests.support.items import WIDTH, captions, images, names, texts


@pytest.fixture
def gallery(matcher: Matcher, tmp_path: Path) -> Gallery:
    """An empty gallery of images."""
    return Gallery.create(tmp_path / "gallery", matcher)


@pytest.fixture
def filled(gallery: Gallery) -> Gallery:
    """Ten images with two user columns."""
    columns = {"split": ["train"] * 6 + ["test"] * 4, "year": list(range(2010, 2020))}
    gallery.add(names(10), images(10), columns)
    return gallery


@pytest.fixture
def other_matcher(bundle_copy: Path) -> Matcher:
    """A matcher whose bundle says that its encoders are others."""
    content = json.loads((bundle_copy / "manifest.json").read_bytes())
    del content["checksum"]
    content["encoding_id"] = "f" * 64
    write_manifest(bundle_copy, Manifest.model_validate_json(json.dumps(content)))
    return Matcher.load(bundle_copy)


def refusal(call: Callable[..., Any], *arguments: Any, kind: type = GalleryError) -> str:
    with pytest.raises(kind) as caught:
        call(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def rows(gallery: Gallery) -> dict[str, dict[str, Any]]:
    """User columns by id."""
    stored = read_all(gallery)
    found = stored.describe(np.arange(len(stored.ids)))
    return dict(zip(stored.ids.tolist(), found, strict=True))


def values(items: Encoded, place: int) -> dict[str, np.ndarray]:
    """One item's embedding and tensors, without padding."""
    block_of, local_of = items.places
    block = items.blocks[block_of[place]]
    local = local_of[place]
    length = None if block.lengths is None else block.lengths[local]
    stored = {name: tensor[local][:length] for name, tensor in block.tensors.items()}
    return {**stored, "embedding": items.embedding[place]}


def assert_stored(gallery: Gallery, name: str, expected: dict[str, np.ndarray]) -> None:
    stored = read_all(gallery)
    found = values(stored.encoded, stored.ids.tolist().index(name))
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        kind = np.float32 if key == "embedding" else np.dtype(gallery.description.storage)
        assert found[key].dtype == kind
        np.testing.assert_array_equal(found[key], value.astype(kind))


# What is there


def test_a_new_gallery_is_empty_and_knows_what_it_is_for(gallery: Gallery) -> None:
    assert gallery.count() == 0
    assert gallery.ids() == []
    assert gallery.modality == "image"
    assert gallery.metadata_columns == []
    assert gallery.description.storage == "float16"
    assert stored_bytes(gallery) == 0
    assert len(read_all(gallery).ids) == 0


def test_items_are_added_in_batches_with_progress(gallery: Gallery) -> None:
    done: list[int] = []
    gallery.add(names(150), images(150), progress=done.append)
    assert done == [64, 128, 150]
    gallery.add(names(5, "late"), images(5, seed=1), progress=done.append)
    assert done[3:] == [5]
    assert sorted(gallery.ids()) == sorted(names(150) + names(5, "late"))
    assert gallery.count() == 155


@pytest.mark.parametrize("storage", ["float16", "float32"])
def test_images_are_stored_as_the_matcher_encodes_them(
    storage: Any, matcher: Matcher, tmp_path: Path
) -> None:
    gallery = Gallery.create(tmp_path / "gallery", matcher, storage=storage)
    features = images(70)
    gallery.add(names(70), features)
    encoded = matcher.encode_images(features)
    for place in (0, 63, 64, 69):
        assert_stored(gallery, names(70)[place], values(encoded, place))


@pytest.mark.parametrize("modality", ["image", "text"])
def test_int8_items_are_stored_with_a_scale_a_vector(
    modality: Any, matcher: Matcher, tmp_path: Path
) -> None:
    gallery = Gallery.create(tmp_path / "gallery", matcher, modality, "int8")
    given_items: Any = images(70) if modality == "image" else captions(70)
    gallery.add(names(70), given_items)
    encode = matcher.encode_images if modality == "image" else matcher.encode_texts
    exact = encode(given_items)
    stored = read_all(Gallery.open(gallery.path)).encoded
    for place in (0, 35, 64, 69):
        found, expected = values(stored, place), values(exact.stored_as("int8"), place)
        assert found.keys() == expected.keys()
        for key, value in expected.items():
            assert found[key].dtype == value.dtype
            np.testing.assert_allclose(found[key], value, rtol=1e-5, atol=1e-6)
        for key, value in values(exact, place).items():
            if key != "embedding":
                scales = found[f"{key}_scale"][..., None]
                assert (np.abs(found[key] * scales - value) <= 0.51 * scales).all()


def test_int8_items_take_about_half_of_the_bytes_of_float16(
    matcher: Matcher, tmp_path: Path
) -> None:
    for modality, items in (("image", images(5)), ("text", captions(5))):
        sizes = {}
        for storage in ("float16", "int8"):
            place = tmp_path / f"{modality}-{storage}"
            gallery = Gallery.create(place, matcher, modality, storage)
            gallery.add(names(5), items)
            embeddings = read_all(gallery).encoded.embedding.nbytes
            sizes[storage] = stored_bytes(gallery) - embeddings
        width = 24
        assert sizes["int8"] / sizes["float16"] == pytest.approx((width + 4) / (2 * width))


def test_int8_items_are_updated_with_their_scales(matcher: Matcher, tmp_path: Path) -> None:
    gallery = Gallery.create(tmp_path / "gallery", matcher, "text", "int8")
    gallery.add(names(3), ["a dog", "a cat on a mat", "two men"])
    gallery.update(["item0001"], ["two dogs"])
    expected = values(matcher.encode_texts(["two dogs"]).stored_as("int8"), 0)
    stored = read_all(gallery)
    found = values(stored.encoded, stored.ids.tolist().index("item0001"))
    for key, value in expected.items():
        np.testing.assert_allclose(found[key], value, rtol=1e-5, atol=1e-6)


def test_a_bundle_without_graphs_for_int8_makes_and_opens_no_such_gallery(
    without_int8: Path, matcher: Matcher, tmp_path: Path
) -> None:
    older = Matcher.load(without_int8)
    message = refusal(Gallery.create, tmp_path / "g", older, "image", "int8", kind=BundleError)
    assert str(without_int8) in message
    assert "galleries of float16 and float32, not of int8" in message
    assert "export it again" in message
    assert not (tmp_path / "g").exists()
    Gallery.create(tmp_path / "g", matcher, "image", "int8").add(names(2), images(2))
    assert "export it again" in refusal(Gallery.open, tmp_path / "g", older, kind=BundleError)


@pytest.mark.parametrize("form", ["texts", "token ids", "encoded"])
def test_texts_are_stored_in_their_own_length(form: str, matcher: Matcher, tmp_path: Path) -> None:
    gallery = Gallery.create(tmp_path / "gallery", matcher, "text", "float32")
    given_texts = captions(70)
    token_ids = matcher.text.token_ids(given_texts)
    encoded = matcher.encode_token_ids(*token_ids)
    forms = {"texts": given_texts, "token ids": token_ids, "encoded": encoded}
    gallery.add(names(70), forms[form])
    for place in (0, 35, 64, 69):
        expected = values(encoded, place)
        assert len(expected["words"]) == token_ids[1][place]
        assert_stored_close(gallery, names(70)[place], expected)


def assert_stored_close(gallery: Gallery, name: str, expected: dict[str, np.ndarray]) -> None:
    stored = read_all(gallery)
    found = values(stored.encoded, stored.ids.tolist().index(name))
    for key, value in expected.items():
        np.testing.assert_allclose(found[key], value, atol=1e-6)


def test_encoded_images_may_be_added(matcher: Matcher, gallery: Gallery) -> None:
    encoded = matcher.encode_images(images(3))
    gallery.add(names(3), encoded)
    assert_stored(gallery, "item0001", values(encoded, 1))


def test_stored_bytes_are_those_of_the_arrays_in_memory(
    filled: Gallery, matcher: Matcher, tmp_path: Path
) -> None:
    text_gallery = Gallery.create(tmp_path / "texts", matcher, "text")
    text_gallery.add(names(3), texts([4, 9, 2]))
    for gallery in (filled, text_gallery):
        encoded = read_all(gallery).encoded
        held = sum(t.nbytes for block in encoded.blocks for t in block.tensors.values())
        padded = held + encoded.embedding.nbytes
        assert 0.7 * padded <= stored_bytes(gallery) <= padded


def test_parts_read_from_disk_hold_every_item_once(filled: Gallery) -> None:
    parts = [part for _, part in read_in_parts(filled, None)]
    assert sorted(name for part in parts for name in part.ids.tolist()) == names(10)
    kept = [n for _, part in read_in_parts(filled, "split = 'test'") for n in part.ids.tolist()]
    assert sorted(kept) == names(10)[6:]


def test_a_gallery_is_opened_with_all_it_holds(filled: Gallery, matcher: Matcher) -> None:
    for opened in (Gallery.open(filled.path), Gallery.open(Path(filled.path), matcher)):
        assert sorted(opened.ids()) == names(10)
        assert opened.description == filled.description
        assert opened.metadata_columns == ["split", "year"]


def test_a_gallery_counts_what_a_filter_keeps(filled: Gallery) -> None:
    assert filled.count("split = 'test'") == 4
    assert filled.count("year < 2013 OR split = 'test'") == 7
    assert filled.count("split = 'none'") == 0


@pytest.mark.parametrize("where", ["colour = 'red'", "split =", "split = 'test", "1 +", ""])
def test_a_filter_that_is_not_understood_is_named(where: str, filled: Gallery) -> None:
    message = refusal(filled.count, where)
    assert repr(where) in message
    assert "SQL" in message


def test_a_bundle_made_with_another_encoder_is_refused(
    filled: Gallery, other_matcher: Matcher
) -> None:
    message = refusal(Gallery.open, filled.path, other_matcher)
    assert "made with another bundle" in message
    assert "f" * 12 in message
    assert filled.description.encoding_id[:12] in message


def test_a_copy_of_the_bundle_fits_its_galleries(filled: Gallery, bundle_copy: Path) -> None:
    Gallery.open(filled.path, Matcher.load(bundle_copy)).add(["new"], images(1))


# What cannot be opened or made


def test_a_gallery_that_is_not_there_is_named(tmp_path: Path) -> None:
    assert "no such gallery" in refusal(Gallery.open, tmp_path / "absent")
    assert "no gallery in it" in refusal(Gallery.open, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("given", ["bundle/", Path("bundle")])
def test_a_bundles_path_is_no_matcher(given: Any, filled: Gallery) -> None:
    for use in (Gallery.create, Gallery.open):
        with pytest.raises(UsageError, match=r"must be a Matcher, as Matcher.load returns"):
            use(filled.path, given)


def test_an_existing_gallery_is_not_made_again(filled: Gallery, matcher: Matcher) -> None:
    assert "a gallery is there already" in refusal(Gallery.create, filled.path, matcher)
    assert filled.count() == 10


def test_a_gallery_cannot_be_made_where_nothing_can_be_written(matcher: Matcher) -> None:
    with pytest.raises(ItrDeployError) as caught:
        Gallery.create("/proc/itr-deploy/gallery", matcher)
    assert "/proc/itr-deploy/gallery" in str(caught.value)


def test_a_table_of_something_else_is_no_gallery(tmp_path: Path) -> None:
    lancedb.connect(tmp_path).create_table(TABLE, data=[{"id": "a", "value": 1}])
    assert "not a gallery" in refusal(lambda: Gallery.open(tmp_path).description)


@pytest.mark.parametrize(
    ("change", "words"),
    [({"schema_version": 2}, "newer itr-deploy"), ({"colour": "red"}, "damaged")],
)
def test_a_description_that_cannot_be_read_is_named(
    change: dict, words: str, filled: Gallery, tmp_path: Path
) -> None:
    schema = filled.table.schema
    content = {**json.loads(schema.metadata[METADATA_KEY]), **change}
    other = schema.with_metadata({METADATA_KEY: json.dumps(content)})
    lancedb.connect(tmp_path / "other").create_table(TABLE, schema=other)
    assert words in refusal(lambda: Gallery.open(tmp_path / "other").description)


@pytest.mark.parametrize("damaged", ["data", "_versions"])
def test_a_gallery_that_lost_files_is_one_clear_error(damaged: str, filled: Gallery) -> None:
    shutil.rmtree(Path(filled.path) / f"{TABLE}.lance" / damaged)
    refusal(lambda: read_all(Gallery.open(filled.path)))


# Ids and user columns


def test_ids_are_unique_in_a_call_and_in_the_gallery(filled: Gallery) -> None:
    assert "'a' is given twice" in refusal(filled.add, ["a", "b", "a"], images(3))
    message = refusal(filled.add, ["new", "item0003", "item0004"], images(3))
    assert "'item0003' is there already (2 of 3 are)" in message
    assert sorted(filled.ids()) == names(10)


@pytest.mark.parametrize("bad", ["", None, 3, b"a"])
def test_an_id_that_is_no_string_is_named_by_its_place(bad: Any, gallery: Gallery) -> None:
    assert f"id 1 is {bad!r}" in refusal(gallery.add, ["a", bad], images(2))


ODD = [
    "it's",
    '"quoted"',
    "a'; DROP TABLE items; --",
    "naïve",
    "狗.jpg",
    "🐕",
    " ",
    "a\\b",
    "%",
    "a\nb",
]


def test_ids_may_hold_quotes_and_any_script(gallery: Gallery) -> None:
    gallery.add(ODD, images(len(ODD)))
    assert sorted(gallery.ids()) == sorted(ODD)
    gallery.update([ODD[0]], images(1, seed=3))
    for number, name in enumerate(ODD):
        gallery.delete([name])
        assert sorted(gallery.ids()) == sorted(ODD[number + 1 :])


@settings(
    max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    ids=st.lists(
        st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1),
        min_size=2,
        max_size=4,
        unique=True,
    )
)
def test_any_id_can_be_added_found_and_deleted(
    ids: list[str], matcher: Matcher, tmp_path: Path
) -> None:
    place = tmp_path / "any"
    shutil.rmtree(place, ignore_errors=True)
    gallery = Gallery.create(place, matcher)
    gallery.add(ids, images(len(ids)))
    assert sorted(gallery.ids()) == sorted(ids)
    gallery.delete(ids[:1])
    assert sorted(gallery.ids()) == sorted(ids[1:])


def test_the_first_items_decide_the_user_columns(filled: Gallery) -> None:
    assert filled.metadata_columns == ["split", "year"]
    assert rows(filled)["item0007"] == {"split": "test", "year": 2017}


def test_a_column_that_is_left_out_is_null(filled: Gallery) -> None:
    filled.add(["a"], images(1), {"split": ["dev"]})
    filled.add(["b"], images(1))
    assert rows(filled)["a"] == {"split": "dev", "year": None}
    assert rows(filled)["b"] == {"split": None, "year": None}


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"colour": ["red"]}, "no metadata column 'colour'; it has split, year"),
        ({"year": ["next"]}, "'year' holds int64, not string"),
        ({"year": [2.5]}, "'year' holds int64, not double"),
        ({"split": ["a", "b"]}, "'split' has 2 values for 1 items"),
        ({"id": ["x"]}, "'id' is a name the gallery uses"),
        ({"embedding": [1]}, "'embedding' is a name"),
        ({"length": [1]}, "'length' is a name"),
        ({"tensor_regions": [1]}, "'tensor_regions' is a name"),
    ],
)
def test_a_column_that_does_not_fit_is_named(columns: dict, words: str, filled: Gallery) -> None:
    before = tree(Path(filled.path))
    assert words in refusal(filled.add, ["new"], images(1), columns)
    assert words in refusal(filled.update, ["item0001"], None, columns)
    assert tree(Path(filled.path)) == before


@pytest.mark.parametrize("value", [[1, "two"], [object(), object()], [{"a": 1}, 3]])
def test_a_column_of_mixed_values_is_refused(value: list, gallery: Gallery) -> None:
    assert "metadata column 'odd'" in refusal(gallery.add, names(2), images(2), {"odd": value})
    assert gallery.count() == 0


@pytest.mark.parametrize("name", ["_rowid", "_distance", "_anything", "", "with.dots"])
def test_a_column_named_as_lancedb_does_or_cannot_is_refused(name: str, gallery: Gallery) -> None:
    assert repr(name) in refusal(gallery.add, names(2), images(2), {name: [1, 2]})


@pytest.mark.parametrize("name", ["Split Name", "größe", "select", "a'b", "ID"])
def test_a_column_may_have_any_other_name(name: str, gallery: Gallery) -> None:
    gallery.add(names(2), images(2), {name: ["x", "y"]})
    assert rows(gallery)["item0001"] == {name: "y"}


@pytest.mark.parametrize(
    "column", [[True, False], [1.5, None], ["x", None], [[1, 2], [3]], [{"a": 1}, {"a": 2}]]
)
def test_columns_of_every_plain_type_come_back_as_they_were(column: list, gallery: Gallery) -> None:
    gallery.add(names(2), images(2), {"column": column})
    assert [row["column"] for row in rows(gallery).values()] == column


# Changes


def test_deleted_items_are_gone(filled: Gallery) -> None:
    filled.delete(["item0002", "item0009"])
    assert sorted(filled.ids()) == [n for n in names(10) if n not in ("item0002", "item0009")]
    filled.add(["item0002"], images(1))
    assert filled.count() == 9


def test_an_absent_item_stops_a_deletion_whole(filled: Gallery) -> None:
    message = refusal(filled.delete, ["item0001", "absent", "item0002"])
    assert "no item 'absent' (1 of 3 are absent)" in message
    assert filled.count() == 10


def test_nothing_is_done_with_nothing(filled: Gallery) -> None:
    version = filled.version
    filled.delete([])
    filled.add([], images(0))
    assert filled.version == version


def test_an_emptied_gallery_takes_other_columns_and_regions(filled: Gallery) -> None:
    filled.delete(names(10))
    assert filled.count() == 0
    filled.add(["new"], images(1, regions=9), {"colour": ["red"]})
    assert filled.metadata_columns == ["colour"]
    assert filled.description.positions == 9
    assert rows(filled) == {"new": {"colour": "red"}}


def test_updated_items_are_encoded_again_and_keep_their_columns(
    filled: Gallery, matcher: Matcher
) -> None:
    old, new = matcher.encode_images(images(10)), matcher.encode_images(images(2, seed=9))
    filled.update(["item0007", "item0003"], images(2, seed=9))
    assert_stored(filled, "item0007", values(new, 0))
    assert_stored(filled, "item0003", values(new, 1))
    assert_stored(filled, "item0004", values(old, 4))
    assert rows(filled)["item0007"] == {"split": "test", "year": 2017}
    assert filled.count() == 10


def test_a_column_is_updated_alone(filled: Gallery, matcher: Matcher) -> None:
    filled.update(["item0003", "item0001"], metadata={"split": ["dev", None]})
    assert rows(filled)["item0003"] == {"split": "dev", "year": 2013}
    assert rows(filled)["item0001"] == {"split": None, "year": 2011}
    assert rows(filled)["item0002"] == {"split": "train", "year": 2012}
    assert_stored(filled, "item0003", values(matcher.encode_images(images(10)), 3))


def test_an_update_of_what_is_not_there_changes_nothing(filled: Gallery) -> None:
    before = tree(Path(filled.path))
    message = refusal(filled.update, ["item0001", "absent"], images(2))
    assert "no item 'absent'" in message
    assert "neither items nor metadata" in refusal(filled.update, ["item0001"])
    assert tree(Path(filled.path)) == before


def test_changes_of_another_process_are_seen_after_a_refresh(
    filled: Gallery, matcher: Matcher
) -> None:
    reader = Gallery.open(filled.path)
    assert reader.count() == 10
    filled.delete(["item0000"])
    filled.add(["new"], images(1))
    reader.refresh()
    assert sorted(reader.ids()) == [*names(10)[1:], "new"]


# What cannot be added


@pytest.mark.parametrize(
    ("features", "words"),
    [
        (np.zeros((1, 5)), "expected 3 axes"),
        (np.zeros((1, 5, WIDTH + 1)), f"takes {WIDTH}"),
        (np.zeros((1, 5, WIDTH), int), "int64"),
    ],
)
def test_images_that_cannot_be_encoded_are_refused(
    features: np.ndarray, words: str, filled: Gallery
) -> None:
    assert words in refusal(filled.add, ["new"], features, kind=InputError)
    assert filled.count() == 10


def test_images_of_another_number_of_regions_are_refused(filled: Gallery) -> None:
    for call in (filled.add, filled.update):
        name = "new" if call == filled.add else "item0001"
        message = refusal(call, [name], images(1, regions=7))
        assert "have 5 regions, these have 7" in message


def test_as_many_ids_as_items_are_needed(filled: Gallery) -> None:
    assert "2 ids were given for 3 items" in refusal(filled.add, ["a", "b"], images(3))


def test_a_gallery_without_a_matcher_cannot_encode(filled: Gallery) -> None:
    opened = Gallery.open(filled.path)
    assert "without a matcher" in refusal(opened.add, ["new"], images(1))
    opened.delete(["item0001"])
    opened.update(["item0002"], metadata={"split": ["dev"]})
    assert rows(opened)["item0002"]["split"] == "dev"


def test_texts_do_not_go_into_a_gallery_of_images(filled: Gallery) -> None:
    refusal(filled.add, ["new"], ["a dog"], kind=InputError)


def nan_in_a_late_image() -> np.ndarray:
    features = images(200)
    features[190, 2, 3] = np.nan
    return features


@pytest.fixture(params=["empty", "filled"])
def before_failure(request: pytest.FixtureRequest) -> Gallery:
    return request.getfixturevalue("gallery" if request.param == "empty" else "filled")


def assert_untouched(gallery: Gallery, matcher: Matcher, before: dict[str, str]) -> None:
    """Not a file is changed or new, and the gallery takes items as if nothing had been."""
    assert tree(Path(gallery.path)) == before
    count = gallery.count()
    assert Gallery.open(gallery.path).count() == count
    assert len(read_all(gallery).ids) == count
    gallery.add(names(3, "after"), images(3))
    assert Gallery.open(gallery.path, matcher).count() == count + 3
    assert len(read_all(gallery).ids) == count + 3


def test_an_image_that_fails_late_leaves_the_gallery_as_it_was(
    before_failure: Gallery, matcher: Matcher
) -> None:
    gallery, done = before_failure, []
    before = tree(Path(gallery.path))
    with pytest.raises(InputError) as caught:
        gallery.add(names(200, "new"), nan_in_a_late_image(), progress=done.append)
    assert str(caught.value) == "regions of image 190 hold NaN or infinity; extract them again"
    assert done, "batches were encoded before the failure"
    assert_untouched(gallery, matcher, before)


def test_a_failing_update_leaves_the_gallery_as_it_was(gallery: Gallery, matcher: Matcher) -> None:
    gallery.add(names(200), images(200))
    before = tree(Path(gallery.path))
    with pytest.raises(InputError, match=r"^regions of image 190 hold NaN"):
        gallery.update(names(200), nan_in_a_late_image())
    assert_untouched(gallery, matcher, before)


def test_a_full_disk_leaves_the_gallery_as_it_was(
    before_failure: Gallery, matcher: Matcher
) -> None:
    gallery = before_failure
    before = tree(Path(gallery.path))
    with largest_file(30_000), pytest.raises(OutputError) as caught:
        gallery.add(names(200, "new"), images(200))
    assert f"cannot write {gallery.path}" in str(caught.value)
    assert "the gallery is as it was" in str(caught.value)
    assert_untouched(gallery, matcher, before)


def test_a_full_disk_stops_an_update_and_a_deletion_whole(
    gallery: Gallery, matcher: Matcher
) -> None:
    gallery.add(names(200), images(200))
    before = tree(Path(gallery.path))
    with largest_file(30_000), pytest.raises(OutputError):
        gallery.update(names(200), images(200, seed=1))
    assert tree(Path(gallery.path)) == before
    with largest_file(10), pytest.raises(OutputError):
        gallery.delete(names(100))
    assert_untouched(gallery, matcher, before)


def test_an_interrupted_addition_leaves_the_gallery_as_it_was(
    before_failure: Gallery, matcher: Matcher
) -> None:
    def interrupt(done: int) -> None:
        if done >= 128:
            raise KeyboardInterrupt

    before = tree(Path(before_failure.path))
    with pytest.raises(KeyboardInterrupt):
        before_failure.add(names(200, "new"), images(200), progress=interrupt)
    assert_untouched(before_failure, matcher, before)


@pytest.mark.parametrize("at", [64, 128, 200])
def test_a_signal_leaves_all_items_or_none(
    at: int, before_failure: Gallery, matcher: Matcher
) -> None:
    """LanceDB goes on in its own threads when the calling one is interrupted."""

    def interrupt(done: int) -> None:
        if done == at:
            signal.raise_signal(signal.SIGINT)

    count, before = before_failure.count(), tree(Path(before_failure.path))
    with pytest.raises(KeyboardInterrupt):
        before_failure.add(names(200, "new"), images(200), progress=interrupt)
    time.sleep(0.2)
    opened = Gallery.open(before_failure.path, matcher)
    assert opened.count() in (count, count + 200)
    assert len(read_all(opened).ids) == opened.count()
    if opened.count() == count:
        assert_untouched(before_failure, matcher, before)


def test_an_error_in_the_callers_progress_passes_through(
    before_failure: Gallery, matcher: Matcher
) -> None:
    def fail(done: int) -> None:
        raise ZeroDivisionError

    before = tree(Path(before_failure.path))
    with pytest.raises(ZeroDivisionError):
        before_failure.add(names(200, "new"), images(200), progress=fail)
    assert_untouched(before_failure, matcher, before)


def test_a_text_that_fails_leaves_a_gallery_of_texts_as_it_was(
    matcher: Matcher, tmp_path: Path
) -> None:
    gallery = Gallery.create(tmp_path / "texts", matcher, "text")
    gallery.add(names(3), captions(3))
    before = tree(tmp_path)
    message = refusal(gallery.add, names(80, "new"), [*captions(79), ""], kind=InputError)
    assert "text 79 is empty" in message
    message = refusal(gallery.add, ["new"], ["dog " * 300], kind=InputError)
    assert "302 tokens" in message
    assert tree(tmp_path) == before


def test_columns_are_kept_as_arrow_types(gallery: Gallery) -> None:
    gallery.add(names(2), images(2), {"year": [2010, 2011]})
    assert gallery.table.schema.field("year").type == pa.int64()
