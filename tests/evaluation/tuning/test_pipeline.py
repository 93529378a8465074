from __future__ import annotations

from pathlib import Path

import pytest

from itr_deploy.bundle.store import ENGINES, MANIFEST, is_only_a_bundle, read_bundle
from itr_deploy.errors import OutputError
from itr_deploy.evaluation.scores.fill import scoring_digest
from itr_deploy.evaluation.tuning import pipeline as defaults
from itr_deploy.evaluation.tuning.pipeline import write_defaults
from itr_deploy.evaluation.tuning.widths import Widths
from itr_deploy.runtime.projection import PLAIN, Projection, read_projection
from tests.support.files import tree
from tests.support.projection import WIDTHS, random_projection


def files(bundle: Path) -> set[str]:
    return {path.name for path in bundle.glob("coarse_projection-*")}


@pytest.mark.parametrize("text", [None, 30])
@pytest.mark.parametrize("image", [None, 30, 50])
def test_each_direction_keeps_its_own_prefilter(
    text: int | None, image: int | None, bundle_copy: Path
) -> None:
    widths = {"text": Widths(text, 8, 1.0), "image": Widths(image, 9, 1.0)}
    write_defaults(read_bundle(bundle_copy), widths, PLAIN)
    pipeline = read_bundle(bundle_copy).manifest.pipeline
    assert (pipeline.width("text"), pipeline.width("image")) == (8, 9)
    assert pipeline.prefilter_width("text") == text
    # One that is not wider than the matcher's shortlist is left out.
    assert pipeline.prefilter_width("image") == (image or (9 if text else None))


def test_a_projection_is_read_back_and_decides_no_score(bundle_copy: Path) -> None:
    before = read_bundle(bundle_copy)
    wanted = random_projection(bundle_copy)
    write_defaults(before, WIDTHS, wanted)
    after = read_bundle(bundle_copy)
    found = read_projection(after)
    for query, form in wanted.forms.items():
        assert (found.forms[query] == form).all()
    assert after.manifest.encoding_id == before.manifest.encoding_id
    assert scoring_digest(after.manifest) == scoring_digest(before.manifest)
    assert is_only_a_bundle(bundle_copy)


def test_the_next_one_replaces_it_and_none_removes_it(bundle_copy: Path) -> None:
    (bundle_copy / ENGINES).mkdir()
    (bundle_copy / ENGINES / "plan").write_bytes(b"an engine")
    before = tree(bundle_copy)
    for seed in (0, 1):
        write_defaults(read_bundle(bundle_copy), WIDTHS, random_projection(bundle_copy, seed))
        named = read_bundle(bundle_copy).manifest.pipeline.projections
        assert files(bundle_copy) == set(named.values())
    write_defaults(read_bundle(bundle_copy), WIDTHS, PLAIN)
    after = tree(bundle_copy)
    assert after.keys() == before.keys()
    assert {name for name in after if after[name] != before[name]} == {MANIFEST}


def test_a_direction_without_one_names_none(bundle_copy: Path) -> None:
    forms = random_projection(bundle_copy).forms
    write_defaults(read_bundle(bundle_copy), WIDTHS, Projection({"image": forms["image"]}))
    pipeline = read_bundle(bundle_copy).manifest.pipeline
    assert pipeline.text_query_projection is None
    assert list(pipeline.projections) == ["image"]


def test_when_the_manifest_cannot_be_written_the_bundle_is_as_it_was(
    bundle_copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_defaults(read_bundle(bundle_copy), WIDTHS, random_projection(bundle_copy))
    before = tree(bundle_copy)

    def refuse(*arguments: object) -> None:
        raise OutputError("full")

    monkeypatch.setattr(defaults, "write_manifest", refuse)
    with pytest.raises(OutputError, match="full"):
        write_defaults(read_bundle(bundle_copy), WIDTHS, random_projection(bundle_copy, 1))
    assert tree(bundle_copy) == before


def test_what_a_killed_run_left_does_no_harm_and_goes(bundle_copy: Path) -> None:
    stray = bundle_copy / "coarse_projection-text-0123456789ab.npy"
    stray.write_bytes(b"half")
    assert is_only_a_bundle(bundle_copy)
    read_bundle(bundle_copy)
    write_defaults(read_bundle(bundle_copy), WIDTHS, random_projection(bundle_copy))
    assert not stray.exists()
