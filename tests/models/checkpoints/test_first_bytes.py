"""What people have under the name of a checkpoint is named, with what to do."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import pickle
import subprocess
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from itr_deploy.models.imram.checkpoint import load
from tests.models.checkpoints.test_reading import refusal
from tests.support.golden import FULL

WHOLE = FULL.checkpoint.read_bytes()
ONNX = b"\x08\x0a\x12\x07pytorch\x1a\x062.13.0"
SAFETENSORS = (80).to_bytes(8, "little") + b'{"__metadata__":{"format":"pt"}}'.ljust(80)


def tar(_: Path) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        archive.add(FULL.checkpoint, "model_best.pth.tar")
    return content.getvalue()


def zipped(_: Path) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.write(FULL.checkpoint, "model_best.pth.tar")
    return content.getvalue()


def arrays(_: Path) -> bytes:
    content = io.BytesIO()
    np.savez(content, weights=np.ones(3))
    return content.getvalue()


def script(_: Path) -> bytes:
    content = io.BytesIO()
    module = torch.jit.trace(torch.nn.Linear(2, 2), torch.ones(1, 2))
    torch.jit.save(module, content)
    return content.getvalue()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", ("empty", "again")),
        (
            b"\n<!DOCTYPE html><html><title>Drive - Quota\nexceeded</title>",
            ("web page", "Drive - Quota", "download"),
        ),
        (b'<?xml version="1.0"?><Error><Code>AccessDenied', ("XML", "download")),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:4d\nsize 1234567\n",
            ("Git LFS pointer", "1,234,567", "git lfs pull"),
        ),
        (b'\xef\xbb\xbf{"error": "access denied"}', ("JSON", "access denied", "download")),
        (gzip.compress(WHOLE), ("gzip", "gunzip -c")),
        (bz2.compress(WHOLE), ("bzip2", "bunzip2 -c")),
        (lzma.compress(WHOLE), ("xz", "xz -dc")),
        (tar, ("tar archive of 'model_best.pth.tar'", "tar -xf")),
        (zipped, ("zip archive of 'model_best.pth.tar'", "unzip")),
        (arrays, ("numpy arrays",)),
        (script, ("TorchScript", "'model'")),
        (WHOLE[: len(WHOLE) // 2], ("truncated", "again")),
        (SAFETENSORS, ("safetensors", "'opt'")),
        (ONNX, ("ONNX",)),
        (pickle.dumps({"word2idx": {}}), ("pickle", "refused")),
        (b"word\nother\n", ("begins 'word",)),
        (b"\x00" * 600, ("begins '\\x00",)),
    ],
)
def test_another_file_is_named_with_its_remedy(
    content: bytes | Callable[[Path], bytes], words: tuple[str, ...], tmp_path: Path
) -> None:
    path = tmp_path / "model_best.pth.tar"
    path.write_bytes(content if isinstance(content, bytes) else content(tmp_path))
    message = refusal(path)
    for word in words:
        assert word in message


def test_an_unpacked_checkpoint_is_packed_again_by_the_command_that_is_told(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "model best.pth.tar"
    with zipfile.ZipFile(FULL.checkpoint) as archive:
        archive.extractall(folder)
    message = refusal(folder)
    assert "unpacked PyTorch checkpoint" in message
    command = message.partition("without compression: ")[2]
    packed = next(folder.iterdir())
    assert command == f"cd '{folder}' && zip -0 -r whole.zip {packed.name}"
    with zipfile.ZipFile(tmp_path / "whole.zip", "w") as archive:  # what that command writes
        for file in packed.rglob("*"):
            archive.write(file, file.relative_to(folder))
    load(tmp_path / "whole.zip")


def test_the_command_that_unpacks_gives_a_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "it's.pth.gz"
    path.write_bytes(gzip.compress(WHOLE))
    command = refusal(path).partition("unpack it: ")[2]
    subprocess.run(command, shell=True, check=True, cwd=tmp_path)
    load(tmp_path / "it's.pth")


def test_a_folder_of_something_else_is_named(tmp_path: Path) -> None:
    assert "a folder" in refusal(tmp_path)


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert "a pipe" in refusal(tmp_path / "pipe")


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_without_permission_is_named(tmp_path: Path) -> None:
    path = tmp_path / "secret.tar"
    path.write_bytes(WHOLE)
    path.chmod(0)
    assert "Permission denied" in refusal(path)
