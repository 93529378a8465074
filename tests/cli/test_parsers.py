"""How the values of options are parsed."""

from __future__ import annotations

import pytest
import typer

from itr_deploy.cli.parsers import axis_sizes, byte_size, numbers, region_counts, words
from itr_deploy.errors import UsageError


@pytest.mark.parametrize(
    ("text", "size"),
    [("4GiB", 4 << 30), ("512 MiB", 512 << 20), ("1.5kib", 1536), ("2GB", 2 * 10**9), ("0", 0)],
)
def test_a_size_is_in_bytes(text: str, size: int) -> None:
    assert byte_size(text) == size


@pytest.mark.parametrize(
    "text", ["", "much", "4 parsecs", "-1", "4GiB,5GiB", "1 GiB each", "4GiB each", "GiB"]
)
def test_what_is_no_size_is_refused_with_the_value(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="is not a size; give for example") as caught:
        byte_size(text)
    assert repr(text) in str(caught.value)


def test_numbers_come_in_their_order_without_repetitions() -> None:
    assert numbers()("8, 1,8") == [8, 1]
    assert numbers(none="all")("all,3") == [None, 3]
    assert numbers()((1, 8)) == [1, 8]


@pytest.mark.parametrize("text", ["", "0", "1,,2", "1.5", "-1", "all", "²"])
def test_what_is_no_number_is_refused_with_the_value(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="is not a whole number from 1; give for exampl"):
        numbers()(text)


def test_words_may_be_repeated_or_have_commas_between() -> None:
    assert words(["a, b", "c,"]) == ["a", "b", "c"]
    assert words(None) == []
    assert axis_sizes("--max-shapes", ["a=1,b=2", "a=3"]) == {"a": 3, "b": 2}
    with pytest.raises(UsageError, match="--max-shapes a=x: must be axis=size"):
        axis_sizes("--max-shapes", ["a=x"])


@pytest.mark.parametrize(("given", "counts"), [("36", (36, 36)), ("10-100", (10, 100))])
def test_numbers_of_regions_are_one_or_the_least_and_the_most(
    given: str, counts: tuple[int, int]
) -> None:
    assert region_counts(given) == counts


@pytest.mark.parametrize("given", ["", "0", "-3", "36-", "100-10", "ten", "1-2-3", "٣", "9" * 30])
def test_other_numbers_of_regions_are_refused(given: str) -> None:
    with pytest.raises(typer.BadParameter, match="36 or 10-100"):
        region_counts(given)
