from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from itr_deploy.bundle.manifest import Manifest
from itr_deploy.bundle.store import (
    MANIFEST,
    PARITY,
    Bundle,
    is_only_a_bundle,
    list_files,
    read_bundle,
    write_manifest,
)
from itr_deploy.errors import BundleError, OutputError
from tests.bundle.conftest import manifest_of
from tests.support.files import largest_file, tree
from tests.support.golden import DATA


def refusal(root: Path) -> str:
    with pytest.raises(BundleError) as caught:
        read_bundle(root)
    message = str(caught.value)
    assert str(root) in message
    assert "\n" not in message
    assert caught.value.exit_code == 1
    return message


def rewrite(root: Path, **changes: Any) -> None:
    """Change fields of the manifest and give it a checksum that fits."""
    write_manifest(root, manifest_of(root).model_copy(update=changes))


def test_what_is_written_is_read_back(small: Path) -> None:
    opened = read_bundle(small)
    assert opened == Bundle(small, manifest_of(small))
    assert opened.file("vocab.json") == small / "vocab.json"


def test_a_re_rankers_record_is_called_in_the_file_what_it_always_was(tmp_path: Path) -> None:
    recorded = json.loads((DATA / "leaprr" / "manifest.json").read_bytes())
    assert recorded["reranker"]["pi"] == "pooled_cosine"
    del recorded["checksum"]
    manifest = Manifest.model_validate_json(json.dumps(recorded))
    assert manifest.reranker is not None
    assert manifest.reranker.intra_similarity == "pooled_cosine"
    write_manifest(tmp_path, manifest)
    written = json.loads((tmp_path / MANIFEST).read_bytes())
    assert written["reranker"] == recorded["reranker"]
    assert written.keys() >= recorded.keys()


def test_a_path_given_as_a_string_is_opened(small: Path) -> None:
    assert read_bundle(str(small)).path == small


def test_every_file_but_manifest_and_parity_report_has_a_checksum(small: Path) -> None:
    (small / PARITY).write_text("{}")
    assert set(list_files(small)) == {
        "graphs/image_encoder.onnx",
        "graphs/weights.bin",
        "vocab.json",
    }


def test_the_parity_report_may_change(small: Path) -> None:
    (small / PARITY).write_text('{"passed": false}')
    read_bundle(small)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_any_flipped_bit_of_any_file_is_noticed(data: st.DataObject, small: Path) -> None:
    path = small / data.draw(st.sampled_from(sorted(tree(small))))
    whole = path.read_bytes()
    at = data.draw(st.integers(0, len(whole) - 1))
    flipped = whole[at] ^ (1 << data.draw(st.integers(0, 7)))
    path.write_bytes(whole[:at] + bytes([flipped]) + whole[at + 1 :])
    try:
        if path.name == MANIFEST and _same_json(whole, path.read_bytes()):
            read_bundle(small)
        else:
            assert path.name in refusal(small)
    finally:
        path.write_bytes(whole)


def _same_json(one: bytes, other: bytes) -> bool:
    try:
        return json.loads(one) == json.loads(other)
    except ValueError:
        return False


@pytest.mark.parametrize("name", ["graphs/image_encoder.onnx", "graphs/weights.bin", "vocab.json"])
def test_a_missing_file_is_named(name: str, small: Path) -> None:
    (small / name).unlink()
    message = refusal(small)
    assert f"{name} is missing" in message


def test_a_missing_directory_is_named(tmp_path: Path) -> None:
    assert "no such bundle directory" in refusal(tmp_path / "absent")


def test_a_directory_without_a_manifest_is_no_bundle(tmp_path: Path) -> None:
    assert not is_only_a_bundle(tmp_path)
    assert "not a bundle" in refusal(tmp_path)


def test_a_bundle_beside_other_files_may_not_be_replaced(small: Path) -> None:
    assert is_only_a_bundle(small)
    (small / "thesis.txt").write_text("mine")
    assert not is_only_a_bundle(small)


@pytest.mark.parametrize(
    "content", ["", "{", "[1]", "null", "\ufeff{}", "{}", '{"schema_version": "1"}']
)
def test_a_manifest_that_is_none_is_refused(content: str, small: Path) -> None:
    (small / MANIFEST).write_text(content, encoding="utf-8")
    assert MANIFEST in refusal(small)


def test_a_manifest_of_deep_nesting_is_refused(small: Path) -> None:
    (small / MANIFEST).write_text("[" * 100_000)
    assert MANIFEST in refusal(small)


@pytest.mark.parametrize(
    "name",
    ["/etc/passwd", "../outside", "graphs/../../outside", "..\\outside", "C:/outside", "C:\\x"],
)
@pytest.mark.parametrize("place", ["files", "graph", "vocabulary"])
def test_a_path_that_leaves_the_bundle_is_refused(name: str, place: str, small: Path) -> None:
    manifest = manifest_of(small)
    graph = manifest.graphs["image_encoder"]
    changes: dict[str, Any] = {
        "files": {"files": {**manifest.files, name: manifest.files["vocab.json"]}},
        "graph": {"graphs": {"image_encoder": graph.model_copy(update={"file": name})}},
        "vocabulary": {
            "text_processing": manifest.text_processing.model_copy(update={"vocabulary": name})
        },
    }
    rewrite(small, **changes[place])
    message = refusal(small)
    assert repr(name) in message
    assert "leaves the bundle" in message


@pytest.mark.parametrize("linked", ["file", "directory"])
def test_a_link_that_leads_out_is_refused(linked: str, small: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    inner = small / ("vocab.json" if linked == "file" else "graphs")
    inner.rename(outside)
    inner.symlink_to(outside)
    assert "leads out of the bundle" in refusal(small)


def test_a_file_that_is_used_but_not_listed_is_refused(small: Path) -> None:
    files = {k: v for k, v in manifest_of(small).files.items() if k != "vocab.json"}
    rewrite(small, files=files)
    assert "'vocab.json'" in refusal(small)


def test_a_newer_schema_asks_for_an_upgrade(small: Path) -> None:
    content = json.loads((small / MANIFEST).read_bytes())
    content.update(schema_version=2, something_new={"a": 1})
    (small / MANIFEST).write_text(json.dumps(content))
    message = refusal(small)
    assert "newer itr-deploy" in message
    assert "schema 2" in message
    assert "pip install -U itr-deploy" in message


def test_an_unknown_field_is_named_even_with_a_fitting_checksum(small: Path) -> None:
    from itr_deploy.bundle.store import _checksum

    content = json.loads((small / MANIFEST).read_bytes())
    del content["checksum"]
    content["images"]["colour"] = "red"
    content["checksum"] = _checksum(content)
    (small / MANIFEST).write_text(json.dumps(content))
    assert "images.colour" in refusal(small)


@pytest.mark.parametrize("name", ["Upper", "has space", "1st", ""])
def test_a_stored_tensor_has_a_name_fit_for_a_column(name: str, small: Path) -> None:
    from pydantic import ValidationError

    from itr_deploy.bundle.manifest import StoredTensor

    with pytest.raises(ValidationError):
        StoredTensor(name=name, width=3)


def test_a_graph_is_found_by_role_and_storage(small: Path) -> None:
    manifest = manifest_of(small)
    assert manifest.graph("image_encoder") == "image_encoder"
    with pytest.raises(KeyError, match="text_encoder"):
        manifest.graph("text_encoder")
    with pytest.raises(KeyError, match="float16"):
        manifest.graph("image_encoder", "float16")


def test_a_manifest_that_cannot_be_written_leaves_the_old_one(small: Path) -> None:
    before = tree(small)
    with largest_file(100), pytest.raises(OutputError, match=MANIFEST):
        rewrite(small, family="other")
    assert tree(small) == before
    read_bundle(small)
