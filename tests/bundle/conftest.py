"""A bundle without a model: every check of the manifest and the files runs on it."""

from __future__ import annotations

from pathlib import Path

import pytest

from itr_deploy.bundle.manifest import (
    GraphInfo,
    ImageItems,
    Manifest,
    NltkWords,
    Provenance,
    StoredTensor,
    TensorInfo,
    TextItems,
    Workspace,
)
from itr_deploy.bundle.store import Bundle, list_files, read_bundle, write_manifest


def manifest_of(root: Path) -> Manifest:
    graph = GraphInfo(
        role="image_encoder",
        file="graphs/image_encoder.onnx",
        opset=20,
        inputs=(TensorInfo(name="regions", dtype="float32", shape=("batch", "regions", 32)),),
        outputs=(TensorInfo(name="image_embedding", dtype="float32", shape=("batch", 24)),),
    )
    return Manifest(
        family="imram",
        options={"steps": 3, "temperature": 9.0, "mode": "full_IMRAM", "text_norm": True},
        embedding_dim=24,
        images=ImageItems(
            feature_dim=32, regions=None, tensors=(StoredTensor(name="regions", width=24),)
        ),
        texts=TextItems(
            vocab_size=40, max_tokens=256, tensors=(StoredTensor(name="words", width=24),)
        ),
        workspace=Workspace(per_word=192),
        text_processing=NltkWords(vocabulary="vocab.json", sentence_splitter="untrained"),
        graphs={"image_encoder": graph},
        encoding_id="e" * 64,
        provenance=Provenance(
            checkpoint="model_best.pth.tar",
            checkpoint_sha256="c" * 64,
            created="2025-01-01T00:00:00+00:00",
            versions={"itr-deploy": "0.1.0"},
        ),
        files=list_files(root),
    )


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A small directory in the bundle format."""
    root = tmp_path / "small"
    (root / "graphs").mkdir(parents=True)
    (root / "graphs" / "image_encoder.onnx").write_bytes(b"graph")
    (root / "graphs" / "weights.bin").write_bytes(bytes(range(256)))
    (root / "vocab.json").write_text('{"word2idx": {}}')
    write_manifest(root, manifest_of(root))
    return root


@pytest.fixture
def opened(small: Path) -> Bundle:
    return read_bundle(small)
