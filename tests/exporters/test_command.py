"""``itr-deploy export``: what it refuses, and that a failure changes nothing."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import onnx
import pytest
import torch

import itr_deploy
from itr_deploy import Matcher
from itr_deploy.bundle.store import PARITY, read_bundle
from itr_deploy.engines.preflight import RULES, GraphView, Target
from itr_deploy.engines.preflight.rules import Problem
from itr_deploy.errors import CheckpointError
from itr_deploy.parity import tolerances, verify
from itr_deploy.parity.tolerances import Tolerances
from tests.exporters.test_text import SMALL_PUNKT, no_nltk_data, trained_nltk_data
from tests.support.command import Outcome
from tests.support.command import itr_deploy as run
from tests.support.files import largest_file, tree
from tests.support.golden import FULL, TEXT
from tests.support.imram import golden_checkpoint, write_checkpoint
from tests.support.threads import one_torch_thread

__all__ = ["no_nltk_data", "trained_nltk_data"]


def export(
    output: Path, *options: object, checkpoint: Path = TEXT.checkpoint, vocab: Path = TEXT.vocab
) -> Outcome:
    files = ("--checkpoint", checkpoint, "--vocab", vocab, "--output", output)
    with one_torch_thread():
        return run("export", "imram", *files, *options)


@pytest.fixture(scope="module")
def one_step(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint that is exported fastest: one branch, one step."""
    path = tmp_path_factory.mktemp("checkpoint") / "one_step.tar"
    return write_checkpoint(path, options={"iteration_step": 1}, case=TEXT)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """An empty directory for the output."""
    place = tmp_path / "place"
    place.mkdir()
    return place


def test_the_result_as_json_names_the_bundle_and_holds_its_parity(
    one_step: Path, place: Path, traced_once: None
) -> None:
    path, result = place / "bundle", export(place / "bundle", "--json", checkpoint=one_step).json
    assert result.keys() == {
        "bundle", "encoding_id", "passed", "backend", "outputs", "invariance", "ranks", "unchecked",
        "changes",
    }  # fmt: skip
    assert result["bundle"] == str(path)
    assert result["passed"] is True
    assert result["encoding_id"] == read_bundle(path).manifest.encoding_id


def test_a_bundle_carries_its_parity_report_with_every_graph_output(bundle: Path) -> None:
    report = json.loads((bundle / PARITY).read_bytes())
    compared = {entry["name"] for entry in report["outputs"]}
    for graph in read_bundle(bundle).manifest.graphs.values():
        for tensor in graph.outputs:
            scores = f"{graph.role}, {graph.storage}"
            assert (scores if tensor.name == "scores" else tensor.name) in compared
    entries = [*report["outputs"], *report["invariance"], *report["ranks"]]
    assert all(entry["passed"] for entry in entries)


def test_a_bundle_may_be_moved(bundle: Path, tmp_path: Path) -> None:
    moved = shutil.copytree(bundle, tmp_path / "other" / "name")
    scores = Matcher.load(moved).score(texts=(FULL.token_ids, FULL.lengths), images=FULL.regions)
    assert abs(scores - FULL.scores).max() <= 1e-4


def test_an_existing_bundle_is_kept_without_force(bundle_copy: Path) -> None:
    before = tree(bundle_copy)
    outcome = export(bundle_copy)
    assert outcome.code == 1
    assert str(bundle_copy) in outcome.error
    assert "--force" in outcome.error
    assert tree(bundle_copy) == before


@pytest.mark.parametrize("options", [(), ("--force",)])
def test_a_directory_that_is_no_bundle_is_never_replaced(
    options: tuple[str, ...], place: Path
) -> None:
    (place / "diary.txt").write_text("dear")
    outcome = export(place, *options)
    assert outcome.code == 1
    assert "not a bundle" in outcome.error
    assert tree(place).keys() == {"diary.txt"}


def vocabularies(folder: Path) -> dict[str, Path]:
    published = json.loads(TEXT.vocab.read_bytes())
    short = {word: n for word, n in published["word2idx"].items() if n < 39}
    swapped = {**published["word2idx"], "<end>": 3, "<unk>": 2}
    contents = {
        "short": json.dumps({"word2idx": short}),
        "swapped": json.dumps({"word2idx": swapped}),
        "broken": TEXT.vocab.read_text()[:100],
    }
    paths = {name: folder / f"{name}.json" for name in contents}
    for name, path in paths.items():
        path.write_text(contents[name])
    return {**paths, "absent": folder / "absent.json"}


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("short", "39 words, but the checkpoint was trained with 40"),
        ("swapped", "<end> is 3"),
        ("broken", "not a vocabulary file"),
        ("absent", "No such file"),
    ],
)
def test_a_vocabulary_that_does_not_fit_ends_in_one_line(
    kind: str, words: str, tmp_path: Path, place: Path
) -> None:
    path = vocabularies(tmp_path)[kind]
    outcome = export(place / "bundle", vocab=path)
    assert outcome.code == 1
    assert str(path) in outcome.error
    assert words in outcome.error
    assert list(place.iterdir()) == []


def checkpoints(folder: Path) -> dict[str, Path]:
    state = golden_checkpoint()["model"]
    paths = {name: folder / f"{name}.tar" for name in ("absent", "cut", "dime", "l1norm", "nan")}
    paths["cut"].write_bytes(FULL.checkpoint.read_bytes()[:20_000])
    torch.save({"model": [state, state], "opt": golden_checkpoint()["opt"]}, paths["dime"])
    write_checkpoint(paths["l1norm"], options={"raw_feature_norm": "l1norm"})
    broken = torch.full_like(state["module.gate_t2i.weight"], float("nan"))
    write_checkpoint(paths["nan"], weights={"gate_t2i.weight": broken})
    return paths


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("absent", "no such checkpoint file"),
        ("cut", "truncated"),
        ("dime", "another model"),
        ("l1norm", "l1norm"),
        ("nan", "gate_t2i.weight holds NaN"),
    ],
)
def test_a_checkpoint_that_cannot_be_used_ends_in_one_line(
    kind: str, words: str, tmp_path: Path, place: Path
) -> None:
    outcome = export(place / "bundle", checkpoint=checkpoints(tmp_path)[kind])
    assert outcome.code == 1
    assert words in outcome.error
    assert list(place.iterdir()) == []


@pytest.mark.parametrize("opset", ["17", "23", "twenty"])
def test_an_opset_outside_those_offered_is_wrong_usage(opset: str, place: Path) -> None:
    outcome = export(place / "bundle", "--opset", opset)
    assert outcome.code == 2
    assert "--opset" in outcome.err


@pytest.mark.parametrize("missing", ["--checkpoint", "--vocab", "--output"])
def test_a_missing_option_is_wrong_usage(missing: str) -> None:
    options = {"--checkpoint": "a", "--vocab": "b", "--output": "c"}
    del options[missing]
    outcome = run("export", "imram", *(x for pair in options.items() for x in pair))
    assert outcome.code == 2
    assert missing in outcome.err


def test_an_output_that_cannot_be_made_ends_in_one_line() -> None:
    outcome = export(Path("/proc/itr-deploy/bundle"))
    assert outcome.code == 1
    assert "cannot write /proc/itr-deploy/bundle" in outcome.error


@pytest.mark.parametrize("size", [500, 20_000], ids=["text files", "weights or graphs"])
def test_a_full_disk_leaves_the_old_bundle_working_and_nothing_else(
    size: int, bundle_copy: Path, one_step: Path, traced_once: None
) -> None:
    before = tree(bundle_copy)
    with largest_file(size):
        outcome = export(bundle_copy, "--force", checkpoint=one_step)
    assert outcome.code == 1
    assert f"cannot write {bundle_copy.parent}" in outcome.error
    assert "File too large" in outcome.error
    assert tree(bundle_copy) == before
    assert [path.name for path in bundle_copy.parent.iterdir()] == [bundle_copy.name]
    read_bundle(bundle_copy)


def test_parity_that_misses_ends_with_3_and_without_a_bundle(
    one_step: Path, traced_once: None, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    strict = partial(verify, tolerances=Tolerances.of("float32", 1e-12))
    monkeypatch.setattr("itr_deploy.parity.gate.verify", strict)
    outcome = export(place / "bundle", checkpoint=one_step)
    assert outcome.code == 3
    assert "parity missed" in outcome.error
    assert "no bundle was written" in outcome.error
    assert list(place.iterdir()) == []


def test_an_export_whose_int8_galleries_miss_is_whole_without_them(
    one_step: Path, traced_once: None, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tolerances, "INT8_STORAGE", 1e-9)
    outcome = export(place / "bundle", checkpoint=one_step)
    assert outcome.code == 0, outcome.err
    assert "warning: int8 galleries are left out: match_" in outcome.err
    assert read_bundle(place / "bundle").manifest.storages == ("float16", "float32")


PRODUCTS = {"MatMul", "Gemm"}


def no_products(graph: GraphView, target: Target) -> Iterator[Problem]:
    for node in graph.nodes:
        if node.op_type in PRODUCTS:
            yield node, "a product", "add up instead"


def test_the_rules_of_preflight_run_over_every_graph_and_warn(
    one_step: Path, traced_once: None, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(RULES, "no-products", no_products)
    outcome = export(place / "bundle", checkpoint=one_step)
    assert outcome.code == 0, outcome.err
    said = " ".join(outcome.err.split())
    found = re.findall(r"TensorRT: (\w+): [^:]*: a product; add up instead", said)
    graphs = read_bundle(place / "bundle").manifest.graphs
    models = {name: onnx.load(place / "bundle" / info.file) for name, info in graphs.items()}
    with_products = {
        name for name, model in models.items() if PRODUCTS & {n.op_type for n in model.graph.node}
    }
    assert set(found) == with_products >= {"image_encoder", "match_text_to_image"}


STEPS = ("graph text_encoder", "graph match_image_to_text", "checksums and manifest", "ranks")
"""Where an export is interrupted: while it traces, writes graphs, has written all, compares."""


@pytest.mark.parametrize("step", STEPS)
def test_an_export_that_is_interrupted_leaves_the_old_bundle_and_nothing_else(
    step: str,
    one_step: Path,
    traced_once: None,
    bundle_copy: Path,
) -> None:
    def begin(name: str) -> None:
        if name == step:
            raise KeyboardInterrupt

    before = tree(bundle_copy)
    files = {"checkpoint": one_step, "vocab": TEXT.vocab, "output": bundle_copy}
    with pytest.raises(KeyboardInterrupt):
        itr_deploy.export("imram", **files, force=True, progress=begin)
    assert tree(bundle_copy) == before
    assert [path.name for path in bundle_copy.parent.iterdir()] == [bundle_copy.name]


@pytest.mark.full
def test_force_replaces_a_bundle_by_one_of_another_opset(bundle_copy: Path, one_step: Path) -> None:
    before = read_bundle(bundle_copy).manifest
    outcome = export(bundle_copy, "--force", "--opset", "18", checkpoint=one_step)
    assert outcome.code == 0, outcome.err
    assert f"bundle: {bundle_copy}" in outcome.out
    assert "Parity with PyTorch" in outcome.out
    after = read_bundle(bundle_copy).manifest
    assert after.encoding_id != before.encoding_id
    for info in after.graphs.values():
        model = onnx.load(bundle_copy / info.file)
        assert {o.domain: o.version for o in model.opset_import}[""] == 18
        assert info.opset == 18
        assert not any(node.op_type == "Tanh" for node in model.graph.node)
    assert bundle_copy.is_dir()
    assert not [path for path in bundle_copy.parent.iterdir() if path.name.startswith(".")]


def test_a_bundle_carries_the_trained_punkt_of_the_machine_that_exports(
    trained_nltk_data: Path, one_step: Path, traced_once: None, place: Path
) -> None:
    outcome = export(place / "bundle", checkpoint=one_step)
    assert outcome.code == 0, outcome.err
    processing = read_bundle(place / "bundle").manifest.text_processing
    assert (processing.sentence_splitter, processing.punkt) == ("trained", "punkt.json")
    shutil.rmtree(trained_nltk_data)
    text = Matcher.load(place / "bundle").text
    assert text.unknown_words("dr. brown") == ["dr.", "brown"]


def test_a_given_punkt_goes_into_the_bundle(
    no_nltk_data: Path, one_step: Path, traced_once: None, place: Path
) -> None:
    given = place.parent / "punkt.json"
    given.write_text(json.dumps(SMALL_PUNKT))
    outcome = export(place / "bundle", "--punkt", given, checkpoint=one_step)
    assert outcome.code == 0, outcome.err
    assert "warning" not in outcome.err
    processing = read_bundle(place / "bundle").manifest.text_processing
    assert (processing.sentence_splitter, processing.punkt) == ("trained", "punkt.json")
    assert json.loads((place / "bundle" / "punkt.json").read_bytes()) == SMALL_PUNKT


def test_a_checkpoint_that_is_written_meanwhile_leaves_no_bundle(
    one_step: Path, traced_once: None, place: Path
) -> None:
    checkpoint = shutil.copy(one_step, place.parent / "model_best.pth.tar")

    def progress(step: str) -> None:
        if step == "checksums and manifest":
            checkpoint.write_bytes(TEXT.checkpoint.read_bytes())

    with one_torch_thread(), pytest.raises(CheckpointError, match="changed while it was exported"):
        itr_deploy.export(
            "imram",
            checkpoint=checkpoint,
            vocab=TEXT.vocab,
            output=place / "bundle",
            progress=progress,
        )
    assert tree(place) == {}


def test_without_trained_punkt_the_manifest_says_so(bundle: Path) -> None:
    processing = read_bundle(bundle).manifest.text_processing
    assert (processing.sentence_splitter, processing.punkt) == ("untrained", None)
