"""`export` refuses what cannot be used before it does any work."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from itr_deploy import export
from itr_deploy.errors import InputError, UsageError
from tests.support.command import itr_deploy, python


def attempt(family: str, folder: Path, **options: Any) -> None:
    files = {"checkpoint": folder / "none.pth", "vocab": folder / "none.json"}
    export(family, **files, output=folder / "bundle", **options)


@pytest.mark.parametrize(
    ("family", "options", "words"),
    [
        ("imram", {"precompute": "some"}, "'full' or 'none'"),
        ("lhsc", {"text_padding": "none"}, "'true-length' or 'published'"),
        ("dime", {"threshold": 1.5}, "less than 1"),
        ("dime", {"threshold": 0.5}, "--prune-routes"),
        ("lhsc", {"gates": "yes"}, "lhsc has no option 'gates'; it has text_padding"),
        ("scan", {"gates": "yes"}, "scan has no option 'gates'; it has none"),
        (
            "dime",
            {"punkt": "punkt_tab.zip"},
            "punkt (--punkt) is for models",
        ),
        ("other", {}, "family='other' must be 'imram', 'lhsc', 'dime'"),
    ],
)
def test_an_option_that_cannot_be_used_is_refused_before_the_checkpoint_is_looked_for(
    family: str, options: dict[str, Any], words: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError) as caught:
        attempt(family, tmp_path, **options)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_file_of_an_option_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"absent\.json: cannot be read as text"):
        attempt("dime", tmp_path, bert_config=tmp_path / "absent.json")


def test_an_option_is_refused_without_loading_pytorch(tmp_path: Path) -> None:
    code = """
import sys
import itr_deploy
try:
    itr_deploy.export("imram", checkpoint="c", vocab="v", output="o", precompute="some")
except itr_deploy.UsageError as error:
    print(error)
print("torch" in sys.modules)
"""
    said, loaded = python(code).out.splitlines()
    assert "precompute='some' cannot be used with imram" in said
    assert loaded == "False"


def test_the_command_line_refuses_alike(tmp_path: Path) -> None:
    files = ("--checkpoint", "c", "--vocab", "v", "--output", tmp_path / "bundle")
    outcome = itr_deploy("export", "dime", *files, "--threshold", "1.5")
    assert outcome.code == 2
    assert "threshold" in outcome.err
    missing = itr_deploy("export", "dime", *files, "--bert-config", tmp_path / "absent.json")
    assert missing.code == 1
    assert "absent.json" in missing.error
