from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from itr_deploy.errors import InputError
from itr_deploy.evaluation.data.lines import read_lines, refuse_numbered


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("lines") / "test_caps.txt"


@pytest.mark.parametrize(
    "content",
    [
        b"a dog\ntwo caf\xc3\xa9s\n",
        b"a dog\ntwo caf\xc3\xa9s",
        b"a dog\r\ntwo caf\xc3\xa9s\r\n",
        b"\xef\xbb\xbfa dog\ntwo caf\xc3\xa9s\n",
        b"a dog\ntwo caf\xc3\xa9s\n\n   \n\t\r\n",
    ],
)
def test_the_ways_of_editors_are_the_same_lines(content: bytes, file: Path) -> None:
    file.write_bytes(content)
    assert read_lines(file) == ["a dog", "two cafés"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"a\n\nb\n", r"line 2 is blank"),
        (b"a\n  \nb\n", r"line 2 is blank"),
        (b"a dog\na caf\xe9\n", r"line 2 is not UTF-8 \(byte 0xe9\); .* iconv -f LATIN1"),
        (b"\xef\xbb\xbfa\nb\n\xff\n", r"line 3 is not UTF-8 \(byte 0xff\)"),
        ("a dog\n".encode("utf-16"), r"is UTF-16; convert it with iconv -f UTF-16"),
        ("a dog\n".encode("utf-32"), r"is UTF-32; convert it with iconv -f UTF-32"),
        (b"a\rb\r", r"carriage returns alone"),
        ("a dog\ntwo\n".encode("utf-16-le"), r"line 1 has a NUL character; .* iconv -f UTF-16LE"),
        (b"a dog\na c\0t\n", r"line 2 has a NUL character"),
    ],
)
def test_what_cannot_be_read_as_it_is_meant_is_named(content: bytes, said: str, file: Path) -> None:
    file.write_bytes(content)
    with pytest.raises(InputError, match=said) as caught:
        read_lines(file)
    assert str(file) in str(caught.value)


LINE = st.text(st.characters(codec="utf-8", exclude_characters="\r\n\0")).filter(str.strip)


@given(lines=st.lists(LINE))
def test_any_lines_come_back(lines: list[str], file: Path) -> None:
    file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    found = read_lines(file)
    assert found == [
        line.removeprefix("\ufeff") if n == 0 else line for n, line in enumerate(lines)
    ]


def test_names_of_images_before_captions_are_refused() -> None:
    refuse_numbered(Path("caps"), ["a dog #1 in the race", "1000.jpg#0\ta dog"])
    with pytest.raises(InputError, match="cut -f 2"):
        refuse_numbered(Path("caps"), ["1000.jpg#0\ta dog", "1000.jpg#1\ta cat"])
