"""The options of a family: which are refused, and which a manifest keeps."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import Field, ValidationError, model_validator

from itr_deploy.errors import InputError, UsageError
from itr_deploy.models.options import Directory, FamilyOptions, TextFile


class Toy(FamilyOptions):
    mode: Literal["slow", "quick"] = Field(default="slow", description="How.")
    share: float = Field(default=0.5, ge=0, lt=1, description="How much.")
    config: TextFile = Field(default="", description="What else.")
    place: Directory = Field(default=None, exclude=True, description="Where.")


def checked(**given: Any) -> Toy:
    return Toy.checked("toy", given)


def test_options_that_are_not_given_are_the_defaults() -> None:
    assert checked() == Toy()
    assert checked(config=None, place=None) == Toy()
    assert checked(config="", place="") == Toy()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"modes": "slow"}, ("toy has no option 'modes'", "mode, share, config, place")),
        ({"mode": "fast"}, ("mode='fast' cannot be used with toy", "'slow' or 'quick'")),
        ({"share": 1}, ("share=1 cannot be used with toy", "less than 1")),
        ({"share": -0.1}, ("share=-0.1", "greater than or equal to 0")),
        ({"share": float("nan")}, ("share=nan", "less than 1")),
        ({"share": "much"}, ("share='much'", "a valid number")),
        ({"config": 3}, ("config=3", "a valid string")),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_line(
    given: dict[str, Any], words: tuple[str, ...]
) -> None:
    with pytest.raises(UsageError) as caught:
        checked(**given)
    assert "\n" not in str(caught.value)
    for word in words:
        assert word in str(caught.value)


def test_a_family_without_options_says_so() -> None:
    with pytest.raises(UsageError, match="plain has no option 'mode'; it has none"):
        FamilyOptions.checked("plain", {"mode": "slow"})


def test_texts_of_a_command_line_are_taken() -> None:
    assert checked(share="0.25", mode="quick") == Toy(share=0.25, mode="quick")


@pytest.mark.parametrize("kind", [Path, str])
def test_a_file_is_given_by_its_path_and_kept_as_its_text(kind: type, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(b"{\r\n}")
    assert checked(config=kind(path)).model_dump()["config"] == "{\r\n}"


@pytest.mark.parametrize("content", [None, b"\xff\xfe"])
def test_a_file_that_cannot_be_read_is_named(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=r"config\.json: cannot be read as text"):
        checked(config=path)


def test_a_manifest_keeps_all_but_what_is_excluded(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text("text of the file")
    made = checked(config=path, place=tmp_path, share=0.25)
    kept = made.model_dump()
    assert kept == {"mode": "slow", "share": 0.25, "config": "text of the file"}
    read = Toy.of_manifest("toy", {"width": 3, **kept})
    assert read.model_dump() == kept
    assert read.place is None


def test_a_manifest_without_an_option_or_with_an_unknown_value_is_refused() -> None:
    kept = Toy().model_dump()
    with pytest.raises(KeyError, match="share"):
        Toy.of_manifest("toy", {"mode": "slow"})
    with pytest.raises(ValueError, match="mode='fast' cannot be used with toy"):
        Toy.of_manifest("toy", {**kept, "mode": "fast"})


def test_what_a_family_refuses_together_is_told() -> None:
    class Both(Toy):
        @model_validator(mode="after")
        def _quick_shares_nothing(self) -> Both:
            if self.mode == "quick" and self.share:
                raise ValueError("quick shares nothing")
            return self

    with pytest.raises(UsageError, match=r"cannot be used with toy: .*quick shares nothing"):
        Both.checked("toy", {"mode": "quick"})


def test_options_do_not_change() -> None:
    with pytest.raises(ValidationError):
        checked().mode = "quick"  # type: ignore[misc]
