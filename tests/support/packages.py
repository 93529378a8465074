"""Fake packages to put on `sys.path`, and environments without certain packages."""

from __future__ import annotations

import sysconfig
from pathlib import Path

FAKE_ONNXRUNTIME = """
import os, sys, time
__version__ = "9.9"
def get_available_providers():
    return {listed!r}
class SessionOptions:
    def add_session_config_entry(self, name, value):
        pass
class InferenceSession:
    def __init__(self, model, options, providers, enable_fallback):
        self.providers = list(providers)
        if self.providers != ["CPUExecutionProvider"]:
            {starting}
    def get_providers(self):
        return self.providers
    def run(self, names, inputs):
        return [{factor} * inputs["x"]]
"""


def fake_onnxruntime(
    site: Path, *, starting: str = "pass", listed: tuple[str, ...] = (), factor: int = 2
) -> Path:
    """An onnxruntime whose sessions run ``starting`` when they start on anything but the CPU."""
    content = FAKE_ONNXRUNTIME.format(
        starting=starting, listed=[*listed, "CPUExecutionProvider"], factor=factor
    )
    return fake_module(site, "onnxruntime", content)


def fake_module(site: Path, name: str, content: str) -> Path:
    (site / name).mkdir(parents=True)
    (site / name / "__init__.py").write_text(content)
    return site


def fake_distribution(site: Path, name: str, version: str, module: str) -> Path:
    """The metadata that pip keeps about an installed distribution."""
    info = site / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (info / "top_level.txt").write_text(f"{module}\n")
    return site


def site_without(place: Path, *names: str) -> Path:
    """This environment's packages, except those whose name starts with one of the given ones."""
    place.mkdir()
    for entry in Path(sysconfig.get_path("purelib")).iterdir():
        if not entry.name.startswith(names) and entry.suffix != ".pth":
            (place / entry.name).symlink_to(entry)
    return place
