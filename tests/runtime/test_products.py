from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from itr_deploy.runtime.products import of_one, product
from tests.support.command import python

BLAS_THREADS = """
import os, time
os.environ["OPENBLAS_NUM_THREADS"] = "4"
from pathlib import Path
import numpy as np
from itr_deploy.runtime.products import product

def run_times():
    time.sleep(0.1)  # a thread's time is counted when it stops
    tasks = [task for task in Path("/proc/self/task").iterdir() if task.name != str(os.getpid())]
    return {task.name: (task / "schedstat").read_text().split()[0] for task in tasks}

rows = np.ones((5000, 256), np.float32)
product(rows[:QUERIES], rows)
before = run_times()
for _ in range(5):
    product(rows[:QUERIES], rows)
print(run_times() == before)
"""


@pytest.mark.parametrize("queries", [0, 1, 2, 5])
def test_it_is_every_query_with_every_row(queries: int) -> None:
    rng = np.random.default_rng(0)
    own = rng.standard_normal((queries, 24), dtype=np.float32)
    rows = rng.standard_normal((24, 40), dtype=np.float32).T
    np.testing.assert_allclose(product(own, rows), own @ rows.T, atol=1e-5)
    for query, found in zip(own, product(own, rows), strict=True):
        np.testing.assert_allclose(of_one(query, rows), found, atol=1e-5)


@pytest.mark.parametrize("rows", [3, 128, 1000])
def test_products_in_pieces_are_the_whole_product(rows: int) -> None:
    rng = np.random.default_rng(2)
    queries = rng.standard_normal((3, 1024), dtype=np.float32)
    items = rng.standard_normal((rows, 1024), dtype=np.float32)
    np.testing.assert_allclose(product(queries, items), queries @ items.T, atol=1e-3)


def test_equal_rows_have_equal_products_wherever_they_are() -> None:
    rng = np.random.default_rng(1)
    row, query = rng.standard_normal((2, 1023), dtype=np.float32)
    rows = np.repeat(row[None], 37, axis=0)
    assert len(set(of_one(query, rows).tolist())) == 1


@pytest.mark.skipif(not Path("/proc/self/schedstat").exists(), reason="Linux counts run times")
@pytest.mark.parametrize("queries", [1, 2, 8])
def test_the_products_of_few_queries_wake_no_other_thread(queries: int) -> None:
    outcome = python(BLAS_THREADS.replace("QUERIES", str(queries)))
    assert outcome.code == 0, outcome.err
    assert outcome.out.strip() == "True"
