"""Arrays that grow behind views of them, pools of tensors, and user columns."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from itr_deploy.runtime.gallery.growing import Growing, capacity
from itr_deploy.runtime.gallery.user_columns import UserColumns


@pytest.mark.parametrize("row", [(), (3,), (5, 7)])
def test_a_view_stays_while_rows_are_written_behind_it(row: tuple[int, ...]) -> None:
    grown = Growing(row, np.float16, 3000)
    grown.part(0, 4)[...] = 1
    view = grown.first(4)
    grown.part(4, 9)[...] = 2
    assert (view == 1).all()
    assert grown.first(9).shape == (9, *row)
    assert np.shares_memory(view, grown.first(9))
    assert not grown.part(9, 3000).any()


def test_space_is_reserved_where_it_costs_nothing() -> None:
    assert capacity(1000, spare=True) > 1000
    assert capacity(1000, spare=False) == 1000


@given(st.lists(st.integers(1, 40), max_size=25))
def test_user_columns_are_few_tables_in_the_order_of_the_items(counts: list[int]) -> None:
    columns, total = UserColumns(), 0
    for count in counts:
        columns = columns.extended(pa.table({"n": list(range(total, total + count))}))
        total += count
    places = np.random.default_rng(0).permutation(total)
    assert [entry["n"] for entry in columns.describe(places)] == places.tolist()
    assert len(columns._parts) <= 11


def test_items_without_user_columns_have_empty_ones() -> None:
    columns = UserColumns().extended(pa.table({"n": [1, 2]}).select([]))
    assert columns.describe(np.array([1, 0, 5])) == ({}, {}, {})
