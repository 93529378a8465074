from __future__ import annotations

from collections import namedtuple

import numpy as np
import pytest

from itr_deploy import Gallery, Matcher, Retriever
from itr_deploy.benchmarking import synthetic
from itr_deploy.benchmarking.random_items import RandomItems
from itr_deploy.benchmarking.synthetic import NoisyCopies, synthetic_gallery
from itr_deploy.errors import OutputError
from tests.support.items import images


@pytest.mark.parametrize("modality", ["image", "text"])
def test_a_gallery_larger_than_what_is_encoded_gives_hits(
    modality: str, matcher: Matcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(synthetic, "ENCODED", 16)
    items = RandomItems(matcher)
    with synthetic_gallery(matcher, modality, 150, items) as path:  # type: ignore[arg-type]
        gallery = Gallery.open(path, matcher)
        assert gallery.count() == 150
        retriever = Retriever(matcher, gallery)
        other = "text" if modality == "image" else "image"
        query = items.make(other, 1)
        found = retriever.search(**{"query" if other == "text" else "image": query}, k=12)
        assert len(found[0]) == len(set(found[0].ids)) == 12
        assert np.isfinite(found[0].scores).all()
    assert not path.exists()


def test_the_first_items_are_as_encoded_and_no_two_are_equal(matcher: Matcher) -> None:
    encoded = matcher.encode_images(images(10))
    copies = NoisyCopies(matcher, encoded, 35).encode(slice(0, 35))
    assert np.array_equal(copies.embedding[:10], encoded.embedding)
    assert len(np.unique(copies.embedding, axis=0)) == 35
    for name, tensor in encoded.blocks[0].tensors.items():
        made = copies.blocks[0].tensors[name]
        assert made.dtype == np.float32
        assert np.array_equal(made[:10], tensor)
        assert len(np.unique(made, axis=0)) == 35
        assert np.abs(made[10:20] - tensor).std() < 0.2 * tensor.std()


def test_a_disk_that_is_too_small_is_told_before_anything_is_written(
    matcher: Matcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")(10**9, 10**9, 0)
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage)
    opening = synthetic_gallery(matcher, "image", 10_000, RandomItems(matcher))
    with pytest.raises(OutputError, match=r"10,000 items takes .* 0\.0 GB free; .*TMPDIR"), opening:
        pass
