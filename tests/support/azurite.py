"""Azure's Blob Storage on this machine's loopback: Azurite, where it is installed."""

from __future__ import annotations

import base64
import hashlib
import hmac
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import formatdate
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

ACCOUNT = "devstoreaccount1"
# The published one of every emulator.
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
CONTAINER = "galleries"


@contextmanager
def azurite(folder: Path) -> Iterator[dict[str, str]]:
    """A server with an empty container; yields the variables that lead there."""
    pytest.importorskip("obstore", reason="pip install -e '.[dev]'")
    program = shutil.which("azurite-blob")
    if program is None:
        pytest.skip("npm install -g azurite")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = ["--disableTelemetry", "--silent", "--skipApiVersionCheck", "-l", str(folder)]
    process = subprocess.Popen([program, "--blobPort", str(port), *words])
    endpoint = f"http://127.0.0.1:{port}/{ACCOUNT}"
    try:
        until = time.monotonic() + 60
        while True:
            try:
                _make_container(endpoint)
                break
            except OSError:
                assert time.monotonic() < until, "the server does not start"
                time.sleep(0.1)
        yield {
            "AZURE_STORAGE_ACCOUNT_NAME": ACCOUNT,
            "AZURE_STORAGE_ACCOUNT_KEY": KEY,
            "AZURE_STORAGE_ENDPOINT": endpoint,
        }
    finally:
        process.terminate()
        process.wait(30)


def _make_container(endpoint: str) -> None:
    """Which no client of this project's can."""
    headers = {"x-ms-date": formatdate(usegmt=True), "x-ms-version": "2021-08-06"}
    own = "".join(f"{name}:{value}\n" for name, value in headers.items())
    place = f"/{ACCOUNT}/{ACCOUNT}/{CONTAINER}\nrestype:container"
    signed = hmac.new(
        base64.b64decode(KEY), f"PUT{12 * chr(10)}{own}{place}".encode(), hashlib.sha256
    )
    headers["Authorization"] = f"SharedKey {ACCOUNT}:{base64.b64encode(signed.digest()).decode()}"
    url = f"{endpoint}/{CONTAINER}?restype=container"
    with urlopen(Request(url, method="PUT", headers=headers), timeout=5):
        pass
