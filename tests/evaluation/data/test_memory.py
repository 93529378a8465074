from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from itr_deploy.evaluation.data.memory import peak_memory, release_pages
from tests.support import items
from tests.support.command import python

PROGRAM = """
import sys
from itr_deploy.bundle.store import read_bundle
from itr_deploy.evaluation.data.split import read_split
from itr_deploy.evaluation.evaluate import evaluate
from itr_deploy.evaluation.options import Options
from itr_deploy.runtime.backends import OnnxRuntimeBackend
from itr_deploy.runtime.matcher import Matcher
bundle = read_bundle(sys.argv[1])
matcher = Matcher(bundle, OnnxRuntimeBackend(bundle, threads=1), 16 << 20)
split = read_split(sys.argv[2], "test")
report = evaluate(matcher, split, __import__("pathlib").Path(sys.argv[3]), Options(candidates=2))
print(report.run.model_dump_json())
"""


@pytest.mark.full
def test_the_peak_does_not_grow_with_the_images(bundle: Path, tmp_path: Path) -> None:
    peaks: list[int] = []
    sizes: list[int] = []
    for images in (300, 2000):
        data = tmp_path / f"data{images}"
        data.mkdir()
        np.save(data / "test_ims.npy", items.images(images, regions=400))
        (data / "test_caps.txt").write_text("\n".join(items.captions(images)) + "\n")
        outcome = python(PROGRAM, bundle, data, tmp_path / f"out{images}")
        assert outcome.code == 0, outcome.err
        peaks.append(json.loads(outcome.out)["peak_memory_bytes"])
        sizes.append((data / "test_ims.npy").stat().st_size)
    # The features alone are 83 MiB more, encoded they are 311 MiB more; what may grow are the
    # blocks of the figures, up to their limit.
    assert sizes[1] - sizes[0] > 80 << 20
    assert peaks[1] - peaks[0] < 72 << 20


def test_the_peak_is_a_number_of_bytes() -> None:
    peak = peak_memory()
    assert peak is None or 1 << 20 < peak < 1 << 40


def test_an_array_from_disk_is_the_same_after_its_pages_were_released(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.arange(100_000))
    mapped = np.load(tmp_path / "a.npy", mmap_mode="r")
    assert mapped.sum() == 4_999_950_000
    release_pages(mapped[::5])
    assert mapped.sum() == 4_999_950_000
    in_memory = np.arange(10)
    release_pages(in_memory)
    assert in_memory.sum() == 45
