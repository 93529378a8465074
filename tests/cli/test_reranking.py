"""Re-ranking, from the command line and from Python."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from itr_deploy import Gallery, Matcher, Retriever
from itr_deploy.bundle.manifest import TOP
from itr_deploy.bundle.store import read_bundle, write_manifest
from itr_deploy.runtime.rerank.store import FOLDER
from tests.support import items
from tests.support.command import Outcome, itr_deploy
from tests.support.exports import Bundles
from tests.support.files import largest_file, tree
from tests.support.golden import FULL
from tests.support.leaprr import SMALL
from tests.support.threads import one_torch_thread

PICTURES = 14
TEXT = FULL.captions[0]


@pytest.fixture(scope="module")
def world(bundle: Path, bundles: Bundles, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The golden IMRAM with a golden re-ranker, galleries of both modalities; not to be changed."""
    root = tmp_path_factory.mktemp("world")
    write_data(root / "data")
    np.save(root / "query.npy", items.images(2))
    (root / "base").symlink_to(bundle)
    (root / "bundle").symlink_to(bundles.of(*SMALL.words(bundle)))
    for modality in ("image", "text"):
        assert index(root, root / modality, "--data", root / "data", "--modality", modality) == 0
    return root


def write_data(root: Path) -> None:
    root.mkdir()
    np.save(root / "test_ims.npy", items.images(PICTURES))
    (root / "test_caps.txt").write_text("\n".join(items.captions(5 * PICTURES)) + "\n")
    (root / "test_ids.txt").write_text("\n".join(items.names(PICTURES, "test_")) + "\n")


def index(world: Path, output: Path, *options: object) -> int:
    outcome = itr_deploy("index", world / "bundle", "--output", output, *options)
    assert outcome.code == 0, outcome.err
    return outcome.code


def index_bank(world: Path, gallery: Path, bank: Path, *options: object) -> Outcome:
    given = ("--gallery", gallery, "--bank", bank, *options)
    return itr_deploy("index-bank", world / "bundle", *given)


def search(world: Path, gallery: Path, bank: Path | None, *options: object) -> Outcome:
    given = ("--gallery", gallery, *(() if bank is None else ("--bank", bank)))
    return itr_deploy("search", world / "bundle", *options, *given)


@pytest.fixture
def copies(world: Path, tmp_path: Path) -> tuple[Path, Path]:
    """The galleries of images and of texts, to change."""
    return tuple(Path(shutil.copytree(world / name, tmp_path / name)) for name in ("image", "text"))


def test_a_text_query_is_re_ranked_from_the_command_line_as_from_python(world: Path) -> None:
    outcome = search(world, world / "image", world / "text", TEXT, "--rerank", "--json")
    assert outcome.code == 0, outcome.err
    (shown,) = outcome.json
    retriever = Retriever.load(world / "bundle", world / "image", bank=world / "text")
    hits = retriever.search(TEXT, rerank=True)
    assert [hit["id"] for hit in shown["hits"]] == list(hits.ids)
    for entry, hit in zip(shown["hits"], hits, strict=True):
        assert entry["matcher_rank"] == hit.matcher_rank
        assert entry["rerank_score"] == pytest.approx(hit.rerank_score, abs=1e-5)
        assert (entry["rerank_score"] is None) == (hit.rank > 5)


def test_image_queries_are_re_ranked_too(world: Path) -> None:
    query = ("--image", world / "query.npy", "--rerank")
    outcome = search(world, world / "text", world / "image", *query, "--json", "-k", 15)
    assert outcome.code == 0, outcome.err
    assert len(outcome.json) == 2
    retriever = Retriever.load(world / "bundle", world / "text", bank=world / "image")
    found = retriever.search(image=np.load(world / "query.npy"), k=15, rerank=True)
    for shown, hits in zip(outcome.json, found, strict=True):
        assert [hit["id"] for hit in shown["hits"]] == list(hits.ids)
        before = [hit["matcher_rank"] for hit in shown["hits"]]
        assert sorted(before) == list(range(1, 16))
        assert before[11:] == [12, 13, 14, 15]


def test_a_table_shows_what_changed_a_rank(world: Path) -> None:
    outcome = search(world, world / "image", world / "text", TEXT, "--rerank")
    assert outcome.code == 0, outcome.err
    assert "re-ranked" in outcome.out
    assert "before" in outcome.out
    plain = search(world, world / "image", world / "text", TEXT)
    assert "re-ranked" not in plain.out


@pytest.mark.parametrize(
    ("gallery", "bank", "code", "message"),
    [
        (
            "image",
            None,
            2,
            "needs a bank of texts; give bank= to Retriever.load or search (--bank)",
        ),
        ("image", "image", 1, "is re-ranked with a bank of texts"),
        ("image", "absent", 1, "no such gallery"),
    ],
)
def test_a_bank_that_cannot_serve_is_one_line(
    gallery: str, bank: str | None, code: int, message: str, world: Path
) -> None:
    path = None if bank is None else world / bank
    outcome = search(world, world / gallery, path, TEXT, "--rerank")
    assert outcome.code == code
    assert message in outcome.error


# What index-bank keeps


@pytest.mark.parametrize("limit", ["0", "1GiB"])
@pytest.mark.parametrize("modality", ["image", "text"])
def test_a_store_changes_no_hit(
    modality: str, limit: str, world: Path, copies: tuple, caplog: pytest.LogCaptureFixture
) -> None:
    images, texts = copies
    gallery, bank = (images, texts) if modality == "image" else (texts, images)
    query = (TEXT,) if modality == "image" else ("--image", world / "query.npy")
    options = (*query, "--rerank", "--json", "--exhaustive", "-k", 14)
    before = search(world, gallery, bank, *options)
    outcome = index_bank(world, gallery, bank, "--limit", limit, "--json")
    assert outcome.code == 0, outcome.err
    items = PICTURES if modality == "image" else 5 * PICTURES
    assert outcome.json == {
        "gallery": str(gallery), "modality": modality, "items": items, "bank": str(bank),
        "all_scores_kept": limit != "0",
    }  # fmt: skip
    stored = {"store.json", "lists.npy", "list_scores.npy", *(["phi.npy"] if limit != "0" else [])}
    assert {path.name for path in (gallery / "phi").iterdir()} == stored
    after = search(world, gallery, bank, *options)
    assert caplog.records == []
    for one, other in zip(after.json, before.json, strict=True):
        assert [h["id"] for h in one["hits"]] == [h["id"] for h in other["hits"]]
        scores = [[h["rerank_score"] or 0 for h in found["hits"]] for found in (one, other)]
        np.testing.assert_allclose(*scores, atol=2e-5)


def test_a_store_is_read_instead_of_scoring(world: Path, copies: tuple) -> None:
    images, texts = copies
    assert index_bank(world, images, texts).code == 0
    retriever = Retriever.load(world / "bundle", images, bank=texts)
    retriever.warm_up()
    matcher = Matcher.load(world / "bundle")
    store = retriever._reranking.neighbourhood(retriever._searchers.searcher()).store
    split = Gallery.open(texts, matcher)
    captions = split.table.search().limit(None).to_arrow()["text"].to_pylist()
    regions = np.load(world / "data" / "test_ims.npy")
    exact = matcher.score(texts=captions, images=regions)
    np.testing.assert_allclose(store.cross_scores, exact, atol=1e-2)  # both galleries are float16


@pytest.mark.parametrize("changed", ["gallery", "bank"])
def test_a_store_of_another_state_is_not_used_and_says_so(
    changed: str, world: Path, copies: tuple, caplog: pytest.LogCaptureFixture
) -> None:
    images, texts = copies
    assert index_bank(world, images, texts).code == 0
    path = images if changed == "gallery" else texts
    opened = Gallery.open(path, Matcher.load(world / "bundle"))
    opened.delete(opened.ids()[:1])
    outcome = search(world, images, texts, TEXT, "--rerank", "--json")
    assert outcome.code == 0, outcome.err
    (record,) = caplog.records
    assert f"made of another state of the {changed}" in record.getMessage()
    assert index_bank(world, images, texts).code == 0
    caplog.clear()
    again = search(world, images, texts, TEXT, "--rerank", "--json")
    assert caplog.records == []
    assert [h["id"] for h in again.json[0]["hits"]] == [h["id"] for h in outcome.json[0]["hits"]]


def test_the_old_spelling_makes_a_gallery_and_its_store_and_names_the_new_one(
    world: Path, tmp_path: Path
) -> None:
    given = ("index", world / "bundle", "--output", tmp_path / "g", "--bank", world / "text")
    made = itr_deploy(*given, "--data", world / "data", "--json")
    assert made.code == 0, made.err
    assert (made.json["added"], made.json["items"]) == (PICTURES, PICTURES)
    assert made.json["all_scores_kept"]
    assert (tmp_path / "g" / FOLDER / "phi.npy").is_file()
    again = itr_deploy(*given, "--phi-limit", 0, "--json")
    assert (again.json["added"], again.json["all_scores_kept"]) == (0, False)
    for outcome in (made, again):
        (said,) = [line for line in outcome.err.splitlines() if line.startswith("warning: ")]
        assert "deprecated; use itr-deploy index-bank" in said
    index(world, tmp_path / "g", "--data", world / "data", "--force")
    assert not (tmp_path / "g" / FOLDER).exists()


def test_the_old_spelling_checks_the_bank_before_it_replaces_a_gallery(
    world: Path, copies: tuple[Path, Path]
) -> None:
    before = tree(copies[0])
    given = ("index", world / "bundle", "--data", world / "data", "--output", copies[0], "--force")
    for bank in (world / "absent", world / "image"):
        outcome = itr_deploy(*given, "--bank", bank)
        assert outcome.code == 1
        assert tree(copies[0]) == before


def test_a_full_disk_leaves_the_gallery_and_the_old_store(world: Path, copies: tuple) -> None:
    images, texts = copies
    assert index_bank(world, images, texts).code == 0
    before = tree(images)
    with largest_file(2000):
        outcome = index_bank(world, images, texts)
    assert outcome.code == 1
    assert "cannot write" in outcome.error
    assert tree(images) == before


@pytest.mark.parametrize(
    ("bank", "options", "code", "message"),
    [
        ("image", (), 1, "is re-ranked with a bank of texts"),
        ("absent", (), 1, "no such gallery"),
        ("text", ("--limit", "much"), 2, "'much' is not a size; give for example 512MiB or 4GiB"),
        ("text", ("--limit", "-5"), 2, "'-5' is not a size"),
    ],
)
def test_what_cannot_be_prepared_is_one_line(
    bank: str, options: tuple[str, ...], code: int, message: str, world: Path, copies: tuple
) -> None:
    outcome = index_bank(world, copies[0], world / bank, *options)
    assert outcome.code == code
    assert message in outcome.error
    assert not (copies[0] / FOLDER).exists()


def test_the_old_spelling_needs_data_to_replace_a_gallery(world: Path, copies: tuple) -> None:
    given = ("--output", copies[0], "--bank", copies[1], "--force")
    outcome = itr_deploy("index", world / "bundle", *given)
    assert outcome.code == 2
    assert "--data is missing" in outcome.error


def test_a_bundle_without_a_re_ranker_prepares_nothing(world: Path, copies: tuple) -> None:
    given = ("--gallery", copies[0], "--bank", copies[1])
    outcome = itr_deploy("index-bank", world / "base", *given)
    assert outcome.code == 1
    assert "has no re-ranker; add one with itr-deploy export leaprr" in outcome.error


def evaluate(world: Path, output: Path, *options: object) -> Outcome:
    given = ("--data", world / "data", "--output", output, "--rerank", *options)
    return itr_deploy("evaluate", world / "bundle", *given)


@pytest.mark.slow
@pytest.mark.parametrize("merge", ["published", "order"])
def test_a_re_ranked_evaluation_has_pytorchs_figures(
    world: Path, tmp_path: Path, merge: str
) -> None:
    checkpoints = ("--checkpoint", FULL.checkpoint)
    checkpoints = (*checkpoints, "--checkpoint", SMALL.checkpoint)
    with one_torch_thread():
        outcome = evaluate(
            world, tmp_path, "--merge", merge, "--baseline", "torch", *checkpoints, "--json"
        )
    assert outcome.code == 0, outcome.err
    report = outcome.json
    assert report["baseline"]["queries_with_another_rank"] == {
        "image_to_text": 0,
        "text_to_image": 0,
    }
    assert report["baseline"]["largest_score_difference"] < 1e-4
    names = [stage["name"] for stage in report["stages"]]
    assert names[-2:] == [
        "re-ranked, one direction as in a search",
        "re-ranked, both directions merged",
    ]
    assert report["recall"] == report["stages"][-1]["recall"]
    # IMRAM adds up its steps: cosines among its scores fall behind, and that is said.
    assert bool(report["rerank"]["warning"]) == (merge == "published")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "re-ranked, both directions merged" in page
    assert ("--merge order" in page) == (merge == "published")


def test_any_numbers_of_captions_are_re_ranked(world: Path, tmp_path: Path) -> None:
    data = Path(shutil.copytree(world / "data", tmp_path / "data"))
    names = (data / "test_ids.txt").read_text().split()
    counts = [7, 0, *[5] * 9, 6, 7, 5]
    lines = [name for name, count in zip(names, counts, strict=True) for _ in range(count)]
    (data / "test_caps_image_ids.txt").write_text("\n".join(lines) + "\n")
    given = ("--data", data, "--json", "--output")
    plain = itr_deploy("evaluate", world / "bundle", *given, tmp_path / "plain")
    found = itr_deploy("evaluate", world / "bundle", *given, tmp_path / "out", "--rerank")
    assert found.code == 0, found.err
    stages = {stage["name"]: stage["recall"] for stage in found.json["stages"]}
    assert stages["matcher, every item"] == plain.json["recall"]
    assert found.json["recall"] == stages["re-ranked, both directions merged"]
    assert found.json["data"]["images_without_captions"] == 1


def test_one_direction_ranks_as_a_search_that_re_ranks(world: Path, tmp_path: Path) -> None:
    outcome = evaluate(world, tmp_path, "--merge", "order", "--json")
    assert outcome.code == 0, outcome.err
    retriever = Retriever.load(world / "bundle", world / "image", bank=world / "text")
    captions = (world / "data" / "test_caps.txt").read_text().splitlines()
    ids = (world / "data" / "test_ids.txt").read_text().split()
    found = retriever.search(captions, k=PICTURES, candidates=None, rerank=True)
    first = [hits[0].id == ids[number // 5] for number, hits in enumerate(found)]
    (one_way,) = (s for s in outcome.json["stages"] if "one direction" in s["name"])
    assert one_way["recall"]["text_to_image"]["r1"] == pytest.approx(100 * np.mean(first))


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (("--candidates", "3"), 2, "re-ranking take every pair"),
        (("--folds", "2"), 1, "7 images and 35 captions are ranked together"),
        (("--image-neighbours", "missing.npz"), 1, "missing.npz"),
        (
            (
                "--baseline",
                "torch",
                "--checkpoint",
                FULL.checkpoint,
                "--checkpoint",
                FULL.checkpoint,
            ),
            1,
            "not a LeaPRR checkpoint: it has no model_t2i.",
        ),
    ],
)
def test_an_evaluation_that_cannot_re_rank_is_one_line(
    world: Path, tmp_path: Path, options: tuple, code: int, said: str
) -> None:
    outcome = evaluate(world, tmp_path / "out", *options)
    assert outcome.code == code
    assert said in outcome.err.splitlines()[-1]
    assert not (tmp_path / "out").exists()


def test_a_bundle_without_a_re_ranker_is_not_evaluated_with_one(
    world: Path, tmp_path: Path
) -> None:
    data = ("--data", world / "data", "--output", tmp_path / "out", "--rerank")
    outcome = itr_deploy("evaluate", world / "base", *data)
    assert outcome.code == 1
    assert "has no re-ranker; add one with itr-deploy export leaprr" in outcome.err


def neighbours(path: Path, ids: list[str], count: int) -> Path:
    order = (np.arange(len(ids))[:, None] + np.arange(count)) % len(ids)
    similarities = np.linspace(1, 0.5, count, dtype=np.float32)[None].repeat(len(ids), axis=0)
    np.savez(path, ids=np.array(ids), neighbours=order, similarities=similarities)
    return path


@pytest.mark.parametrize(
    ("count", "named", "said"),
    [(3, PICTURES, "has 3 of the 14 images"), (12, PICTURES - 1, "no neighbour list for id")],
)
def test_neighbour_lists_that_do_not_serve_are_refused_before_anything_is_scored(
    world: Path, tmp_path: Path, count: int, named: int, said: str
) -> None:
    ids = (world / "data" / "test_ids.txt").read_text().split()[:named]
    path = neighbours(tmp_path / "images.npz", ids, count)
    outcome = evaluate(world, tmp_path / "out", "--image-neighbours", path)
    assert outcome.code == 1
    assert said in outcome.err.splitlines()[-1]
    assert not (tmp_path / "out").exists()


def test_neighbour_lists_stand_for_pooled_embeddings(world: Path, tmp_path: Path) -> None:
    ids = (world / "data" / "test_ids.txt").read_text().split()
    path = neighbours(tmp_path / "images.npz", ids, 12)
    outcome = evaluate(world, tmp_path / "out", "--image-neighbours", path, "--json")
    assert outcome.code == 0, outcome.err
    assert outcome.json["rerank"]["similarity_within"]["images"] == "neighbour lists"


def test_a_matchers_saved_scores_serve_with_a_re_ranker_too(world: Path, tmp_path: Path) -> None:
    data = ("--data", world / "data", "--output", tmp_path, "--json")
    assert itr_deploy("evaluate", world / "base", *data, "--save-scores").code == 0
    outcome = evaluate(world, tmp_path, "--force", "--json")
    assert outcome.code == 0, outcome.err
    assert outcome.json["run"]["pairs_scored"] == 0


def test_another_re_rankers_checkpoint_is_no_baseline(world: Path, tmp_path: Path) -> None:
    content = torch.load(SMALL.checkpoint, weights_only=True)
    torch.save({**content, "epoch": -1}, tmp_path / "other.pth")
    checkpoints = (FULL.checkpoint, tmp_path / "other.pth")
    given = [word for path in checkpoints for word in ("--checkpoint", path)]
    outcome = evaluate(world, tmp_path / "out", "--baseline", "torch", *given)
    assert outcome.code == 1
    assert "not the checkpoint of the re-ranker" in outcome.err.splitlines()[-1]


def test_every_stage_has_a_line_of_its_own_in_the_curves(world: Path, tmp_path: Path) -> None:
    assert evaluate(world, tmp_path).code == 0
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    drawn = set(re.findall(r'class="(line-\d)"', page))
    assert len(drawn) >= 4
    assert all(f".{name} {{ stroke: var(--s{name[-1]})" in page for name in drawn)


def test_merge_goes_with_rerank(world: Path, tmp_path: Path) -> None:
    data = ("--data", world / "data", "--output", tmp_path / "out", "--merge", "order")
    outcome = itr_deploy("evaluate", world / "bundle", *data)
    assert outcome.code == 2
    assert "give rerank=True (--rerank) with them" in outcome.err


def test_a_benchmark_has_re_ranking_among_its_stages(world: Path, tmp_path: Path) -> None:
    given = ("--gallery", world / "image", "--rerank", "--bank", world / "text")
    options = ("--rounds", 1, "--batch", 1, "--output", tmp_path / "out", "--json")
    outcome = itr_deploy("bench", world / "bundle", *given, *options)
    assert outcome.code == 0, outcome.err
    (entry,) = outcome.json["searches"]
    assert list(entry["milliseconds"])[-3:] == ["rerank", "rest", "total"]
    assert outcome.json["rerank"] is True


def test_a_re_ranked_bench_has_the_shortlist_of_a_re_ranked_search(
    world: Path, tmp_path: Path
) -> None:
    bundle = Path(shutil.copytree(world / "bundle", tmp_path / "bundle"))
    manifest = read_bundle(bundle).manifest
    assert manifest.reranker is not None
    reranker = manifest.reranker.model_copy(update={"neighbours": TOP + 2})
    write_manifest(bundle, manifest.model_copy(update={"reranker": reranker}))
    given = ("--gallery", world / "image", "--bank", world / "text", "--rerank", "-k", 1)
    options = ("--output", tmp_path / "out", "--batch", 1, "--rounds", 1, "--json")
    outcome = itr_deploy("bench", bundle, *given, *options)
    assert outcome.code == 0, outcome.err
    (entry,) = outcome.json["searches"]
    pipeline = manifest.pipeline
    assert entry["candidates"] == pipeline.width_for("text", TOP + 2) != pipeline.width("text")
