from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from itr_deploy import Gallery, Matcher
from itr_deploy.bundle.modality import RERANK_GRAPHS
from itr_deploy.bundle.store import list_files, read_bundle, write_manifest
from itr_deploy.errors import UsageError
from itr_deploy.exporters.reranker import RerankSettings
from itr_deploy.models.registry import reranker_family
from itr_deploy.parity.tolerances import DEFAULTS
from tests.support.command import Outcome, itr_deploy
from tests.support.exports import Bundles
from tests.support.files import tree
from tests.support.items import images, names
from tests.support.leaprr import RERANK_CASES, SMALL, RerankCase
from tests.support.projection import tuned_copy


def add(case: RerankCase, base: Path, output: Path, *options: object) -> Outcome:
    return itr_deploy("export", *case.words(base), "--output", output, *options)


@pytest.fixture(scope="module")
def made(bundle: Path, bundles: Bundles) -> dict[str, Path]:
    """The golden re-rankers, added to the golden IMRAM; not to be changed."""
    return {case.name: bundles.of(*case.words(bundle)) for case in RERANK_CASES}


@pytest.mark.parametrize(("query", "role"), RERANK_GRAPHS.items())
@pytest.mark.parametrize("case", RERANK_CASES, ids=lambda case: case.name)
def test_the_graphs_give_the_published_scores(
    case: RerankCase, query: str, role: str, made: dict
) -> None:
    affinities, edges = case.given(query)
    backend = Matcher.load(made[case.name]).backend
    found = backend.run(role, {"affinities": affinities, "edges": edges})["scores"]
    np.testing.assert_allclose(found, case.scores(query), atol=1e-5, rtol=0)
    alone = backend.run(role, {"affinities": affinities[:1], "edges": edges[:1]})["scores"]
    np.testing.assert_allclose(alone, found[:1], atol=1e-6, rtol=0)


def test_the_manifest_records_the_base_and_what_the_checkpoint_does_not_say(
    made: dict, bundle: Path
) -> None:
    base, record = read_bundle(bundle).manifest, read_bundle(made[SMALL.name]).manifest.reranker
    assert record.base_encoding_id == base.encoding_id
    assert (record.family, record.intra_similarity, record.heads) == ("leaprr", "pooled_cosine", 4)
    assert (record.pillars, record.neighbours) == (8, 10)
    assert (record.text_to_image.rows, record.image_to_text.rows) == (6, 12)
    assert record.text_to_image.threshold == pytest.approx(0.8 / 6)
    assert record.image_to_text.threshold == pytest.approx(0.8 / 12)
    assert record.provenance.checkpoint == "checkpoint_best.pth"


def test_the_published_sizes_have_the_published_thresholds(made: dict) -> None:
    record = read_bundle(made["k32_k8_l64"]).manifest.reranker
    assert record.text_to_image.threshold == 0.8 / 8
    assert record.image_to_text.threshold == 0.8 / 32


def test_thresholds_of_other_sizes_may_be_the_published_constants() -> None:
    family = reranker_family("leaprr")
    found = RerankSettings((6, 12), published_thresholds=True).directions(family)
    assert (found["text"].threshold, found["image"].threshold) == (0.8 / 8, 0.8 / 32)
    with pytest.raises(UsageError, match="K=12 for text queries is too large"):
        RerankSettings((12, 12), published_thresholds=True).directions(family)
    assert RerankSettings((12, 64)).directions(family)["image"].threshold == 0.8 / 64


def test_the_bases_files_and_galleries_stay_what_they_are(
    made: dict, bundle: Path, tmp_path: Path
) -> None:
    before, after = tree(bundle), tree(made[SMALL.name])
    assert {name: after[name] for name in before if name != "manifest.json"} == {
        name: value for name, value in before.items() if name != "manifest.json"
    }
    Gallery.create(tmp_path / "g", Matcher.load(bundle)).add(names(3), images(3))
    assert Gallery.open(tmp_path / "g", Matcher.load(made[SMALL.name])).count() == 3


@pytest.mark.full
def test_a_tuned_bases_projection_is_copied(
    bundle: Path, traced_once: None, tmp_path: Path
) -> None:
    base = tuned_copy(bundle, tmp_path / "tuned")
    outcome = add(SMALL, base, tmp_path / "reranked")
    assert outcome.code == 0, outcome.err
    wanted, found = (Matcher.load(path).projection for path in (base, tmp_path / "reranked"))
    for query in ("text", "image"):
        assert (found.forms[query] == wanted.forms[query]).all()


def test_inspect_shows_the_re_ranker_and_its_parity(made: dict) -> None:
    shown = itr_deploy("inspect", made[SMALL.name], "--json").json
    assert shown["reranker"]["text_to_image"]["rows"] == 6
    assert shown["reranker_parity"] == shown["parity"] == "passed"
    assert {"rerank_text_to_image", "rerank_image_to_text"} <= {g["name"] for g in shown["graphs"]}
    assert itr_deploy("inspect", made[SMALL.name]).code == 0


def test_verify_compares_the_re_ranker_with_its_checkpoint(made: dict, tmp_path: Path) -> None:
    # It writes its report anew, whose last digits depend on PyTorch's threads.
    path = Path(shutil.copytree(made[SMALL.name], tmp_path / "bundle"))
    outcome = itr_deploy("verify", path, "--checkpoint", SMALL.checkpoint, "--json")
    assert outcome.code == 0, outcome.err
    assert {entry["name"] for entry in outcome.json["outputs"]} == set(RERANK_GRAPHS.values())


def test_verify_ends_with_3_where_a_graph_was_changed(made: dict, tmp_path: Path) -> None:
    path = Path(shutil.copytree(made[SMALL.name], tmp_path / "bundle"))
    graph = path / "graphs" / "rerank_text_to_image.onnx"
    model = onnx.load(graph, load_external_data=False)
    for node in model.graph.node:
        if node.output[0] == "scores":
            node.output[0] = "half"
    model.graph.node.append(onnx.helper.make_node("Add", ["half", "half"], ["scores"]))
    onnx.save(model, graph)
    manifest = read_bundle_unchecked(path)
    write_manifest(path, manifest.model_copy(update={"files": list_files(path)}))
    outcome = itr_deploy("verify", path, "--checkpoint", SMALL.checkpoint)
    assert outcome.code == 3
    assert "rerank_text_to_image" in outcome.error
    assert json.loads((path / "parity-reranker.json").read_bytes())["passed"] is False
    assert itr_deploy("inspect", path, "--json").json["reranker_parity"] == "MISSED"


def read_bundle_unchecked(path: Path):
    from itr_deploy.bundle.manifest import Manifest

    content = json.loads((path / "manifest.json").read_bytes())
    del content["checksum"]
    return Manifest.model_validate_json(json.dumps(content))


def test_a_graph_that_differs_from_pytorch_makes_no_bundle(
    bundle: Path, traced_once: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(DEFAULTS, "float32", 1e-12)
    outcome = add(SMALL, bundle, tmp_path / "bundle")
    assert outcome.code == 3
    assert "no bundle was written" in outcome.error
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (("--heads", "7"), 1, "7 heads do not divide the width 24"),
        (("--edge-thresholds", "published", "--rows-text-to-image", "12"), 2, "K=12"),
        (("--base", "absent"), 1, "no such bundle directory"),
        (("--checkpoint", "absent.pth"), 1, "no such checkpoint"),
    ],
)
def test_what_cannot_be_exported_is_one_line_and_leaves_nothing(
    options: tuple, code: int, message: str, bundle: Path, tmp_path: Path
) -> None:
    outcome = add(SMALL, bundle, tmp_path / "bundle", *options)
    assert outcome.code == code
    assert message in outcome.error
    assert list(tmp_path.iterdir()) == []


def test_a_second_re_ranker_is_refused(made: dict, tmp_path: Path) -> None:
    outcome = add(SMALL, made[SMALL.name], tmp_path / "bundle")
    assert outcome.code == 1
    assert "has a re-ranker already" in outcome.error


def test_an_ensemble_has_no_re_ranker_of_its_members(
    made: dict, bundle: Path, traced_once: None, tmp_path: Path
) -> None:
    outcome = itr_deploy("ensemble", made[SMALL.name], bundle, "--output", tmp_path / "both")
    assert outcome.code == 0, outcome.err
    manifest = read_bundle(tmp_path / "both").manifest
    assert manifest.reranker is None
    assert not set(RERANK_GRAPHS.values()) & manifest.graphs.keys()
    assert add(SMALL, tmp_path / "both", tmp_path / "reranked").code == 0


class Program:
    """What a pickle would run."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("it ran",)


def test_the_checkpoint_is_read_without_running_code(bundle: Path, tmp_path: Path) -> None:
    torch.save({"state_dict": {}, "epoch": Program()}, tmp_path / "c.pth")
    outcome = add(SMALL, bundle, tmp_path / "bundle", "--checkpoint", tmp_path / "c.pth")
    assert outcome.code == 1
    assert "refused: it holds more than tensors" in outcome.error
    assert "it ran" not in outcome.out
