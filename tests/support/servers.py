"""Servers as users start them: processes of their own, on this machine's loopback, always ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import httpx2
import psutil

T = TypeVar("T")

START, END = 90.0, 60.0
"""Seconds that a server has to start and to end; far more than it takes."""

PROGRAM = "from itr_deploy.cli.main import main; main()"

WITH_A_FAULT = """
import ctypes, signal, threading

def kill(number, frame):
    (thread,) = [one for one in threading.enumerate() if one.name == "compute"]
    of = ctypes.c_ulong(thread.ident)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(of, ctypes.py_object(SystemExit))

signal.signal(signal.SIGUSR1, kill)
"""
"""Ends the thread that computes on SIGUSR1, as a fault outside of Python's errors would."""


@dataclass
class Running:
    """A server's process.

    Attributes:
        process: The process.
        url: Its address, without a slash at the end.
        log: The file of what it says.
    """

    process: subprocess.Popen[bytes]
    url: str
    log: Path

    @property
    def place(self) -> tuple[str, int]:
        """Host and port, for sockets."""
        parts = urlsplit(self.url)
        assert parts.hostname is not None
        assert parts.port is not None
        return parts.hostname, parts.port

    @property
    def said(self) -> str:
        """Its output."""
        return self.log.read_text(errors="replace")

    @property
    def memory(self) -> int:
        """Bytes that are resident."""
        return int(psutil.Process(self.process.pid).memory_info().rss)

    @property
    def peers(self) -> list[int]:
        """Ports of those who are connected to it."""
        found = psutil.Process(self.process.pid).net_connections("tcp")
        return [one.raddr.port for one in found if one.raddr and one.status == "ESTABLISHED"]

    def client(self, **options: Any) -> httpx2.Client:
        """A client whose connections are kept."""
        return httpx2.Client(base_url=self.url, **{"timeout": 30.0, **options})

    def figure(self, name: str) -> float:
        """A figure of ``/metrics``, by its name and labels."""
        for line in httpx2.get(f"{self.url}/metrics").text.splitlines():
            if line.rpartition(" ")[0] == name:
                return float(line.rpartition(" ")[2])
        return 0.0

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    def wait(self) -> int:
        """The exit code, once the process has ended."""
        return self.process.wait(END)

    def end(self) -> int:
        """End it as a terminal's Ctrl-C does; its exit code."""
        self.signal(signal.SIGINT)
        return self.wait()


@contextmanager
def running_server(
    bundle: Path, gallery: Path, log: Path, *options: object, fault: str = "", port: int = 0
) -> Iterator[Running]:
    """``itr-deploy serve``, ready; killed at the end of the block if it still runs.

    Args:
        bundle: The bundle.
        gallery: The gallery.
        log: File for what it says.
        options: Further options.
        fault: Code that is run first, in the process.
        port: The port; 0 for any that is free.
    """
    words = [bundle, "--gallery", gallery, "--port", port, *options]
    command = [sys.executable, "-c", fault + PROGRAM, "serve", *map(str, words)]
    with log.open("wb") as file:
        process = subprocess.Popen(
            command, stdout=file, stderr=file, env={**os.environ, "PYTHONUNBUFFERED": "1"}
        )
    running = Running(process, "", log)
    try:
        running.url = until(lambda: _address(running), START)
        yield running
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(END)


def until(found: Callable[[], T | None], seconds: float = 30.0) -> T:
    """What a function finds, asked again and again; fails when it has found nothing by then."""
    end = time.monotonic() + seconds
    while not (result := found()):
        assert time.monotonic() < end, f"nothing within {seconds} s"
        time.sleep(0.02)
    return result


def _address(running: Running) -> str | None:
    for line in running.said.splitlines():
        if line.startswith("ready: "):
            return line.removeprefix("ready: ").rstrip("/")
    assert running.process.poll() is None, f"the server ended: {running.said}"
    return None


def holding(file: Path) -> str:
    """Code for `running_server`: nothing is computed while this file is there."""
    return f"""
import os, time
from itr_deploy.serving.queue import ComputeQueue

compute = ComputeQueue._compute

def held(self, batch):
    while os.path.exists({str(file)!r}):
        time.sleep(0.01)
    compute(self, batch)

ComputeQueue._compute = held
"""


SHORT = """
from itr_deploy.serving import app, connections

app.READ_TIMEOUT = connections.HEAD_TIMEOUT = connections.STALLED = 1.0
connections.MOST_CONNECTIONS = 40
"""
"""Code for `running_server`: slow clients are given up after a second instead of ten, and there are
fewer of them."""
