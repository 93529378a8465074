"""What is printed where standard output is not UTF-8."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from itr_deploy import Gallery, Matcher
from itr_deploy.cli.logs import shown_logs
from itr_deploy.cli.output import print_table
from tests.support.items import images


@pytest.fixture(scope="module")
def gallery(matcher: Matcher, tmp_path_factory: pytest.TempPathFactory) -> Gallery:
    made = Gallery.create(tmp_path_factory.mktemp("ids") / "gallery", matcher)
    made.add(["caf\u00e9", "\u72d7", "\U0001f415"], images(3))
    return made


def test_control_characters_of_ids_and_messages_reach_no_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    print_table("a\x1b[2Jtitle", ("id",), [["\x1b[31mred.jpg"], ["two\nlines"]])
    with shown_logs():
        logging.getLogger("itr_deploy").warning("left out: %s", "\x1b]0;x\x07.jpg")
    out, err = capsys.readouterr()
    assert "\x1b" not in out + err
    assert "a\\x1b[2Jtitle" in out
    assert "\\x1b[31mred.jpg" in out
    assert err == "warning: left out: \\x1b]0;x\\x07.jpg\n"


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
@pytest.mark.parametrize("as_json", [False, True], ids=["a table", "JSON"])
def test_ids_are_printed_in_any_encoding(
    encoding: str, as_json: bool, bundle: Path, gallery: Gallery
) -> None:
    command = ["search", bundle, "a dog", "--gallery", gallery.path, *["--json"] * as_json]
    code = "import sys; from itr_deploy.cli.main import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, command)],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"},
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    text = done.stdout.decode(encoding)
    if as_json:
        (found,) = json.loads(text)
        assert {hit["id"] for hit in found["hits"]} == {"caf\u00e9", "\u72d7", "\U0001f415"}
    else:
        assert ("caf\\xe9" if encoding == "ascii" else "caf\u00e9") in text
