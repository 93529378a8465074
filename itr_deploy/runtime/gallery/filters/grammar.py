"""The grammar of filters, and its LALR parser, which does not recurse: no input is too deep."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from lark import Lark, Token, Transformer, UnexpectedInput, UnexpectedToken, v_args
from lark.exceptions import VisitError

from itr_deploy.runtime.gallery.filters import conditions as c

LONGEST = 200_000
"""Characters of a filter: an IN list of some ten thousand ids."""
CONDITIONS = 500
DEPTH = 16
"""How deeply ANDs and ORs may lie in one another."""

GRAMMAR = r"""
?start: any
?any: all ("OR"i all)*
?all: unary ("AND"i unary)*
?unary: "NOT"i unary -> negated
      | "(" any ")"
      | predicate
?predicate: operand OPERATOR operand -> comparison
          | column [NOT] "BETWEEN"i value "AND"i value -> between
          | column [NOT] "IN"i "(" value ("," value)* ")" -> one_of
          | column [NOT] (LIKE | ILIKE) TEXT -> like
          | column "IS"i [NOT] (NULL | TRUE | FALSE) -> is_
          | operand -> truth
?operand: column | value
column: name ("." name)*
!name: NAME | QUOTED
value: TEXT | NUMBER | DATE | TIMESTAMP | TRUE | FALSE | NULL

OPERATOR: "<=" | ">=" | "<>" | "!=" | "==" | "=" | "<" | ">"
NOT: "NOT"i
LIKE: "LIKE"i
ILIKE: "ILIKE"i
NULL: "NULL"i
TRUE: "TRUE"i
FALSE: "FALSE"i
DATE.2: /DATE\s*'[^']*'/i
TIMESTAMP.2: /TIMESTAMP\s*'[^']*'/i
TEXT: /'(?:[^']|'')*'/
QUOTED: /`[^`]+`/
NUMBER: /[-+]?\s*(?:\d+(?:\.\d*)?|\.\d+)(?:e[-+]?\d+)?(?![\w.])/i
NAME: /[^\W\d]\w*/i
%ignore /\s+/
"""


class FilterError(ValueError):
    """What is wrong with a filter, to be said after the filter itself."""


def parsed(where: str) -> c.Condition:
    """Read a filter.

    Raises:
        FilterError: It is too long, is not of the grammar, or has too many or too deep conditions.
    """
    if len(where) > LONGEST:
        raise FilterError(f"it has {len(where)} characters, the most are {LONGEST}")
    if not where.strip():
        raise FilterError("it is empty; leave it out to search all items")
    if "\0" in where:
        raise FilterError("it has a NUL character in it")
    try:
        found: Any = _parser().parse(where)
    except UnexpectedInput as error:
        raise FilterError(_unexpected(where, error)) from error
    except VisitError as error:
        raise error.orig_exc from error
    return found  # type: ignore[no-any-return]


@lru_cache(maxsize=1)
def _parser() -> Lark:
    return Lark(GRAMMAR, parser="lalr", transformer=_Conditions(), maybe_placeholders=True)


@v_args(inline=True)
class _Conditions(Transformer[Token, c.Condition]):
    """Makes conditions from what the parser reduces, from the leaves up."""

    def any(self, *parts: c.Condition) -> c.Condition:
        return _joined("OR", parts)

    def all(self, *parts: c.Condition) -> c.Condition:
        return _joined("AND", parts)

    def negated(self, part: c.Condition) -> c.Condition:
        return part.part if isinstance(part, c.Not) else c.Not(part)

    def comparison(
        self, left: c.Column | c.Value, operator: Token, right: c.Column | c.Value
    ) -> c.Condition:
        return c.Comparison(left, _SPELLED.get(operator, str(operator)), right)

    def between(
        self, column: c.Column, negated: Token | None, low: c.Value, high: c.Value
    ) -> c.Condition:
        return _negated_if(negated, c.Between(column, low, high))

    def one_of(self, column: c.Column, negated: Token | None, *values: c.Value) -> c.Condition:
        return _negated_if(negated, c.OneOf(column, values))

    def like(
        self, column: c.Column, negated: Token | None, operator: Token, pattern: Token
    ) -> c.Condition:
        return _negated_if(negated, c.Like(column, _unquoted(pattern), operator.upper()))

    def is_(self, column: c.Column, negated: Token | None, what: Token) -> c.Condition:
        return _negated_if(negated, c.Is(column, what.upper()))

    def truth(self, of: c.Column | c.Value) -> c.Condition:
        return c.Truth(of)

    def name(self, name: Token) -> str:
        return name[1:-1] if name.type == "QUOTED" else str(name)

    def column(self, *names: str) -> c.Column:
        return c.Column(".".join(names))

    def value(self, token: Token) -> c.Value:
        if token.type in ("DATE", "TIMESTAMP"):
            return c.Value(token.type.lower(), token[token.index("'") + 1 : -1])
        if token.type == "TEXT":
            return c.Value("text", _unquoted(token))
        if token.type == "NUMBER":
            return c.Value("number", re.sub(r"\s", "", token))
        return c.Value("null" if token.type == "NULL" else "boolean", token.upper())


_SPELLED = {"==": "=", "!=": "<>"}


def _joined(operator: str, parts: tuple[c.Condition, ...]) -> c.Condition:
    """Conditions joined, those of the same operator in one list however they were bracketed."""
    flat: list[c.Condition] = []
    for part in parts:
        same = isinstance(part, c.Joined) and part.operator == operator
        flat += part.parts if same else [part]  # type: ignore[union-attr]
    deep = 1 + max(c.depth(part) for part in flat)
    leaves = sum(c.count(part) for part in flat)
    if deep > DEPTH:
        raise FilterError(f"its conditions lie more than {DEPTH} deep in one another")
    if leaves > CONDITIONS:
        raise FilterError(
            f"it has more than {CONDITIONS} conditions; IN (...) takes many values in one"
        )
    return c.Joined(operator, tuple(flat), deep, leaves)


def _negated_if(negated: Token | None, condition: c.Leaf) -> c.Condition:
    return condition if negated is None else c.Not(condition)


def _unquoted(text: str) -> str:
    return text[1:-1].replace("''", "'")


def _unexpected(where: str, error: UnexpectedInput) -> str:
    """What is not of the grammar, by name where it has one."""
    place = error.pos_in_stream
    if isinstance(error, UnexpectedToken) and error.token.type == "$END":
        return "it ends in the middle of a condition"
    assert place is not None
    rest = where[place:]
    before = re.search(r"([^\W\d]\w*)\s*$", where[max(0, place - 80) : place])
    name = before[1] if before is not None else ""
    if rest[0] == "(" and name and name.upper() not in _BEFORE_BRACKETS:
        return f"{name[:40]}(...) is a function, which filters do not have"
    if rest[0] == "'":
        closed = rest.count("'") > 1
        what = "a text where none belongs" if closed else "a text that is not closed"
        return f"at character {place + 1} is {what}"
    if rest[0] == '"':
        return "it has a double quote: texts stand in '...', names of columns in `...`"
    if rest[0] in "+-*/%|":
        return f"at character {place + 1} is {rest[0]!r}: filters do not calculate"
    word = re.match(r"\w+|.", rest, re.DOTALL)
    assert word is not None
    return f"at character {place + 1} is {word[0][:40]!r}, which does not belong there"


_BEFORE_BRACKETS = {"AND", "OR", "NOT", "IN", "LIKE", "ILIKE", "IS", "BETWEEN", "NULL"}
