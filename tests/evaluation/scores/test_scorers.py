from __future__ import annotations

from pathlib import Path

import pytest

from itr_deploy import Matcher
from itr_deploy.errors import UsageError
from itr_deploy.evaluation.data.split import Split
from itr_deploy.evaluation.evaluate import evaluate
from itr_deploy.evaluation.options import Options
from tests.support import items


def test_steps_by_an_output_that_the_graphs_do_not_give_are_refused(
    matcher: Matcher, tmp_path: Path
) -> None:
    split = Split("test", items.images(3), items.names(3), items.captions(6), 2)
    with pytest.raises(UsageError, match="give scores, and no 'parts'"):
        evaluate(matcher, split, tmp_path / "out", Options(steps="parts"))
    assert not (tmp_path / "out").exists()
