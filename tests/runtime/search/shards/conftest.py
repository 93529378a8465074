from __future__ import annotations

from pathlib import Path

import pytest

from itr_deploy import Gallery, Matcher, Shards
from tests.support.items import images, names
from tests.support.retrieval import COUNT, columns
from tests.support.shards import sharded


@pytest.fixture(scope="module")
def whole(matcher: Matcher, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A gallery of images; not to be changed."""
    path = tmp_path_factory.mktemp("whole") / "gallery"
    Gallery.create(path, matcher).add(names(COUNT), images(COUNT), columns())
    return path


@pytest.fixture(scope="module")
def four(whole: Path) -> Shards:
    """It in four shards; not to be changed."""
    return sharded(whole, whole.parent / "four", 4)
