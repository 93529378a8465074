"""export of what is only registered: the command line has no function for it."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import Field

from itr_deploy.bundle.store import read_bundle
from itr_deploy.models import registry
from itr_deploy.models.imram.options import ImramOptions
from itr_deploy.models.options import TextFile
from tests.support.command import itr_deploy
from tests.support.golden import TEXT
from tests.support.leaprr import SMALL
from tests.support.threads import one_torch_thread

FILES = ("--checkpoint", TEXT.checkpoint, "--vocab", TEXT.vocab)


@pytest.fixture(autouse=True)
def mine(monkeypatch: pytest.MonkeyPatch) -> None:
    """IMRAM under a name of its own, with an option of every kind."""
    imram, title = registry.family("imram"), "A matcher of my own (2026)"
    family = replace(imram, name="mine", title=title, options=Options, load=load)
    monkeypatch.setattr(registry, "FAMILIES", (*registry.FAMILIES, family))


class Options(ImramOptions):
    words: TextFile = Field(default="", description="A list of words.")
    share: float = Field(default=0.5, description="A share.")


def load(checkpoint: Path, options: Options) -> object:
    assert (options.words, options.share) == ("a dog\n", 0.25)
    return registry.family("imram").load(checkpoint, options)


def test_it_is_listed_and_its_help_tells_its_options() -> None:
    assert re.search(r"│ mine +A matcher of my own \(2026\)", itr_deploy("export", "--help").out)
    told = " ".join(itr_deploy("export", "mine", "--help").out.split())
    assert "A matcher of my own (2026)" in told
    assert "--option precompute=full|none: What is computed once an item" in told
    assert "--option words=VALUE: A list of words." in told


def test_it_becomes_a_bundle_with_its_options(tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("a dog\n")
    given = ("precompute=none", "step-scores=yes", f"words={tmp_path / 'words.txt'}", "share=0.25")
    options = [word for option in given for word in ("--option", option)]
    with one_torch_thread():
        outcome = itr_deploy(
            "export", "mine", *FILES, "--output", tmp_path / "bundle", "--json", *options
        )
    assert outcome.code == 0, outcome.err
    manifest = read_bundle(tmp_path / "bundle").manifest
    assert manifest.family == "mine"
    assert manifest.options.items() >= {"precompute": "none", "step_scores": "yes"}.items()


@pytest.mark.parametrize(
    ("option", "code", "said"),
    [
        ("precompute", 2, "--option precompute: must be NAME=VALUE"),
        (
            "precompute=some",
            2,
            "precompute='some' cannot be used with mine: input should be 'full'",
        ),
        ("share=much", 2, "share='much' cannot be used with mine: input should be a valid number"),
        ("words=/nowhere", 1, "/nowhere: cannot be read as text"),
        ("opset=18", 2, "mine has no option 'opset'; it has precompute, step_scores, words, share"),
        ("colour=red", 2, "mine has no option 'colour'; it has precompute, step_scores, words, sh"),
    ],
)
def test_an_option_that_makes_no_sense_is_one_line(
    option: str, code: int, said: str, tmp_path: Path
) -> None:
    outcome = itr_deploy("export", "mine", *FILES, "--output", tmp_path / "b", "--option", option)
    assert outcome.code == code
    assert said in outcome.error
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def my_reranker(monkeypatch: pytest.MonkeyPatch) -> None:
    """LeaPRR under a name of its own, with other defaults."""
    leaprr = registry.reranker_family("leaprr")
    own = replace(leaprr, name="order", title="A re-ranker of my own (2026)", heads=4, rows=(5, 6))
    monkeypatch.setattr(registry, "RERANKERS", (*registry.RERANKERS, own))


@pytest.mark.usefixtures("my_reranker")
def test_a_re_ranker_is_listed_and_has_its_own_defaults() -> None:
    assert re.search(r"│ order +A re-ranker of my own \(2026\)", itr_deploy("export", "--help").out)
    told = " ".join(itr_deploy("export", "order", "--help").out.split())
    for option, default in (("heads", 4), ("rows-text-to-image", 5), ("rows-image-to-text", 6)):
        assert re.search(rf"--{option} .*?\[default: {default}\]", told), option


@pytest.mark.usefixtures("my_reranker")
def test_a_re_ranker_is_added_to_a_bundle(bundle: Path, tmp_path: Path) -> None:
    family, *words = SMALL.words(bundle)
    with one_torch_thread():
        outcome = itr_deploy("export", "order", *words, "--output", tmp_path / "bundle")
    assert family == "leaprr"
    assert outcome.code == 0, outcome.err
    reranker = read_bundle(tmp_path / "bundle").manifest.reranker
    assert (reranker.family, reranker.heads) == ("order", 4)


def test_the_old_spelling_of_intra_similarity_still_works_and_tells_the_new(tmp_path: Path) -> None:
    files = ("--checkpoint", tmp_path / "c", "--base", tmp_path / "b", "--output", tmp_path / "o")
    outcome = itr_deploy("export", "leaprr", *files, "--pi", "lists")
    assert outcome.code == 1
    assert "warning: --pi is deprecated; use --intra-similarity lists" in outcome.err
    told = itr_deploy("export", "leaprr", "--help").out
    assert "--intra-similarity" in told
    assert "--pi" not in told
