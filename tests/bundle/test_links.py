from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from itr_deploy import Matcher
from itr_deploy.bundle.links import FOLLOW_LINKS
from itr_deploy.bundle.store import read_bundle
from itr_deploy.errors import BundleError
from tests.support.command import itr_deploy
from tests.support.golden import FULL


def linked(bundle: Path, snapshot: Path, blobs: Path) -> Path:
    """The bundle as a hub's cache keeps it: links to files that are called by number."""
    blobs.mkdir(parents=True)
    for number, path in enumerate(sorted(p for p in bundle.rglob("*") if p.is_file())):
        shutil.copy(path, blobs / str(number))
        link = snapshot / path.relative_to(bundle)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(blobs / str(number))
    return snapshot


def scores(bundle: Path) -> np.ndarray:
    return Matcher.load(bundle, threads=1).score(texts=["a dog"], images=FULL.regions[:2])


@pytest.mark.parametrize("below", ["", "imram/small"])
def test_a_snapshot_of_a_hub_scores_as_the_bundle(below: str, bundle: Path, tmp_path: Path) -> None:
    snapshot = tmp_path / "models--acme--imram" / "snapshots" / "0123abc" / below
    found = linked(bundle, snapshot, tmp_path / "models--acme--imram" / "blobs")
    np.testing.assert_array_equal(scores(found), scores(bundle))


def test_a_link_to_a_snapshot_of_a_hub_is_the_snapshot(bundle: Path, tmp_path: Path) -> None:
    snapshot = tmp_path / "models--acme--imram" / "snapshots" / "0123abc"
    linked(bundle, snapshot, tmp_path / "models--acme--imram" / "blobs")
    (tmp_path / "here").symlink_to(snapshot)
    np.testing.assert_array_equal(scores(tmp_path / "here"), scores(bundle))


def test_links_to_elsewhere_are_followed_only_where_that_is_allowed(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = linked(bundle, tmp_path / "bundle", tmp_path / "elsewhere")
    monkeypatch.setenv("HOME", str(tmp_path))
    for value in ("", "0", "false", str(tmp_path / "another")):
        monkeypatch.setenv(FOLLOW_LINKS, value)
        with pytest.raises(BundleError, match=r"leads out of the bundle; copy .* cp -rL, or set"):
            read_bundle(found)
    for value in ("1", "true", "Yes", str(tmp_path / "elsewhere"), "~/elsewhere"):
        monkeypatch.setenv(FOLLOW_LINKS, value)
        np.testing.assert_array_equal(scores(found), scores(bundle))


def test_the_command_line_follows_links_where_it_is_told_to(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(FOLLOW_LINKS, "")
    found = linked(bundle, tmp_path / "bundle", tmp_path / "elsewhere")
    refused = itr_deploy("inspect", found)
    assert refused.code == 1
    assert "(--follow-links)" in refused.error
    assert itr_deploy("inspect", found, "--follow-links").code == 0


def test_what_a_link_leads_to_is_checked_as_any_file(bundle: Path, tmp_path: Path) -> None:
    found = linked(bundle, tmp_path / "hub" / "snapshots" / "1", tmp_path / "hub" / "blobs")
    target = (found / "vocab.json").resolve()
    target.write_bytes(target.read_bytes() + b" ")
    with pytest.raises(BundleError, match="does not match its checksum"):
        read_bundle(found)
