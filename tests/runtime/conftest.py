from __future__ import annotations

import numpy as np
import pytest

from itr_deploy import Gallery, Matcher
from tests.support.items import captions, images, names
from tests.support.retrieval import COUNT, columns


@pytest.fixture(scope="module")
def galleries(matcher: Matcher, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Gallery]:
    """Galleries of images and of texts; not to be changed."""
    root = tmp_path_factory.mktemp("galleries")
    made = {}
    for modality, items in (("image", images(COUNT)), ("text", captions(COUNT))):
        for storage in ("float16", "float32", "int8"):
            gallery = Gallery.create(root / f"{modality}-{storage}", matcher, modality, storage)
            gallery.add(names(100), items[:100], {k: v[:100] for k, v in columns().items()})
            gallery.add(names(COUNT)[100:], items[100:], {k: v[100:] for k, v in columns().items()})
            made[f"{modality}-{storage}"] = gallery
    return made


@pytest.fixture(scope="module")
def repeated(matcher: Matcher, tmp_path_factory: pytest.TempPathFactory) -> Gallery:
    """Twelve different images, each under ten ids, in no order."""
    root = tmp_path_factory.mktemp("repeated")
    gallery = Gallery.create(root, matcher)
    rng = np.random.default_rng(3)
    order = rng.permutation(120)
    ids = rng.permutation(names(120)).tolist()
    gallery.add(ids, images(12).repeat(10, axis=0)[order], {"image": (order // 10).tolist()})
    return gallery
