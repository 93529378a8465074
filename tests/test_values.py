"""Checks of arguments: what they take, what they return, and the one line on what they refuse."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from itr_deploy.errors import UsageError
from itr_deploy.values import (
    FLAG,
    FUNCTION,
    PATH,
    TEXT,
    Check,
    checked,
    choice,
    each,
    each_by_name,
    one_or_each,
    or_none,
    real,
    whole,
)

COLOUR = choice(Literal["red", "green", "blue"])
SHARE = real("a share above 0, of 1 at most", above=0, at_most=1)


@pytest.mark.parametrize(
    ("check", "given", "used"),
    [
        (COLOUR, "green", "green"),
        (whole(1), np.int64(1), 1),
        (whole(0, 5), 5, 5),
        (SHARE, 1, 1.0),
        (SHARE, np.float32(0.5), 0.5),
        (each(whole(1)), [1, 2], (1, 2)),
        (each(whole(1)), np.array([1, 2]), (1, 2)),
        (each(or_none(whole(1))), (None, 3), (None, 3)),
        (each(PATH), (Path(name) for name in "ab"), (Path("a"), Path("b"))),
        (one_or_each(TEXT), "ab", "ab"),
        (one_or_each(TEXT), ["ab"], ("ab",)),
        (each_by_name(whole(1)), {"axis": 2}, {"axis": 2}),
        (or_none(TEXT), None, None),
        (FLAG, False, False),
        (FLAG, np.bool_(True), True),
        (FUNCTION, print, print),
        (PATH, "a", Path("a")),
    ],
)
def test_what_a_check_takes_is_returned_in_pythons_own_types(
    check: Check, given: Any, used: Any
) -> None:
    found = check("name", given)
    assert found == used
    assert type(found) is type(used) or isinstance(found, np.bool_)


@pytest.mark.parametrize(
    ("check", "given", "said"),
    [
        (COLOUR, "x", "name='x' must be 'red', 'green' or 'blue'"),
        (COLOUR, ["red"], "name=['red'] must be 'red', 'green' or 'blue'"),
        (COLOUR, None, "name=None must be 'red', 'green' or 'blue'"),
        (choice(Literal["int8"]), "int4", "name='int4' must be 'int8'"),
        (whole(1), 0, "name=0 must be a whole number of at least 1"),
        (whole(1), 1.0, "name=1.0 must be a whole number of at least 1"),
        (whole(1), True, "name=True must be a whole number of at least 1"),
        (whole(1), "1", "name='1' must be a whole number of at least 1"),
        (whole(18, 22), 23, "name=23 must be a whole number from 18 to 22"),
        (SHARE, 0, "name=0 must be a share above 0, of 1 at most"),
        (SHARE, float("nan"), "name=nan must be a share above 0, of 1 at most"),
        (real("a number"), float("inf"), "name=inf must be a number"),
        (each(whole(1)), 3, "name=3 must be a list"),
        (each(PATH), "abc", "name='abc' must be a list"),
        (each(whole(1), least=1), [], "name=[] must be a list with at least 1 entry"),
        (each(whole(1)), [1, 0], "name[1]=0 must be a whole number of at least 1"),
        (one_or_each(TEXT), 5, "name=5 must be a string, or a list of such"),
        (one_or_each(TEXT), ["a", 5], "name[1]=5 must be a string"),
        (each_by_name(whole(1)), {"a": 0}, "name['a']=0 must be a whole number of at least 1"),
        (each_by_name(whole(1)), ["a=1"], "name=['a=1'] must be a dictionary by name"),
        (
            or_none(whole(1), "None for all"),
            0,
            "name=0 must be a whole number of at least 1, or No",
        ),
        (FLAG, "no", "name='no' must be True or False"),
        (FUNCTION, 5, "name=5 must be a function"),
        (PATH, None, "name=None must be a path"),
        (PATH, b"a", "name=b'a' must be a path"),
    ],
)
def test_what_a_check_refuses_is_told_with_its_value_and_what_it_must_be(
    check: Check, given: Any, said: str
) -> None:
    with pytest.raises(UsageError) as caught:
        check("name", given)
    assert said in str(caught.value)


class Rude:
    def __repr__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize("given", [np.zeros((99, 99)), "x" * 999, "a\nb", Rude(), [[1] * 99] * 99])
def test_a_message_is_one_short_line_whatever_the_value(given: object) -> None:
    with pytest.raises(UsageError) as caught:
        whole(1)("name", given)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 130


@checked(count=whole(1), name=TEXT, sizes=each(whole(1)))
def function(count: int, *sizes: int, name: str | None = None, other: Any = 0) -> tuple[Any, ...]:
    """What is asked."""
    return count, sizes, name, other


def test_a_checked_function_gets_the_values_and_keeps_its_signature() -> None:
    assert function(np.int64(1), 2, 3, other="x") == (1, (2, 3), None, "x")
    assert function(1, name=None) == (1, (), None, 0)
    assert list(inspect.signature(function).parameters) == ["count", "sizes", "name", "other"]
    assert function.__doc__ == "What is asked."


@pytest.mark.parametrize(
    ("given", "named", "said"),
    [
        ((0,), {}, "count=0 must be"),
        ((1, 0), {}, r"sizes\[0\]=0 must be"),
        ((1,), {"name": 5}, "name=5 must be a string, or None"),
    ],
)
def test_a_checked_function_refuses_wrong_values(given: Any, named: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        function(*given, **named)


def test_a_call_that_does_not_fit_the_function_is_pythons_own_error() -> None:
    with pytest.raises(TypeError, match=r"function\(\) got an unexpected keyword argument 'nme'"):
        function(1, nme="x")  # type: ignore[call-arg]
    with pytest.raises(TypeError, match=r"function\(\) missing 1 required positional argument"):
        function()  # type: ignore[call-arg]
