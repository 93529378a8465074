"""CSV files as spreadsheets write them: nothing in them changes in silence."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pytest

from itr_deploy.errors import InputError
from itr_deploy.evaluation.data.metadata import metadata_columns


def read(path: Path, content: str, encoding: str = "utf-8", **options: Any) -> dict[str, Any]:
    file = path / "about.csv"
    file.write_bytes(content.encode(encoding))
    return metadata_columns(file, ["a", "b"], **options)


def test_columns_come_in_the_order_of_the_ids_with_their_types(tmp_path: Path) -> None:
    content = (
        "id,price,year,new,day,word\nb,2,2020,true,2024-01-31,x\na,1.5,2021,false,2024-02-01,\n"
    )
    assert read(tmp_path, content) == {
        "price": [1.5, 2.0],
        "year": [2021, 2020],
        "new": [False, True],
        "day": [date(2024, 2, 1), date(2024, 1, 31)],
        "word": ["", "x"],
    }


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (("007", "123"), ["007", "123"]),
        (("000", "0"), ["000", "0"]),
        (("+1", "2"), ["+1", "2"]),
        (("0", "-5"), [0, -5]),
        (("9" * 21, "1"), ["9" * 21, "1"]),
        (("1.50", "2"), [1.5, 2.0]),
        (("1e3", "2"), [1000.0, 2.0]),
        (("007", ""), ["007", None]),
    ],
)
def test_numbers_that_would_lose_something_stay_text(
    values: tuple[str, str], expected: list[Any], tmp_path: Path
) -> None:
    assert read(tmp_path, f"id,it\na,{values[0]}\nb,{values[1]}\n") == {"it": expected}


@pytest.mark.parametrize(
    ("content", "encoding", "said"),
    [
        ("id,größe\na,1\nb,2\n", "latin-1", r"line 1 is not UTF-8 .*iconv -f LATIN1"),
        ("id,word\na,grün\nb,rot\n", "latin-1", r"line 2 is not UTF-8"),
        ("id,word\na,x\nb,y\n", "utf-16", r"is UTF-16; convert it with iconv"),
        ("id,word\na,x\nb,y\n", "utf-16-le", r"line 1 has a NUL character"),
        ("id,word,word\na,x,y\nb,y,z\n", "utf-8", r"column 'word' is there twice"),
        ("word\nx\n", "utf-8", r"no column 'id'; it has word"),
        ("id,word\na,x\n", "utf-8", r"no row for id 'b'"),
        ("id,word\na,x,z\n", "utf-8", r"cannot be read as CSV"),
        ("", "utf-8", r"cannot be read as CSV"),
        ("id,text\na,x\nb,y\n", "utf-8", r"column 'text' is one that captions have already"),
    ],
)
def test_what_cannot_be_taken_is_named(
    content: str, encoding: str, said: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=said) as caught:
        read(tmp_path, content, encoding, taken=("text", "image_id"))
    assert str(caught.value).startswith(str(tmp_path / "about.csv"))
