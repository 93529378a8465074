"""Filters: what passes means what it says, and nothing else reaches LanceDB."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from datetime import date, datetime
from pathlib import Path
from typing import Any

import lancedb
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from itr_deploy import Gallery, Matcher
from itr_deploy.errors import GalleryError, UsageError
from itr_deploy.runtime.gallery.filters import filter_sql
from tests.support.items import images, names

SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("word", pa.string()),
        pa.field("Odd name", pa.int8()),
        pa.field("year", pa.int64()),
        pa.field("price", pa.float64()),
        pa.field("weight", pa.float32()),
        pa.field("new", pa.bool_()),
        pa.field("date", pa.date32()),
        pa.field("seen", pa.timestamp("us")),
        pa.field("sold", pa.timestamp("ms", tz="UTC")),
        pa.field("tags", pa.list_(pa.string())),
    ]
)
COLUMNS = {field.name: field.type for field in SCHEMA}
WORDS = ["", "a", "ab", "B", "a%", "a_b", "it's", "x\\y", "狗", "aab", "\\", "a\nb", "É"]
KINDS = {
    "id": "text", "word": "text", "Odd name": "number", "year": "number", "price": "number",
    "weight": "number", "new": "boolean", "date": "date", "seen": "timestamp", "sold": "timestamp",
}  # fmt: skip
NUMBERS = {
    "Odd name": [-128 + 1, -3, 0, 1, 2, 127],
    "year": [-(2**63) + 1, -3, 0, 1, 2, 2019, 2**53 + 1, 2**63 - 1],
    "price": [-1.5, 0.0, 0.1, 2.5, 1e300, 5e-324, 2019.0],
    "weight": [-1.5, 0.0, float(np.float32(0.1)), 2.5, 3e38],
}
DAYS = [date(1969, 12, 31), date(2024, 1, 31), date(2024, 2, 1), date(9999, 12, 31)]
TIMES = [
    datetime(1960, 1, 1),
    datetime(2024, 1, 31, 12, 30),
    datetime(2024, 1, 31, 12, 30, 0, 5000),
]


def _values(name: str) -> list[Any]:
    kind = KINDS[name]
    by_kind = {"text": WORDS, "boolean": [True, False], "date": DAYS, "timestamp": TIMES}
    return NUMBERS[name] if kind == "number" else by_kind[kind]  # type: ignore[return-value]


def _rows() -> list[dict[str, Any]]:
    rng = np.random.default_rng(0)
    rows = []
    for number in range(60):
        row: dict[str, Any] = {"tags": None if number % 3 else ["t"]}
        for name in KINDS:
            values = _values(name)
            row[name] = None if rng.random() < 0.2 else values[rng.integers(len(values))]
        rows.append({**row, "id": f"i{number}"})
    return rows


ROWS = _rows()


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Any:
    place = tmp_path_factory.mktemp("filters")
    made = lancedb.connect(place).create_table("items", schema=SCHEMA)
    made.add(pa.Table.from_pylist(ROWS, schema=SCHEMA))
    return made


def kept(table: Any, where: str) -> set[str]:
    found = table.search().where(filter_sql(where, COLUMNS)).select(["id"]).limit(None).to_arrow()
    return set(found["id"].to_pylist())


# A condition is its SQL and what Python makes of a row: True, False or None, SQL's unknown.

Meaning = Callable[[dict[str, Any]], "bool | None"]
Condition = tuple[str, Meaning]
OPERATORS = {
    "=": operator.eq, "==": operator.eq, "<>": operator.ne, "!=": operator.ne, "<": operator.lt,
    "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip


def spelled(name: str) -> str:
    return f"`{name}`" if " " in name else name


def literal(name: str, value: Any) -> str:
    kind = KINDS[name]
    if kind == "text":
        return "'" + value.replace("'", "''") + "'"
    if kind in ("date", "timestamp"):
        return f"{kind.upper()} '{value}'"
    return str(value)


def known(test: Callable[[Any], bool], name: str) -> Meaning:
    return lambda row: None if row[name] is None else bool(test(row[name]))


def negation(meaning: Meaning) -> Meaning:
    def of(row: dict[str, Any]) -> bool | None:
        value = meaning(row)
        return None if value is None else not value

    return of


def all_of(meanings: list[Meaning]) -> Meaning:
    def of(row: dict[str, Any]) -> bool | None:
        values = [meaning(row) for meaning in meanings]
        return False if False in values else None if None in values else True

    return of


def like(pattern: str, ignore_case: bool) -> re.Pattern[str]:
    parts, place = [], 0
    while place < len(pattern):
        sign = pattern[place]
        if sign == "\\" and pattern[place + 1 : place + 2] in ("%", "_", "\\"):
            place += 1
            parts.append(re.escape(pattern[place]))
        else:
            parts.append({"%": ".*", "_": "."}.get(sign, re.escape(sign)))
        place += 1
    return re.compile("".join(parts), re.DOTALL | (re.IGNORECASE if ignore_case else 0))


@st.composite
def leaves(draw: st.DrawFn) -> Condition:
    name = draw(st.sampled_from(sorted(KINDS)))
    column, values = spelled(name), st.sampled_from(_values(name))
    no = draw(st.booleans())
    forms = ["compare", "turned", "in", "between", "null"]
    forms += ["like", "ilike"] if KINDS[name] == "text" else []
    forms += ["bare", "is"] if KINDS[name] == "boolean" else []
    form = draw(st.sampled_from(forms))
    if form in ("compare", "turned"):
        sign, value = draw(st.sampled_from(sorted(OPERATORS))), draw(values)
        test = OPERATORS[sign]
        if form == "compare":
            return f"{column}{sign} {literal(name, value)}", known(lambda v: test(v, value), name)
        return f"{literal(name, value)} {sign} {column}", known(lambda v: test(value, v), name)
    if form == "bare":
        return column, known(bool, name)
    if form == "in":
        chosen = draw(st.lists(values, min_size=1, max_size=4))
        sql = f"{column} {'NOT ' * no}in ({','.join(literal(name, v) for v in chosen)})"
        meaning = known(lambda v: v in chosen, name)
    elif form == "between":
        low, high = draw(values), draw(values)
        sql = f"{column} {'not ' * no}BETWEEN {literal(name, low)} AND {literal(name, high)}"
        meaning = known(lambda v: low <= v <= high, name)
    elif form == "null":
        sql, meaning = f"{column} IS {'NOT ' * no}NULL", lambda row: row[name] is None
    elif form == "is":
        sql, meaning = f"{column} is {'not ' * no}true", lambda row: row[name] is True
    else:
        signs = ["a", "b", "%", "_", "\\%", "\\_", "\\\\", "狗", "B"]
        text = "".join(draw(st.lists(st.sampled_from(signs), max_size=4)))
        pattern = like(text, form == "ilike")
        sql = f"{column} {'NOT ' * no}{form} '{text}'"
        meaning = known(lambda v: pattern.fullmatch(v) is not None, name)
    return sql, negation(meaning) if no else meaning


def grown(parts: st.SearchStrategy[Condition]) -> st.SearchStrategy[Condition]:
    def joined(word: str, chosen: list[Condition]) -> Condition:
        meanings = [meaning for _, meaning in chosen]
        sql = f" {word} ".join(f"({sql})" for sql, _ in chosen)
        if word.upper() == "AND":
            return sql, all_of(meanings)
        return sql, negation(all_of([negation(meaning) for meaning in meanings]))

    lists = st.lists(parts, min_size=2, max_size=3)
    return st.builds(joined, st.sampled_from(["AND", "and", "OR", "or"]), lists) | parts.map(
        lambda part: (f"NOT ({part[0]})", negation(part[1]))
    )


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(condition=st.recursive(leaves(), grown, max_leaves=8))
def test_a_filter_keeps_what_python_makes_of_it(table: Any, condition: Condition) -> None:
    where, meaning = condition
    assert kept(table, where) == {row["id"] for row in ROWS if meaning(row) is True}


@pytest.mark.parametrize(
    ("where", "meaning"),
    [
        ("year < price", lambda r: r["year"] < r["price"]),
        ("`Odd name` = year", lambda r: r["year"] is not None and r["Odd name"] == r["year"]),
        ("word > id", lambda r: r["word"] > r["id"]),
        ("seen >= '2024-01-31'", lambda r: r["seen"] >= datetime(2024, 1, 31)),
        ("seen = '2024-01-31T12:30:00.005'", lambda r: r["seen"] == TIMES[2]),
        ("sold < timestamp '2024-01-31T13:30:00+01:00'", lambda r: r["sold"] < TIMES[1]),
        ("sold < date'2024-01-31'", lambda r: r["sold"] < datetime(2024, 1, 31)),
        ("date = '2024-01-31'", lambda r: r["date"] == date(2024, 1, 31)),
        ("ODD = 1", None),
        ("YEAR = 1", lambda r: r["year"] == 1),
        ("year = 1.0 or year = 2.", lambda r: r["year"] in (1, 2)),
        ("price > 1 and (true or false)", lambda r: r["price"] > 1),
        ("((( new )))\n\tAND not not new", lambda r: r["new"]),
        ("tags is not null", lambda r: r["tags"] is not None),
    ],
)  # fmt: skip
def test_a_filter_is_read_as_it_is_meant(table: Any, where: str, meaning: Any) -> None:
    if meaning is None:
        with pytest.raises(GalleryError, match="there is no column"):
            kept(table, where)
        return

    def holds(row: dict[str, Any]) -> bool:
        try:
            return bool(meaning(row))
        except TypeError:  # None is compared with nothing.
            return False

    assert kept(table, where) == {row["id"] for row in ROWS if holds(row)}


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ("", "it is empty"),
        (" \n", "it is empty"),
        ("repeat(id,100000000)='b'", "repeat(...) is a function"),
        ("cast(id as int) = 1", "cast(...) is a function"),
        ("year in (select 1)", "'select'"),
        ("(select 1) = year", "which does not belong there"),
        ("id = ?", "character 6 is '?'"),
        ("id = 'a'; DROP TABLE items", "character 9 is ';'"),
        ("id = 'a' -- all", "filters do not calculate"),
        ("year + 1 = 2", "'+': filters do not calculate"),
        ("id || 'a' = 'b'", "filters do not calculate"),
        ("id = 'a", "a text that is not closed"),
        ('id = "a"', "it has a double quote"),
        ("year =", "it ends in the middle"),
        ("(year = 1", "it ends in the middle"),
        ("year = 1)", "character 9 is ')'"),
        ("colour = 'red'", "no column 'colour'; it has id, word, Odd name"),
        ("embedding = 1", "no column 'embedding'"),
        ("id.x = 1", "there is no column 'id.x'; it has id, "),
        ("id. = 1", "which does not belong there"),
        ("year = 'x'", "'year', which holds int64, with the text 'x'"),
        ("word = 3", "with the number 3"),
        ("id LIKE 3", "character 9 is '3'"),
        ("year LIKE '1%'", "LIKE is for texts"),
        ("word LIKE 'a\\b'", "a backslash stands before neither"),
        ("word LIKE '\\\\\\'", "a backslash stands before neither"),
        ("year = word", "it compares 'year' (int64) with 'word' (string)"),
        ("1 = 1", "compares two values"),
        ("year", "'year' alone is no condition"),
        ("'a'", "alone is no condition"),
        ("null", "alone is no condition"),
        ("word = NULL", "write word IS NULL"),
        ("year is true", "IS TRUE is for booleans"),
        ("tags = 'a'", "which is not compared"),
        ("`Odd name` = 128", "out of the range"),
        ("year = 99999999999999999999", "out of the range"),
        ("year = 2.5", "holds whole numbers"),
        ("price = 1e999", "too large"),
        ("date = '2024-13-01'", "is no date"),
        ("seen = 'soon'", "is no time"),
        ("seen = '2024-01-31T00:00:00Z'", "without a time zone"),
        ("sold = '2024-01-31T00:00:00.000001'", "finer than"),
        ("id = '\udc80'", "not valid Unicode"),
        ("id = 'a\0'", "NUL"),
        ("id='a' OR " * 60_000 + "false", "the most are 200000"),
        ("id='a' OR " * 501 + "false", "more than 500 conditions"),
        ("(id='a' AND (id='b' OR " * 9 + "new" + "))" * 9, "more than 16 deep"),
        ("(" * 60_000, "it ends in the middle"),
        ("id LIKE '" + "a%" * 501 + "'", "a LIKE pattern has 1002 characters"),
    ],
)  # fmt: skip
def test_what_is_not_of_the_grammar_is_refused_by_name(where: str, words: str) -> None:
    with pytest.raises(GalleryError) as caught:
        filter_sql(where, COLUMNS)
    message = str(caught.value)
    assert words in message
    assert "is not understood: " in message
    assert "\n" not in message
    assert len(message) < 700


@pytest.mark.parametrize("where", [5, b"id = 'a'", ["id = 'a'"], True, object(), 1.5])
def test_a_filter_that_is_no_text_is_refused(where: Any) -> None:
    with pytest.raises(UsageError, match="must be a string"):
        filter_sql(where, COLUMNS)


@pytest.mark.parametrize(
    "where",
    [
        "id in (" + ",".join(f"'i{number}'" for number in range(12_000)) + ")",
        " or ".join(f"id = 'i{number}'" for number in range(500)),
        "not (" * 10_000 + "id is null" + ")" * 10_000,
        "(id is null or (id is not null and " * 8 + "id is not null" + "))" * 8,
    ],
)
def test_a_filter_of_the_largest_size_is_answered(table: Any, where: str) -> None:
    assert kept(table, where) in ({row["id"] for row in ROWS}, set())


@settings(max_examples=300, deadline=None)
@given(
    st.text()
    | st.lists(
        st.sampled_from(
            ["year", "id", "`", "'", "(", ")", "=", "<", "AND", "OR", "NOT", "IN", "IS", "NULL",
             "LIKE", "BETWEEN", "1", "-", ".", ",", "'a'", "date", "date '2024-01-01'", "true",
             ";", "--", "\\"]
        )
    ).map(" ".join)
)  # fmt: skip
def test_any_text_is_understood_or_refused_in_one_line(where: str) -> None:
    said = ""
    try:
        filter_sql(where, COLUMNS)
    except GalleryError as error:
        said = str(error)
    assert "\n" not in said


def test_a_column_of_an_old_gallery_with_a_back_tick_is_not_written_into_sql() -> None:
    with pytest.raises(GalleryError, match="no column"):
        filter_sql("a = 1", {"id": pa.string(), "a` = 1 OR `b": pa.int64()})


def test_filters_are_read_from_a_gallery_made_by_path(tmp_path: Path) -> None:
    assert filter_sql("a = 'it''s'", {"a": pa.string()}) == "`a` = 'it''s'"
    assert filter_sql("not (a = 'x' or b)", {"a": pa.string(), "b": pa.bool_()}) == (
        "(`a` <> 'x' AND `b` = false)"
    )


def test_fields_of_records_are_compared_by_their_path(matcher: Matcher, tmp_path: Path) -> None:
    gallery = Gallery.create(tmp_path / "gallery", matcher)
    sizes = [{"width": 1, "at": {"x": 2}}, {"width": 3, "at": {"x": 4}}, None]
    gallery.add(names(3), images(3), {"size": sizes})
    assert gallery.count("size.width = 3 AND `size`.`at`.`x` > 2") == 1
    assert gallery.count("NOT size.AT.X IN (2)") == 1
    assert gallery.count("size IS NULL") == 1
    with pytest.raises(GalleryError, match=r"no column 'size\.depth'; it has .*size\.at\.x"):
        gallery.count("size.depth = 1")
