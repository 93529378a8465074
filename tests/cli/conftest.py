from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.support.command import itr_deploy
from tests.support.golden import FULL

IDS = [f"image {n}.jpg" for n in range(6)]
CAPTIONS = [line for caption in FULL.captions[:6] for line in (caption, caption + " red")]


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory in the published layout: six images with two captions each."""
    root = tmp_path_factory.mktemp("data")
    np.save(root / "test_ims.npy", FULL.regions)
    (root / "test_caps.txt").write_text("\n".join(CAPTIONS) + "\n")
    (root / "test_ids.txt").write_text("\n".join(IDS) + "\n")
    np.save(root / "dev_ims.npy", FULL.regions[:2] + 1)
    (root / "dev_caps.txt").write_text("a dog\na cat\n")
    (root / "dev_ids.txt").write_text("dev 0\ndev 1\n")
    np.save(root / "query.npy", FULL.regions[2])
    np.save(root / "queries.npy", FULL.regions[:3])
    lines = [
        "id,split,year",
        *(f"{name},{'even' if n % 2 == 0 else 'odd'},{2000 + n}" for n, name in enumerate(IDS)),
    ]
    (root / "metadata.csv").write_text("\n".join(lines) + "\n")
    return root


@pytest.fixture(scope="session")
def image_gallery(bundle: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("galleries") / "images"
    outcome = itr_deploy(
        "index", bundle, "--data", data, "--output", path, "--metadata", data / "metadata.csv"
    )
    assert outcome.code == 0, outcome.err
    return path


@pytest.fixture(scope="session")
def text_gallery(bundle: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("galleries") / "texts"
    options = ("--modality", "text", "--storage", "float32")
    outcome = itr_deploy("index", bundle, "--data", data, "--output", path, *options)
    assert outcome.code == 0, outcome.err
    return path
