"""profile-routes, and export --prune-routes with the profile it wrote."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from itr_deploy import Matcher
from itr_deploy.bundle.store import read_bundle
from tests.support.command import Outcome, itr_deploy
from tests.support.dime import GATES, T2I
from tests.support.exports import Bundles, export
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
    lines = T2I.captions[: len(regions)]
    (directory / "dev_caps.txt").write_text("\n".join(lines) + "\n")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, bundles: Bundles) -> World:
    root = tmp_path_factory.mktemp("routes")
    write_split(root / "data")
    bundle = bundles.path(T2I, *GATES)
    profile = root / "routes.json"
    outcome = itr_deploy("profile-routes", bundle, "--data", root / "data", "--output", profile)
    assert outcome.code == 0, outcome.err
    return World(root / "data", bundle, profile, outcome)


class Pruned(NamedTuple):
    """A bundle pruned by that profile, its data somewhere else now, and what export reported."""

    bundle: Path
    report: dict[str, Any]


def prune(world: World, root: Path, threshold: float) -> Pruned:
    moved = shutil.copytree(world.data, root / "moved")
    options = ("--prune-routes", world.profile, "--profiled-data", moved, "--threshold", threshold)
    made = export(T2I, root / "bundle", *options, "--json")
    assert made.code == 0, made.err
    return Pruned(root / "bundle", made.json)


@pytest.fixture(scope="module")
def pruned(world: World, tmp_path_factory: pytest.TempPathFactory) -> Pruned:
    """At a threshold that leaves few routes, so that there is little to trace."""
    return prune(world, tmp_path_factory.mktemp("pruned"), 0.5)


@pytest.mark.full
class TestOnARealBundle:
    def test_the_profile_is_a_table_a_file_and_a_picture(self, world: World) -> None:
        assert "layer1.glgc" in world.outcome.out
        assert "never used" in world.outcome.out
        content = json.loads(world.profile.read_text())
        assert len(content["routes"]) == 36
        assert content["evidence"]["captions"] == content["evidence"]["images"]
        assert world.profile.with_suffix(".svg").read_text().startswith("<svg")

    def test_the_counts_do_not_depend_on_the_tiles(self, world: World, tmp_path: Path) -> None:
        from itr_deploy.evaluation.data.split import read_split
        from itr_deploy.evaluation.scores.pairs import observe_pairs
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
        pruned = prune(world, tmp_path, 0)
        names = [entry["name"] for entry in pruned.report["outputs"]]
        assert "dev split before pruning" in names
        for change in pruned.report["changes"]:
            assert change["same_order"] == 1.0
            assert change["before"] == change["after"]
        pruning = read_bundle(pruned.bundle).manifest.pruning
        assert pruning is not None
        assert set(pruning.removed) == {"layer2.glgc", "layer2.imrc"}
        scores = Matcher.load(pruned.bundle).score(texts=T2I.texts, images=T2I.images)
        np.testing.assert_allclose(scores, T2I.expected["scores"], atol=1e-4)

    def test_the_pruned_bundle_does_not_say_where_the_data_lies(
        self, world: World, pruned: Pruned
    ) -> None:
        assert str(world.data) not in (pruned.bundle / "manifest.json").read_text()

    def test_the_pruned_bundle_is_verified_with_its_checkpoint_alone(self, pruned: Pruned) -> None:
        again = itr_deploy("verify", pruned.bundle, "--checkpoint", T2I.checkpoint, "--json")
        assert again.code == 0, again.err
        assert "compared by export" in again.json["unchecked"][-1]

    def test_a_bundle_that_does_not_tell_its_gates_is_refused(
        self, world: World, pruned: Pruned
    ) -> None:
        outcome = itr_deploy("profile-routes", pruned.bundle, "--data", world.data)
        assert outcome.code == 1
        assert "--gates yes" in outcome.error

    def test_above_0_the_changes_are_reported(self, pruned: Pruned) -> None:
        assert len(pruned.report["changes"]) == 2
        assert min(change["same_order"] for change in pruned.report["changes"]) < 1
        assert "dev split before pruning" not in [e["name"] for e in pruned.report["outputs"]]
        assert read_bundle(pruned.bundle).manifest.pruning.threshold == 0.5

    def test_data_that_changed_since_or_is_not_there_is_refused(
        self, world: World, tmp_path: Path
    ) -> None:
        options = ("--prune-routes", world.profile, "--profiled-data")
        write_split(tmp_path / "other", images=4)
        changed = export(T2I, tmp_path / "pruned", *options, tmp_path / "other")
        assert changed.code == 1
        assert "is not the data of the route profile" in changed.error
        gone = export(T2I, tmp_path / "pruned", *options, tmp_path / "nowhere")
        assert gone.code == 1
        assert "--profiled-data" in gone.error
        assert not (tmp_path / "pruned").exists()

    def test_an_existing_profile_stays_without_force(self, world: World) -> None:
        before = tree(world.profile.parent)
        options = ("--data", world.data, "--output", world.profile)
        outcome = itr_deploy("profile-routes", world.bundle, *options)
        assert outcome.code == 1
        assert "--force" in outcome.error
        assert tree(world.profile.parent) == before
        assert itr_deploy("profile-routes", world.bundle, *options, "--force").code == 0


def test_a_family_without_routes_is_refused_before_data_is_read(
    bundle: Path, tmp_path: Path
) -> None:
    options = ("--data", tmp_path / "none", "--output", tmp_path / "routes.json")
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
