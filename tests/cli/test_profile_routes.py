"""profile-routes, and export --prune-routes with the profile it wrote."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from itr_deploy.bundle.store import read_bundle
from itr_deploy.runtime import Matcher
from tests.support.command import Outcome, itr_deploy
from tests.support.dime import T2I
from tests.support.files import tree


class World(NamedTuple):
    """Golden images and captions as a split, a bundle that tells its gates, and its profile."""

    data: Path
    bundle: Path
    profile: Path
    outcome: Outcome


def write_split(directory: Path, images: int = 6) -> None:
    directory.mkdir()
    regions = T2I.images[:images]
    np.save(directory / "dev_ims.npy", regions)
    lines = [T2I.captions[n % len(T2I.captions)] for n in range(2 * len(regions))]
    (directory / "dev_caps.txt").write_text("\n".join(lines) + "\n")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    root = tmp_path_factory.mktemp("routes")
    write_split(root / "data")
    made = T2I.export(root / "bundle", "--gates", "yes")
    assert made.code == 0, made.err
    profile = root / "routes.json"
    outcome = itr_deploy(
        "profile-routes", root / "bundle", "--data", root / "data", "--output", profile
    )
    assert outcome.code == 0, outcome.err
    return World(root / "data", root / "bundle", profile, outcome)


@pytest.mark.slow
class TestOnARealBundle:
    def test_the_profile_is_a_table_a_file_and_a_picture(self, world: World) -> None:
        assert "layer1.glgc" in world.outcome.out
        assert "never used" in world.outcome.out
        content = json.loads(world.profile.read_text())
        assert len(content["routes"]) == 36
        assert content["evidence"]["captions"] == 2 * content["evidence"]["images"]
        assert world.profile.with_suffix(".svg").read_text().startswith("<svg")

    def test_the_counts_do_not_depend_on_the_tiles(self, world: World, tmp_path: Path) -> None:
        from itr_deploy.evaluation.dataset import read_split
        from itr_deploy.evaluation.pairs import observe_pairs
        from itr_deploy.models.dime.counter import RouteCounter
        from itr_deploy.models.dime.profile import RouteProfile

        expected = RouteProfile.parse(world.profile.read_text())
        matcher, counter = Matcher.load(world.bundle, memory_budget=1 << 20), RouteCounter()
        observe_pairs(matcher, read_split(world.data, "dev"), counter.add)
        found = counter.profile(expected.evidence, expected.data)
        assert found.pairs == expected.pairs
        for mine, theirs in zip(found.routes, expected.routes, strict=True):
            assert mine.share == pytest.approx(theirs.share, abs=1e-6)

    def test_pruning_at_0_keeps_every_score_and_says_what_it_left_out(
        self, world: World, tmp_path: Path
    ) -> None:
        made = T2I.export(tmp_path / "pruned", "--prune-routes", world.profile, "--json")
        assert made.code == 0, made.err
        names = [entry["name"] for entry in made.json["outputs"]]
        assert "dev split before pruning" in names
        for change in made.json["changes"]:
            assert change["same_order"] == 1.0
            assert change["before"] == change["after"]
        pruning = read_bundle(tmp_path / "pruned").manifest.pruning
        assert pruning is not None
        assert set(pruning.removed) == {"layer2.glgc", "layer2.imrc"}
        assert str(world.data) not in (tmp_path / "pruned" / "manifest.json").read_text()
        matcher = Matcher.load(tmp_path / "pruned")
        scores = matcher.score(texts=T2I.texts, images=T2I.images)
        np.testing.assert_allclose(scores, T2I.expected["scores"], atol=1e-4)
        again = itr_deploy("verify", tmp_path / "pruned", "--checkpoint", T2I.checkpoint)
        assert again.code == 0, again.err

    def test_above_0_the_changes_are_reported(self, world: World, tmp_path: Path) -> None:
        options = ("--prune-routes", world.profile, "--threshold", "0.4", "--json")
        made = T2I.export(tmp_path / "pruned", *options)
        assert made.code == 0, made.err
        assert len(made.json["changes"]) == 2
        assert min(change["same_order"] for change in made.json["changes"]) < 1
        assert "dev split before pruning" not in [e["name"] for e in made.json["outputs"]]

    def test_data_that_changed_since_is_refused_and_data_that_moved_is_found(
        self, world: World, tmp_path: Path
    ) -> None:
        options = ("--prune-routes", world.profile, "--profiled-data")
        write_split(tmp_path / "other", images=4)
        changed = T2I.export(tmp_path / "pruned", *options, tmp_path / "other")
        assert changed.code == 1
        assert "is not the data of the route profile" in changed.error
        gone = T2I.export(tmp_path / "pruned", *options, tmp_path / "nowhere")
        assert gone.code == 1
        assert "--profiled-data" in gone.error
        shutil.copytree(world.data, tmp_path / "moved")
        assert not (tmp_path / "pruned").exists()
        assert T2I.export(tmp_path / "pruned", *options, tmp_path / "moved").code == 0

    def test_a_bundle_that_does_not_tell_its_gates_is_refused(
        self, world: World, tmp_path: Path
    ) -> None:
        assert T2I.export(tmp_path / "plain").code == 0
        outcome = itr_deploy("profile-routes", tmp_path / "plain", "--data", world.data)
        assert outcome.code == 1
        assert "--gates yes" in outcome.error

    def test_an_existing_profile_stays_without_force(self, world: World) -> None:
        before = tree(world.profile.parent)
        options = ("--data", world.data, "--output", world.profile)
        outcome = itr_deploy("profile-routes", world.bundle, *options)
        assert outcome.code == 1
        assert "--force" in outcome.error
        assert tree(world.profile.parent) == before
        assert itr_deploy("profile-routes", world.bundle, *options, "--force").code == 0


def test_a_family_without_routes_is_refused(bundle: Path, data: Path, tmp_path: Path) -> None:
    options = ("--data", data, "--split", "test", "--output", tmp_path / "routes.json")
    outcome = itr_deploy("profile-routes", bundle, *options)
    assert outcome.code == 1
    assert "imram" in outcome.error
    assert "dime" in outcome.error


def test_a_profile_may_not_have_the_pictures_name(tmp_path: Path) -> None:
    outcome = itr_deploy(
        *("profile-routes", tmp_path, "--data", tmp_path, "--output", tmp_path / "routes.svg")
    )
    assert outcome.code == 2
    assert "picture" in outcome.error
