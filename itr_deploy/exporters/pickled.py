"""Reading a pickled vocabulary without unpickling it: nothing named in the file is run or imported.

The published programs of VSRN and others pickle one object of their class `Vocabulary`. Its opcodes
are read one by one, and only those that make dictionaries, strings and integers are known here.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable, Iterator
from typing import Any

MOST_BYTES = 4 << 20
"""Ten times a published vocabulary of 10,000 words; anything this large is read in seconds."""

LARGEST_NUMBER = 1 << 53

CLASSES = ("__main__ Vocabulary", "vocab Vocabulary")
"""What the object's class may be called, as the opcode names it."""

ATTRIBUTES = ("word2idx", "idx2word")
"""The object's dictionaries that number words."""

INTEGERS = frozenset({"INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4"})
TEXTS = frozenset({"UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"})
BYTE_STRINGS = frozenset({"STRING", "BINSTRING", "SHORT_BINSTRING"})
PUTS = frozenset({"PUT", "BINPUT", "LONG_BINPUT"})
GETS = frozenset({"GET", "BINGET", "LONG_BINGET"})
NOTHING = frozenset({"PROTO", "FRAME"})

_MARK = object()
_CLASS = object()


class _Object:
    """An object of the class, of which only the attributes are kept."""

    def __init__(self) -> None:
        self.attributes: dict[Any, Any] = {}


def pickled_vocabulary(content: bytes) -> dict[str, Any]:
    """What the same vocabulary would be in JSON.

    Args:
        content: The pickle of a `Vocabulary`, or of a dictionary of words or of numbers, in any
            protocol from 2 on.

    Returns:
        ``word2idx`` and ``idx2word`` of a `Vocabulary`, or else the dictionary; keys are strings.

    Raises:
        ValueError: It is damaged or larger than `MOST_BYTES`, or has anything else in it; the
            message says what.
    """
    if len(content) > MOST_BYTES:
        raise ValueError(f"it has {len(content):,} bytes, more than {MOST_BYTES:,}")
    try:
        found = _Reader().read(content)
    except (IndexError, KeyError, OverflowError, UnicodeError) as error:
        raise ValueError("it is cut or damaged") from error
    if not isinstance(found, _Object):
        return _flat(found)
    kept = {name: _flat(found.attributes[name]) for name in ATTRIBUTES if name in found.attributes}
    if not kept:
        raise ValueError("its object has neither word2idx nor idx2word")
    return kept


def _flat(found: Any) -> dict[str, Any]:
    """A dictionary without others in it, its keys as in JSON."""
    if not isinstance(found, dict):
        raise ValueError("it has something else in the place of a dictionary")
    if any(isinstance(value, dict) for value in found.values()):
        raise ValueError("it has dictionaries inside dictionaries")
    return {str(key): value for key, value in found.items()}


class _Reader:
    """A stack and what was put aside, as of the machine that a pickle is a program for."""

    def __init__(self) -> None:
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}
        self._known: dict[str, Callable[[], None]] = {
            "MARK": lambda: self._stack.append(_MARK),
            "EMPTY_DICT": lambda: self._stack.append({}),
            "EMPTY_TUPLE": lambda: self._stack.append(()),
            "MEMOIZE": lambda: self._put(len(self._memo)),
            "STACK_GLOBAL": self._named_by_stack,
            "NEWOBJ": self._new,
            "BUILD": self._build,
            "DICT": self._dictionary,
            "SETITEM": lambda: self._set(self._stack.pop(-2), self._stack.pop()),
            "SETITEMS": lambda: self._set(*self._above_mark()),
        }

    def read(self, content: bytes) -> Any:
        """The object that a pickle makes."""
        for opcode, argument in _opcodes(content):
            if opcode == "STOP":
                return self._stack.pop()
            self._step(opcode, argument)
        raise IndexError

    def _step(self, opcode: str, argument: Any) -> None:
        if opcode in self._known:
            self._known[opcode]()
        elif opcode in TEXTS:
            self._stack.append(argument)
        elif opcode in INTEGERS:
            self._stack.append(_integer(argument))
        elif opcode in BYTE_STRINGS:  # read as Latin-1
            self._stack.append(argument.encode("latin-1").decode("utf-8"))
        elif opcode in PUTS:
            self._put(argument)
        elif opcode in GETS:
            self._stack.append(self._memo[argument])
        elif opcode == "GLOBAL":
            self._class(argument)
        elif opcode not in NOTHING:
            raise ValueError(f"it has the opcode {opcode}")

    def _put(self, place: int) -> None:
        self._memo[place] = self._stack[-1]

    def _class(self, name: str) -> None:
        if name not in CLASSES:
            raise ValueError(f"it names {name.replace(' ', '.')!a:.60}")
        self._stack.append(_CLASS)

    def _named_by_stack(self) -> None:
        name, module = self._stack.pop(), self._stack.pop()
        self._class(f"{module} {name}")

    def _new(self) -> None:
        arguments, kind = self._stack.pop(), self._stack.pop()
        if kind is not _CLASS or arguments != ():
            raise ValueError("it makes an object in an unknown way")
        self._stack.append(_Object())

    def _build(self) -> None:
        state, made = self._stack.pop(), self._stack[-1]
        if not isinstance(made, _Object) or not isinstance(state, dict):
            raise ValueError("it makes an object in an unknown way")
        made.attributes = state

    def _dictionary(self) -> None:
        items = self._above_mark()
        self._stack.append({})
        self._set(*items)

    def _above_mark(self) -> list[Any]:
        place = len(self._stack) - 1
        while self._stack[place] is not _MARK:
            place -= 1
            if place < 0:
                raise IndexError
        items = self._stack[place + 1 :]
        del self._stack[place:]
        return items

    def _set(self, *items: Any) -> None:
        target = self._stack[-1]
        if not isinstance(target, dict):
            raise ValueError("it has something else in the place of a dictionary")
        if len(items) % 2:
            raise IndexError
        for key, value in zip(items[::2], items[1::2], strict=True):
            if not isinstance(key, (str, int)) or not isinstance(value, (str, int, dict)):
                raise ValueError("it has more than dictionaries, strings and integers")
            target[key] = value


def _integer(value: Any) -> int:
    if type(value) is not int or abs(value) > LARGEST_NUMBER:
        raise ValueError("it has a number that is no word's")
    return value


def _opcodes(content: bytes) -> Iterator[tuple[str, Any]]:
    """Opcodes by name, each with its argument."""
    try:
        for opcode, argument, _ in pickletools.genops(content):
            yield opcode.name, argument
    except ValueError as error:
        raise IndexError from error
