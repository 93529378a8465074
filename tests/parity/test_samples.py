from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from itr_deploy.models.contract import TrainedMatcher
from itr_deploy.models.imram.checkpoint import load
from itr_deploy.models.lhsc.checkpoint import load as load_lhsc
from itr_deploy.parity.samples import feature_scale, random_samples, rank_sample, tell_of_overflow
from tests.support.golden import FULL

SHAPES_LHSC = Path(__file__).parents[2] / "examples/shapes/checkpoints/lhsc/model_best.pth.tar"


@pytest.fixture(scope="module")
def trained() -> TrainedMatcher:
    return load(FULL.checkpoint)


def test_samples_cover_one_item_several_and_padding(trained: TrainedMatcher) -> None:
    samples = random_samples(trained)
    assert {sample.images["regions"].shape[:2] for sample in samples} >= {(1, 36), (2, 5)}
    padding = [s.token_ids.shape[1] - s.lengths.max() for s in samples]
    assert min(padding) == 0
    assert max(padding) > 0
    assert all(s.lengths.min() >= 1 for s in samples)


def test_ids_lie_in_the_vocabulary_and_padding_is_zero(trained: TrainedMatcher) -> None:
    for sample in [*random_samples(trained), rank_sample(trained)]:
        real = np.arange(sample.token_ids.shape[1]) < sample.lengths[:, None]
        assert (sample.token_ids[~real] == 0).all()
        assert sample.token_ids[real].min() >= 1
        assert sample.token_ids.max() < 40
        assert sample.images["regions"].dtype == np.float32


def test_the_same_seed_gives_the_same_samples(trained: TrainedMatcher) -> None:
    for one, other in zip(random_samples(trained), random_samples(trained), strict=True):
        np.testing.assert_array_equal(one.images["regions"], other.images["regions"])
        np.testing.assert_array_equal(one.token_ids, other.token_ids)


def test_a_model_that_fixes_regions_and_length_is_sampled_within_them() -> None:
    trained = load(FULL.checkpoint)
    trained.deployed.regions, trained.deployed.text_length = 9, 6
    for sample in random_samples(trained):
        assert sample.images["regions"].shape[1] == 9
        assert sample.token_ids.shape[1] == 6
        assert sample.lengths.max() <= 6


def test_features_are_smaller_where_the_model_would_overflow(trained: TrainedMatcher) -> None:
    """LHSC of the shapes world turns large features into NaN."""
    explosive = load_lhsc(SHAPES_LHSC)
    shape = (1, 36, explosive.image_dim)
    large = 4 * np.random.default_rng(0).standard_normal(shape, np.float32)
    assert feature_scale(trained) == 1
    assert not torch.isfinite(explosive.deployed.encode_images(torch.from_numpy(large))[0]).all()
    assert 0 < feature_scale(explosive) < 1
    for sample in [*random_samples(explosive), rank_sample(explosive)]:
        encoded = explosive.deployed.encode_images(torch.from_numpy(sample.images["regions"]))
        assert all(torch.isfinite(tensor).all() for tensor in encoded)


def test_the_gate_tells_of_features_on_which_the_model_overflows(
    trained: TrainedMatcher, caplog: pytest.LogCaptureFixture
) -> None:
    tell_of_overflow(trained)
    assert not caplog.records
    tell_of_overflow(load_lhsc(SHAPES_LHSC))
    (told,) = (record.getMessage() for record in caplog.records)
    assert told.startswith("the model overflows on features as large as ")
