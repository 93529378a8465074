from __future__ import annotations

import os
import signal
from pathlib import Path

import numpy as np
import psutil
import pytest

from itr_deploy.bundle.store import list_files, read_bundle, write_manifest
from itr_deploy.errors import BundleError, SetupError
from itr_deploy.runtime.backends import OnnxRuntimeBackend
from itr_deploy.runtime.backends.isolated import IsolatedBackend
from tests.support.golden import FULL

REGIONS = {"regions": FULL.regions}


def test_it_gives_what_the_same_process_gives(bundle: Path) -> None:
    opened = read_bundle(bundle)
    expected = OnnxRuntimeBackend(opened, threads=1).run("image_encoder", REGIONS)
    with IsolatedBackend(opened) as backend:
        one = backend.run("image_encoder", REGIONS)
        [again] = backend.run_all([("image_encoder", REGIONS)])
    for found in (one, again):
        assert found.keys() == expected.keys()
        for name, array in expected.items():
            np.testing.assert_allclose(found[name], array, atol=1e-6)


def test_a_process_that_ends_is_one_line_and_names_the_graph(bundle: Path) -> None:
    with IsolatedBackend(read_bundle(bundle)) as backend:
        backend.run("image_encoder", REGIONS)
        os.kill(backend._process.call(os.getpid), signal.SIGSEGV)
        with pytest.raises(SetupError) as caught:
            backend.run("text_encoder", {"token_ids": FULL.token_ids})
    assert str(caught.value) == (
        "ONNX Runtime failed on graph text_encoder: the process crashed: SIGSEGV; "
        "export the bundle in float32, or try another version of onnxruntime"
    )


def test_inputs_that_a_graph_does_not_take_are_one_line(bundle: Path) -> None:
    with (
        IsolatedBackend(read_bundle(bundle)) as backend,
        pytest.raises(BundleError, match="graph image_encoder does not run on") as caught,
    ):
        backend.run("image_encoder", {"regions": FULL.regions[0]})
    assert "\n" not in str(caught.value)


def test_ctrl_c_at_a_terminal_is_left_to_this_process(bundle: Path) -> None:
    with IsolatedBackend(read_bundle(bundle)) as backend:
        backend.run("image_encoder", REGIONS)
        os.kill(backend._process.call(os.getpid), signal.SIGINT)
        assert "image_embedding" in backend.run("image_encoder", REGIONS)


def test_an_error_of_the_other_process_is_raised_here(bundle_copy: Path) -> None:
    manifest = read_bundle(bundle_copy).manifest
    (bundle_copy / manifest.graphs["image_encoder"].file).write_bytes(b"no graph")
    listed = manifest.model_copy(update={"files": list_files(bundle_copy)})
    write_manifest(bundle_copy, listed)
    with (
        IsolatedBackend(read_bundle(bundle_copy)) as backend,
        pytest.raises(SetupError, match=r"image_encoder.onnx: cannot be loaded"),
    ):
        backend.run("image_encoder", REGIONS)


def test_the_other_process_ends_with_the_block(bundle: Path) -> None:
    with IsolatedBackend(read_bundle(bundle)) as backend:
        number = backend._process.call(os.getpid)
    assert not psutil.pid_exists(number)
