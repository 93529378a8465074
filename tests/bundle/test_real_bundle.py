"""Damage to an exported bundle is detected by the public command."""

from __future__ import annotations

from pathlib import Path

import pytest

from itr_deploy.bundle.store import PARITY
from tests.support.command import itr_deploy
from tests.support.files import tree


def test_a_flipped_byte_in_any_file_ends_with_one_line_that_names_it(bundle_copy: Path) -> None:
    for name in tree(bundle_copy).keys() - {PARITY}:
        path = bundle_copy / name
        whole = path.read_bytes()
        middle = len(whole) // 2
        path.write_bytes(whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :])
        outcome = itr_deploy("inspect", bundle_copy)
        assert outcome.code == 1, name
        assert path.name in outcome.error
        path.write_bytes(whole)
    assert itr_deploy("inspect", bundle_copy).code == 0


def test_a_missing_file_ends_with_one_line_that_names_it(bundle_copy: Path) -> None:
    for name in tree(bundle_copy).keys() - {PARITY, "manifest.json"}:
        path = bundle_copy / name
        whole = path.read_bytes()
        path.unlink()
        outcome = itr_deploy("inspect", bundle_copy)
        assert outcome.code == 1
        assert f"{name} is missing" in outcome.error
        path.write_bytes(whole)


@pytest.mark.parametrize("content", ["", "{}", "nonsense", "[]"])
def test_a_damaged_parity_report_is_named(content: str, bundle_copy: Path) -> None:
    (bundle_copy / PARITY).write_text(content)
    outcome = itr_deploy("inspect", bundle_copy)
    assert outcome.code == 1
    assert PARITY in outcome.error


def test_a_bundle_without_a_parity_report_is_shown_as_not_measured(bundle_copy: Path) -> None:
    (bundle_copy / PARITY).unlink()
    assert itr_deploy("inspect", bundle_copy, "--json").json["parity"] == "not measured"
