"""``itr-deploy verify`` on intact bundles, and on bundles whose numbers are wrong."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from itr_deploy.bundle.store import PARITY, list_files, read_bundle, write_manifest
from tests.support.command import Outcome, itr_deploy
from tests.support.files import largest_file, tree
from tests.support.golden import FULL, IMAGE, TEXT
from tests.support.imram import write_checkpoint
from tests.support.threads import one_torch_thread


def verify(bundle: Path, *options: object, checkpoint: Path = FULL.checkpoint) -> Outcome:
    with one_torch_thread():
        return itr_deploy("verify", bundle, "--checkpoint", checkpoint, *options)


def recheck(bundle: Path) -> None:
    """Give a changed bundle a manifest whose checksums fit."""
    manifest = read_manifest(bundle)
    write_manifest(bundle, manifest.model_copy(update={"files": list_files(bundle)}))


def read_manifest(bundle: Path):
    from itr_deploy.bundle.manifest import Manifest

    content = json.loads((bundle / "manifest.json").read_bytes())
    del content["checksum"]
    return Manifest.model_validate_json(json.dumps(content))


def test_a_good_bundle_passes_and_its_report_is_written_again(bundle_copy: Path) -> None:
    (bundle_copy / PARITY).unlink()
    outcome = verify(bundle_copy, "--json")
    assert outcome.code == 0, outcome.err
    assert outcome.json["passed"] is True
    assert json.loads((bundle_copy / PARITY).read_bytes()) == outcome.json
    read_bundle(bundle_copy)


def test_every_output_of_every_graph_is_in_the_report(bundle_copy: Path) -> None:
    names = {entry["name"] for entry in verify(bundle_copy, "--json").json["outputs"]}
    for graph in read_bundle(bundle_copy).manifest.graphs.values():
        for tensor in graph.outputs:
            scores = f"{graph.role}, {graph.storage}"
            assert (scores if tensor.name == "scores" else tensor.name) in names


def test_the_table_shows_every_comparison(bundle_copy: Path) -> None:
    outcome = verify(bundle_copy)
    assert outcome.code == 0
    for name in ("image_regions", "text_embedding", "match_text_to_image", "every pair alone"):
        assert name in outcome.out
    assert "MISSED" not in outcome.out


def test_a_tolerance_that_is_missed_ends_with_3_and_is_recorded(bundle_copy: Path) -> None:
    outcome = verify(bundle_copy, "--tolerance", "1e-12")
    assert outcome.code == 3
    assert "parity missed by" in outcome.error
    assert "where 1e-12 is allowed" in outcome.error
    assert "MISSED" in outcome.out
    assert json.loads((bundle_copy / PARITY).read_bytes())["passed"] is False
    assert itr_deploy("inspect", bundle_copy, "--json").json["parity"] == "MISSED"


def test_the_tolerance_of_half_precision_galleries_is_its_own(bundle_copy: Path) -> None:
    outcome = verify(bundle_copy, "--storage-tolerance", "1e-9", "--json")
    assert outcome.code == 3
    failed = {entry["name"] for entry in outcome.json["outputs"] if not entry["passed"]}
    assert failed == {
        f"{kind}_{way}, float16"
        for kind in ("match", "prefilter", "refine")
        for way in ("text_to_image", "image_to_text")
    }


def test_a_report_that_cannot_be_kept_is_a_warning_and_printed_all_the_same(
    bundle_copy: Path,
) -> None:
    before = tree(bundle_copy)
    with largest_file(100):
        outcome = verify(bundle_copy, "--json")
    assert outcome.code == 0, outcome.err
    assert outcome.json["passed"] is True
    (said,) = [line for line in outcome.err.splitlines() if line.startswith("warning: ")]
    assert said.startswith("warning: report not kept: cannot write ")
    assert tree(bundle_copy) == before


@pytest.mark.parametrize("tolerance", ["0", "-1", "much", "nan"])
def test_a_tolerance_that_is_none_is_wrong_usage(tolerance: str, bundle: Path) -> None:
    assert verify(bundle, "--tolerance", tolerance).code == 2


@pytest.mark.parametrize(
    ("factor", "words"), [(1.05, "is allowed"), (float("nan"), "NaN or infinite")]
)
def test_a_changed_weight_is_found_even_when_checksums_fit(
    factor: float, words: str, bundle_copy: Path
) -> None:
    path = bundle_copy / "graphs" / "weights.bin"
    values = np.frombuffer(path.read_bytes(), np.float32).copy()
    values[:64] *= factor
    path.write_bytes(values.tobytes())
    recheck(bundle_copy)
    read_bundle(bundle_copy)
    outcome = verify(bundle_copy)
    assert outcome.code == 3
    assert words in outcome.error


@pytest.mark.parametrize(
    "role", ["match_text_to_image", "match_image_to_text", "prefilter_text_to_image"]
)
def test_a_graph_of_another_model_is_found_even_when_checksums_fit(
    role: str, bundle_copy: Path
) -> None:
    import onnx

    for name in (role, f"{role}_float32"):
        path = bundle_copy / "graphs" / f"{name}.onnx"
        model = onnx.load(path, load_external_data=False)
        leaky = [node for node in model.graph.node if node.op_type == "LeakyRelu"]
        assert leaky
        for node in leaky:
            del node.attribute[:]  # ONNX's default slope of 0.01 instead of 0.1
        path.write_bytes(model.SerializeToString())
    recheck(bundle_copy)
    outcome = verify(bundle_copy, "--json")
    assert outcome.code == 3
    failed = {entry["name"] for entry in outcome.json["outputs"] if not entry["passed"]}
    assert f"{role}, float32" in failed


def test_a_checkpoint_of_the_same_shape_but_another_training_is_refused(
    bundle: Path, tmp_path: Path
) -> None:
    import torch

    other = write_checkpoint(tmp_path / "other.tar", weights={"gate_t2i.bias": torch.zeros(24)})
    outcome = verify(bundle, checkpoint=other)
    assert outcome.code == 1
    assert "not the checkpoint of" in outcome.error
    assert str(other) in outcome.error


@pytest.mark.parametrize("case", [IMAGE, TEXT], ids=lambda case: case.name)
def test_a_checkpoint_of_another_model_is_refused(case, bundle: Path) -> None:
    outcome = verify(bundle, checkpoint=case.checkpoint)
    assert outcome.code == 1
    assert "not the checkpoint of" in outcome.error


def test_a_damaged_bundle_is_refused_before_it_is_compared(bundle_copy: Path) -> None:
    (bundle_copy / "vocab.json").write_text("{}")
    outcome = verify(bundle_copy)
    assert outcome.code == 1
    assert "vocab.json does not match its checksum" in outcome.error


def write_split(folder: Path) -> Path:
    np.save(folder / "test_ims.npy", FULL.regions[:4])
    (folder / "test_caps.txt").write_text("\n".join(FULL.captions))
    return folder


def test_real_data_is_ranked_instead_of_random_inputs(bundle_copy: Path, tmp_path: Path) -> None:
    outcome = verify(bundle_copy, "--data", write_split(tmp_path), "--images", "3", "--json")
    assert outcome.code == 0, outcome.err
    sizes = {
        (entry["name"][:16], entry["queries"], entry["items"]) for entry in outcome.json["ranks"]
    }
    assert sizes == {("match_text_to_im", 6, 3), ("match_image_to_t", 3, 6)}


def test_data_that_is_not_there_ends_in_one_line(bundle: Path, tmp_path: Path) -> None:
    outcome = verify(bundle, "--data", tmp_path)
    assert outcome.code == 1
    assert str(tmp_path) in outcome.error


def test_a_bundle_from_before_there_were_prefilters_is_verified_without(
    without_prefilter: Path, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(without_prefilter, tmp_path / "bundle"))
    outcome = verify(copy, "--json")
    assert outcome.code == 0, outcome.err
    assert outcome.json["unchecked"] == [
        f"the {part}: the bundle has none, an older itr-deploy exported it"
        for part in ("prefilter", "refiner")
    ]
