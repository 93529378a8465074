"""Checks of what a function is called with: one line on a wrong value, before any work.

A `Check` takes an argument's name and value and returns the value to use. `checked` puts checks on
a function's parameters:

    @checked(bundle=PATH, k=whole(1), storage=choice(StorageType), metadata=PATH)
    def index(bundle, *, k=10, storage="float16", metadata=None): ...
"""

from __future__ import annotations

import inspect
import math
import numbers
import operator
import os
import reprlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import wraps
from pathlib import Path
from typing import Any, NoReturn, ParamSpec, TypeVar, get_args

from itr_deploy.errors import UsageError
from itr_deploy.paths import StoreUrl, gallery_place, local_path

P = ParamSpec("P")
T = TypeVar("T")

SHOWN = 60
"""Most characters of a value in a message."""


class _RefusedError(Exception):
    """A value cannot be used."""


@dataclass(frozen=True)
class Check:
    """What an argument must be.

    Attributes:
        must_be: In words, for the message: "a whole number of at least 1".
        use: Returns the value to use, or raises `_RefusedError`.
        choices: The accepted strings, of a choice.
        at_least: Its smallest value, of a number.
        at_most: Its largest.
        none: What None means, in words, where it is accepted too.
    """

    must_be: str
    use: Callable[[str, Any], Any]
    choices: tuple[str, ...] = ()
    at_least: float | None = None
    at_most: float | None = None
    none: str = ""

    def __call__(self, name: str, value: Any) -> Any:
        """The value to use.

        Raises:
            UsageError: It is not what it must be.
        """
        if value is None and self.none:
            return None
        try:
            return self.use(name, value)
        except _RefusedError:
            words = f"{self.must_be}, or {self.none}" if self.none else self.must_be
            raise UsageError(f"{name}={shown(value)} must be {words}") from None


def checked(**checks: Check) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Check a function's arguments before it runs.

    An argument that is the parameter's default is not checked, so that a parameter whose default is
    None takes None. Parameters without a check take anything.

    Args:
        **checks: What the parameters must be, by their names.
    """

    def decorate(function: Callable[P, T]) -> Callable[P, T]:
        signature = inspect.signature(function)
        defaults = {name: entry.default for name, entry in signature.parameters.items()}
        own = {
            name: or_none(check) if defaults[name] is None and not check.none else check
            for name, check in checks.items()
        }

        @wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> T:
            try:
                bound = signature.bind(*args, **kwargs)
            except TypeError:
                return function(*args, **kwargs)  # Python's own message names the function
            for name, value in bound.arguments.items():
                if name in own and value is not defaults[name]:
                    bound.arguments[name] = own[name](name, value)
            return function(*bound.args, **bound.kwargs)

        call.checks = own  # type: ignore[attr-defined]  # a test compares them with the options
        return call

    return decorate


def choice(values: Any) -> Check:
    """One of the strings of a `Literal`."""
    return one_of(get_args(values))


def one_of(known: tuple[str, ...]) -> Check:
    """One of these strings."""

    def use(name: str, value: Any) -> str:
        if not isinstance(value, str) or value not in known:
            _refuse()
        return value

    quoted = [repr(entry) for entry in known]
    words = " or ".join(filter(None, (", ".join(quoted[:-1]), quoted[-1])))
    return Check(words, use, choices=known)


def whole(at_least: int, at_most: int | None = None) -> Check:
    """An integer, of Python or NumPy, between two bounds."""

    def use(name: str, value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, numbers.Integral):
            _refuse()
        number = operator.index(value)
        if number < at_least or (at_most is not None and number > at_most):
            _refuse()
        return number

    words = f"of at least {at_least}" if at_most is None else f"from {at_least} to {at_most}"
    return Check(f"a whole number {words}", use, at_least=at_least, at_most=at_most)


def real(
    must_be: str,
    *,
    above: float | None = None,
    at_least: float | None = None,
    at_most: float | None = None,
) -> Check:
    """A finite number between bounds, which ``must_be`` says in words."""

    def use(name: str, value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, numbers.Real):
            _refuse()
        number = float(value)
        if (
            not math.isfinite(number)
            or (above is not None and number <= above)
            or (at_least is not None and number < at_least)
            or (at_most is not None and number > at_most)
        ):
            _refuse()
        return number

    return Check(must_be, use, at_least=at_least, at_most=at_most)


def each(check: Check, *, least: int = 0) -> Check:
    """A list, or anything to loop over but a string, of at least ``least`` such values."""

    def use(name: str, value: Any) -> tuple[Any, ...]:
        if isinstance(value, (str, bytes, Mapping)) or not isinstance(value, Iterable):
            _refuse()
        entries = tuple(value)
        if len(entries) < least:
            _refuse()
        return tuple(check(f"{name}[{place}]", entry) for place, entry in enumerate(entries))

    some = f" with at least {least} entr{'y' if least == 1 else 'ies'}" if least else ""
    return Check(f"a list{some}", use)


def one_or_each(check: Check) -> Check:
    """One such value, or a list of them."""
    several = each(check)

    def use(name: str, value: Any) -> Any:
        try:
            return check.use(name, value)
        except _RefusedError:
            return several.use(name, value)

    return Check(f"{check.must_be}, or a list of such", use)


def each_by_name(check: Check) -> Check:
    """A dictionary from strings to such values."""

    def use(name: str, value: Any) -> dict[str, Any]:
        if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
            _refuse()
        return {key: check(f"{name}[{key!r}]", entry) for key, entry in value.items()}

    return Check("a dictionary by name", use)


def satisfying(must_be: str, test: Callable[[Any], bool]) -> Check:
    """A value that passes a test, which ``must_be`` says in words."""

    def use(name: str, value: Any) -> Any:
        if not test(value):
            _refuse()
        return value

    return Check(must_be, use)


def either(kind: type, check: Check) -> Check:
    """An object of a class, or such a value."""

    def use(name: str, value: Any) -> Any:
        return value if isinstance(value, kind) else check.use(name, value)

    return replace(check, must_be=f"{check.must_be} or a {kind.__name__}", use=use)


def or_none(check: Check, none: str = "None") -> Check:
    """Such a value, or None; ``none`` says in words what it means."""
    return replace(check, none=none)


def shown(value: Any) -> str:
    """A value for a message: one line, and short."""
    try:
        text = " ".join(reprlib.repr(value).split())
    except Exception:  # a class of the user's, whose repr may do anything
        text = f"<{type(value).__name__}>"
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."


def _path(name: str, value: Any) -> Path:
    return _address(name, value, local_path)  # type: ignore[no-any-return]


def _gallery(name: str, value: Any) -> Path | StoreUrl:
    return _address(name, value, gallery_place)  # type: ignore[no-any-return]


def _address(name: str, value: Any, meant: Callable[[Any], Any]) -> Any:
    if not isinstance(value, (str, os.PathLike)) or isinstance(os.fspath(value), bytes):
        _refuse()
    try:
        return meant(value)
    except UsageError as error:
        raise UsageError(f"{name}: {error}") from error


def in_no_store(name: str, value: Any, instead: str) -> Path:
    """The directory of a gallery, for what is not done in an object store.

    Raises:
        UsageError: It is in one; ``instead`` says what to do.
    """
    where = GALLERY(name, value)
    if isinstance(where, StoreUrl):
        raise UsageError(f"{name}={shown(str(where))}: is in an object store; {instead}")
    return where  # type: ignore[no-any-return]


def _refuse() -> NoReturn:
    raise _RefusedError


PATH = Check("a path", _path)
"""A local path; its value is a `Path`."""
GALLERY = Check("a path", _gallery)
"""A gallery's local path, or the URL of one in an object store: a `Path` or a `StoreUrl`."""
TEXT = satisfying("a string", lambda value: isinstance(value, str))
FLAG = satisfying("True or False", lambda value: type(value).__name__ in ("bool", "bool_"))
"""NumPy's bool too, which is a class of its own."""
FUNCTION = satisfying("a function", callable)
SECONDS = real("a number of seconds of at least 0", at_least=0.0)
