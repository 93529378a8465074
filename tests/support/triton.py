"""The real Triton server, in an environment of its own, on free ports of the loopback."""

from __future__ import annotations

import hashlib
import http.client
import os
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from importlib.metadata import version
from pathlib import Path

from filelock import FileLock

from itr_deploy.model_repository.environment import environment
from tests.support.exports import ENVIRONMENTS, ROOT, cache_directory

SHIM = Path(__file__).with_name("triton_onnxruntime.py")
STARTED, STOPPED = 180.0, 60.0
"""Seconds that the server may take to become ready, and to end."""


def triton_environment() -> Path:
    """A virtual environment with Triton and this package, installed once."""
    # The same arithmetic as here, so that results are equal to the last bit.
    same = [f"{name}=={version(name)}" for name in ("onnxruntime", "tokenizers", "nltk", "lancedb")]
    packages = [
        *("nvidia-pytriton==0.7.0", "-e", f"{ROOT}[cpu]", *same),
        *(
            line
            for line in environment("cpu").splitlines()
            if line.startswith(("numpy", "pyarrow"))
        ),
    ]
    project = (ROOT / "pyproject.toml").read_text()
    # Checkouts that share a cache have one each, as the package in it is the checkout's.
    checkout = f"triton-{_digest(ROOT)}"
    place = (
        cache_directory() / ENVIRONMENTS / f"{checkout}-{_digest(sys.version, packages, project)}"
    )
    place.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(place.with_suffix(".lock")):
        if not (place / "complete").is_file():
            for older in place.parent.glob(f"{checkout}-*/"):
                shutil.rmtree(older, ignore_errors=True)
            uv = Path(sys.executable).with_name("uv")
            _run(uv, "venv", "--quiet", "--python", sys.executable, place)
            _run(uv, "pip", "install", "--quiet", "--python", place / "bin" / "python", *packages)
            (place / "complete").touch()
    return place


@contextmanager
def served(repository: Path, folder: Path) -> Iterator[str]:
    """Start Triton on a model repository and wait until it is ready; its HTTP address.

    Args:
        repository: The model repository.
        folder: An empty directory, for the backends and the log.
    """
    place = triton_environment()
    site = place / "lib" / f"python{sysconfig.get_python_version()}" / "site-packages"
    ports = free_ports(3)
    addresses = [
        f"--{kind}-{of}"
        for kind, port in zip(("http", "grpc", "metrics"), ports, strict=True)
        for of in ("address=127.0.0.1", f"port={port}")
    ]
    # What Triton is started with must not be this process's: its Python finds its own packages.
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    libraries = (sysconfig.get_config_var("LIBDIR"), site / "nvidia_pytriton.libs")
    env = {
        **kept,
        "PATH": f"{place / 'bin'}:{os.environ['PATH']}",
        "LD_LIBRARY_PATH": ":".join(map(str, libraries)),
        "OMP_NUM_THREADS": "1",
    }
    command = [
        site / "pytriton" / "tritonserver" / "bin" / "tritonserver",
        f"--model-repository={repository}",
        f"--backend-directory={_backends(site, folder)}",
        *addresses,
    ]
    log = folder / "triton.log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=env, stdout=output, stderr=subprocess.STDOUT)
    try:
        _wait(process, ports[0], log)
        yield f"http://127.0.0.1:{ports[0]}"
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(STOPPED)
        finally:
            process.kill()
    assert process.returncode == 0, log.read_text(errors="replace")[-3000:]


def free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def _backends(site: Path, folder: Path) -> Path:
    """The Python backend with the process that runs this Python, and the one of ONNX graphs."""
    home = site / "pytriton" / "tritonserver"
    python = shutil.copytree(home / "backends" / "python", folder / "backends" / "python")
    stubs = home / "python_backend_stubs" / sysconfig.get_python_version()
    shutil.copy(stubs / "triton_python_backend_stub", python)
    graphs = folder / "backends" / "onnxruntime"
    graphs.mkdir()
    shutil.copyfile(SHIM, graphs / "model.py")
    return folder / "backends"


def _wait(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    """Wait until the server says that all its models are ready."""
    end = time.monotonic() + STARTED
    while time.monotonic() < end and process.poll() is None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        with suppress(OSError, http.client.HTTPException):
            connection.request("GET", "/v2/health/ready")
            if connection.getresponse().status == 200:
                return
        connection.close()
        time.sleep(0.2)
    raise AssertionError(f"Triton is not ready:\n{log.read_text(errors='replace')[-5000:]}")


def _digest(*parts: object) -> str:
    return hashlib.sha256("\n".join(map(str, parts)).encode()).hexdigest()[:12]


def _run(*command: object) -> None:
    done = subprocess.run(
        [*map(str, command)], capture_output=True, text=True, timeout=900, check=False
    )
    assert done.returncode == 0, done.stderr
