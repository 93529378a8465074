from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from itr_deploy.runtime.encoding.encoded import (
    Block,
    Encoded,
    divided,
    length_groups,
)

LENGTHS = st.lists(st.integers(1, 256), min_size=0, max_size=40)


def encoded(lengths: list[int]) -> Encoded:
    """Texts whose every value is their own number."""
    counts = np.array(lengths, np.int64)
    blocks = []
    for rows in length_groups(counts):
        words = np.broadcast_to(
            rows[:, None, None].astype(np.float32), (len(rows), int(counts[rows].max()), 2)
        )
        blocks.append(Block(rows, {"words": words}, counts[rows]))
    return Encoded("text", np.arange(len(counts), dtype=np.float32)[:, None], tuple(blocks), "")


def values(items: Encoded) -> list[tuple[float, float, int]]:
    """Embedding, stored value and length of every item, in order."""
    found: list[tuple[float, float, int]] = [(-1, -1, -1)] * len(items)
    for block in items.blocks:
        for place, row in enumerate(block.rows):
            word = float(block.tensors["words"][place, 0, 0])
            found[row] = float(items.embedding[row, 0]), word, int(block.lengths[place])
    return found


@given(lengths=LENGTHS)
def test_groups_hold_every_text_once_and_none_is_much_padded(lengths: list[int]) -> None:
    counts = np.array(lengths, np.int64)
    groups = length_groups(counts)
    assert sorted(np.concatenate([*groups, np.empty(0, np.int64)]).tolist()) == [
        *range(len(counts))
    ]
    for group in groups:
        assert counts[group].min() * 8 >= counts[group].max() * 7 - 8


@given(lengths=LENGTHS, others=LENGTHS)
def test_texts_of_one_group_stay_together_whatever_else_there_is(
    lengths: list[int], others: list[int]
) -> None:
    def partners(counts: list[int]) -> dict[int, set[int]]:
        array = np.array(counts, np.int64)
        return {
            length: set(array[g].tolist())
            for g in length_groups(array)
            for length in array[g].tolist()
        }

    alone, mixed = partners(lengths), partners(lengths + others)
    for length, group in alone.items():
        assert group <= mixed[length]
        assert mixed[length] & set(lengths) == group


def test_groups_come_shortest_first() -> None:
    groups = length_groups(np.array([50, 3, 20, 3]))
    assert [group.tolist() for group in groups] == [[1, 3], [2], [0]]


@given(data=st.data(), lengths=LENGTHS.filter(bool))
def test_taken_items_are_those_of_the_rows_in_their_order(
    data: st.DataObject, lengths: list[int]
) -> None:
    whole = encoded(lengths)
    rows = data.draw(st.lists(st.integers(0, len(lengths) - 1), max_size=20))
    taken = whole.take(np.array(rows, np.int64))
    everything = values(whole)
    assert values(taken) == [everything[row] for row in rows]


@given(lengths=LENGTHS.filter(bool), start=st.integers(-5, 45), stop=st.integers(-5, 45))
def test_a_slice_takes_what_it_takes_of_a_list(lengths: list[int], start: int, stop: int) -> None:
    whole = encoded(lengths)
    assert values(whole.take(slice(start, stop))) == values(whole)[start:stop]


@given(lengths=LENGTHS)
def test_places_lead_to_every_item(lengths: list[int]) -> None:
    items = encoded(lengths)
    block_of, local_of = items.places
    for row, (block, local) in enumerate(zip(block_of, local_of, strict=True)):
        assert items.blocks[block].rows[local] == row


def test_items_without_positions_count_as_one_position() -> None:
    vectors = Block(np.arange(2), {"vector": np.ones((2, 7), np.float32)})
    assert vectors.positions == 1
    assert vectors.stored_as("int8").positions == 1
    words = Block(np.arange(2), {"words": np.ones((2, 5, 7)), "vector": np.ones((2, 7))})
    assert words.positions == 5


@given(lengths=LENGTHS, most=st.integers(1, 9))
def test_divided_items_are_the_same_in_blocks_of_no_more(lengths: list[int], most: int) -> None:
    items = encoded(lengths)
    found = divided(items, most)
    assert values(found) == values(items)
    assert all(len(block.rows) <= most for block in found.blocks)
    assert divided(items, 40) is items


def test_encoded_items_and_blocks_are_equal_to_themselves_alone() -> None:
    one, other = encoded([3, 5, 5]), encoded([3, 5, 5])
    for own, alike in ((one, other), (one.blocks[0], other.blocks[0])):
        assert own == own
        assert own != alike
        assert len({own, own, alike}) == 2
