from __future__ import annotations

import numpy as np

from itr_deploy.evaluation.scores.combined import Mean, Sum

TERMS = [np.random.default_rng(n).standard_normal((4, 6)).astype(np.float32) for n in range(3)]


def test_sums_and_means_are_computed_as_they_are_read() -> None:
    part = slice(1, 3), slice(2, 6)
    assert Sum(TERMS).shape == Mean(TERMS).shape == (4, 6)
    np.testing.assert_allclose(Sum(TERMS)[part], sum(TERMS)[part], atol=1e-6)
    np.testing.assert_allclose(Mean(TERMS)[part], np.mean(TERMS, axis=0)[part], atol=1e-6)


def test_what_is_read_from_stays_as_it_was() -> None:
    before = [term.copy() for term in TERMS]
    read = Mean(TERMS)[slice(0, 4), slice(0, 6)]
    read += 1
    np.testing.assert_array_equal(TERMS, before)
