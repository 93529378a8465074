from __future__ import annotations

import numpy as np
import pytest

from itr_deploy.runtime.products import of_one, product
from tests.support.command import python

SPINNING = """
import os, time
os.environ["OPENBLAS_NUM_THREADS"] = "4"
import numpy as np
from itr_deploy.runtime.products import product
rows = np.ones((5000, 256), np.float32)
product(rows[:1], rows)
before = time.process_time()
for _ in range(5):
    product(rows[:1], rows)
    time.sleep(0.05)
print(time.process_time() - before)
"""


@pytest.mark.parametrize("queries", [0, 1, 2, 5])
def test_it_is_every_query_with_every_row(queries: int) -> None:
    rng = np.random.default_rng(0)
    own = rng.standard_normal((queries, 24), dtype=np.float32)
    rows = rng.standard_normal((24, 40), dtype=np.float32).T
    np.testing.assert_allclose(product(own, rows), own @ rows.T, atol=1e-5)
    for query, found in zip(own, product(own, rows), strict=True):
        np.testing.assert_allclose(of_one(query, rows), found, atol=1e-5)


def test_equal_rows_have_equal_products_wherever_they_are() -> None:
    rng = np.random.default_rng(1)
    row, query = rng.standard_normal((2, 1023), dtype=np.float32)
    rows = np.repeat(row[None], 37, axis=0)
    assert len(set(of_one(query, rows).tolist())) == 1


def test_nothing_computes_after_the_product_of_one_query() -> None:
    outcome = python(SPINNING)
    assert outcome.code == 0, outcome.err
    assert float(outcome.out) < 0.04
