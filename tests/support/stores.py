"""An S3 server on this machine's loopback: moto's, in a process of its own."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import Request, urlopen

import pytest

BUCKET = "galleries"
START = 60.0
KEY, SECRET = "a-key-of-the-tests", "a-secret-of-the-tests"


@dataclass(frozen=True)
class StoreServer:
    """A running server.

    Attributes:
        url: Its endpoint.
        log: The file of its requests.
    """

    url: str
    log: Path

    @property
    def variables(self) -> dict[str, str]:
        """What a user would set; nothing of this machine's is read."""
        return {
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_REGION": "us-east-1",
            "AWS_ENDPOINT": self.url,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_CONFIG_FILE": os.devnull,
            "NO_PROXY": "127.0.0.1",
        }

    def place(self, name: str = "gallery") -> str:
        """The URL of a place where nothing is."""
        return f"s3://{BUCKET}/{uuid.uuid4().hex[:12]}/{name}"

    def objects(self, url: str) -> Any:
        """A client of the objects below a URL, of obstore."""
        from obstore.store import from_url

        return from_url(url, client_options={"allow_http": True})

    def names(self, url: str) -> set[str]:
        """The objects below a URL."""
        import obstore

        found = obstore.list(self.objects(url)).collect()
        return {entry["path"] for entry in found}

    def requests(self) -> int:
        """How many requests it has answered."""
        return self.log.read_text(errors="replace").count(" HTTP/1.1")

    def ask(self, method: str, path: str, body: bytes = b"") -> None:
        """Ask it for something."""
        # It is an address of the test's own.
        kind = {"Content-Type": "text/plain"}
        asked = Request(self.url + path, body or None, kind, method=method)
        with urlopen(asked, timeout=10) as answer:
            answer.read()


@contextmanager
def store_server(folder: Path) -> Iterator[StoreServer]:
    """Start a server with an empty bucket, and end it."""
    pytest.importorskip("moto", reason="pip install -e '.[dev]'")
    pytest.importorskip("obstore", reason="pip install -e '.[dev]'")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = folder / "store.log"
    with log.open("wb") as output:
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
        process = subprocess.Popen(command, stdout=output, stderr=output)
    server = StoreServer(f"http://127.0.0.1:{port}", log)
    try:
        until = time.monotonic() + START
        while True:
            try:
                server.ask("PUT", f"/{BUCKET}")
                break
            except (URLError, OSError):
                assert process.poll() is None, log.read_text(errors="replace")
                assert time.monotonic() < until, "the server does not start"
                time.sleep(0.05)
        yield server
    finally:
        process.terminate()
        process.wait(30)


def set_variables(server: StoreServer, patch: pytest.MonkeyPatch) -> None:
    """Let this process use the server, and nothing else of Amazon's."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        patch.delenv(name)
    for name, value in server.variables.items():
        patch.setenv(name, value)
