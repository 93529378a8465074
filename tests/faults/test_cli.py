"""The command line with any words."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from itr_deploy.cli.verbs import VERBS
from tests.faults.anything import TEXTS
from tests.faults.test_api import TRIES
from tests.support import items
from tests.support.command import itr_deploy

OPTIONS = (
    *("--data", "--output", "--split", "--modality", "--storage", "--metadata", "--append"),
    *("--force", "--device", "--backend", "--json", "-v", "-q", "--log-format", "--gallery", "-k"),
    *("--where", "--candidates", "--prefilter", "--exhaustive", "--image", "--bank", "--rerank"),
    *("--checkpoint", "--vocab", "--steps", "--folds", "--baseline", "--threads", "--target"),
    *("--graphs", "--limit", "--work", "--growth", "--projection", "--batch", "--rounds", "--help"),
    *("--images", "--save-scores", "--weights", "--opset", "--dtype", "--quantize", "--nothing"),
)
WORDS = TEXTS | st.sampled_from(
    (
        *("BUNDLE", "DATA", "OUT", "GALLERY", "imram", "dime", "lhsc", "leaprr", "test", "image"),
        *("scan", "text", "cpu", "cuda", "auto", "float16", "int8", "0", "-1", "3", "1e9", "nan"),
        *("x=1", "json", "~", "s3://a/b", "file:///tmp", "/dev/null", "/proc/self", "/dev/zero"),
        *("a,b", "a/../..", "-", "--"),
    )
)


@pytest.fixture(scope="module")
def places(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    root = tmp_path_factory.mktemp("cli")
    data = root / "data"
    data.mkdir()
    np.save(data / "test_ims.npy", items.images(4))
    (data / "test_caps.txt").write_text("\n".join(items.captions(20)) + "\n")
    gallery = root / "gallery"
    assert itr_deploy("index", bundle, "--data", data, "--output", gallery).code == 0
    # Some verbs write into the bundle that they are given.
    bundle = Path(shutil.copytree(bundle, root / "bundle"))
    known = {"BUNDLE": bundle, "DATA": data, "OUT": root / "out", "GALLERY": gallery}
    return {name: str(path) for name, path in known.items()}


@pytest.mark.slow
@TRIES
@given(
    verb=st.sampled_from(sorted(VERBS)),
    usual=st.booleans(),
    words=st.lists(st.tuples(st.sampled_from(OPTIONS), WORDS) | WORDS, max_size=5),
)
def test_a_command_ends_with_a_result_or_one_line(
    places: dict[str, str],
    tmp_path_factory: pytest.TempPathFactory,
    verb: str,
    usual: bool,
    words: list[Any],
) -> None:
    given_words = [verb, *(("BUNDLE", "--data", "DATA") if usual else ())]
    for word in words:
        given_words += word if isinstance(word, tuple) else (word,)
    meant = [places.get(word, word) for word in given_words]
    # An argument vector holds no NUL, and what is no UTF-8 arrives as surrogates.
    meant = [word.replace("\0", "0").encode("utf-8", "replace").decode() for word in meant]
    with (
        contextlib.chdir(tmp_path_factory.mktemp("there"))
        if hasattr(contextlib, "chdir")
        else (contextlib.nullcontext())
    ):
        outcome = itr_deploy(*meant)
    assert outcome.code in (0, 1, 2, 3, 4), (meant, outcome.err)
    assert "Traceback" not in outcome.err + outcome.out, (meant, outcome.err)
    if outcome.code in (1, 3, 4):
        assert outcome.err.count("error: ") == 1, (meant, outcome.err)
