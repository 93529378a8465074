"""The page's bar of a search's stages."""

from __future__ import annotations

import re
from importlib.resources import files
from typing import get_args

import pytest

from itr_deploy.runtime.timing import Stage

PAGE = files("itr_deploy.serving") / "page"


@pytest.mark.parametrize("stage", get_args(Stage))
def test_every_stage_of_a_search_is_shown_in_a_colour_of_its_own(stage: str) -> None:
    (shown,) = re.findall(r"STAGES = \[(.*?)\]", (PAGE / "timings.js").read_text())
    assert f'"{stage}"' in shown
    colours = dict(
        re.findall(r"\.stage\.(\w+) \{ --colour: (var\(--\w+\));", (PAGE / "hits.css").read_text())
    )
    assert list(colours.values()).count(colours[stage]) == 1
