"""The recorded Python API of every supported TensorRT version (made by tools/tensorrt_api.py)."""

from __future__ import annotations

import ast
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

DATA = Path(__file__).resolve().parent.parent / "data" / "tensorrt_api"
VERSIONS = ("10.3", "10.13", "10.16", "11.0", "11.4", "rtx-1.7")


@dataclass(frozen=True)
class Argument:
    name: str
    kind: str
    required: bool


@dataclass(frozen=True)
class Signature:
    arguments: tuple[Argument, ...]
    returns: str


@dataclass(frozen=True)
class Api:
    """One version: members of classes by name, and members of enums."""

    version: str
    classes: dict[str, dict[str, str | list[str]]]
    enums: dict[str, dict[str, int]]
    named: frozenset[str]

    @property
    def module(self) -> str:
        return "tensorrt_rtx" if self.version.startswith("rtx") else "tensorrt"

    def has(self, name: str) -> bool | None:
        """Whether the module has a class or an enum; None where the record does not say."""
        if name in self.classes or name in self.enums or name in self.named:
            return True
        # The records of versions that are not installed leave out the same classes and enums.
        alike = [api(v) for v in VERSIONS if self.module == "tensorrt_rtx" or "rtx" not in v]
        if any(name in other.classes for other in alike):
            return False
        if self.enums and any(name in other.enums for other in alike):
            return False
        return None

    def has_member(self, kind: str, member: str) -> bool | None:
        """Whether a class or an enum has a member; None where the record does not say."""
        if kind in self.enums:
            return member in self.enums[kind]
        return member in self.classes[kind] if kind in self.classes else None

    def signatures(self, kind: str, member: str) -> list[Signature]:
        """How a method may be called; nothing for what is no method."""
        recorded = self.classes.get(kind, {}).get(member, "")
        texts = [recorded] if isinstance(recorded, str) else recorded
        return [_signature(text) for text in texts if text.startswith("(")]


def _signature(text: str) -> Signature:
    function = ast.parse(f"def f{text}: ...").body[0]
    assert isinstance(function, ast.FunctionDef)
    given = function.args.args
    first_default = len(given) - len(function.args.defaults)
    return Signature(
        tuple(
            Argument(
                entry.arg, ast.unparse(entry.annotation or ast.Constant(None)), n < first_default
            )
            for n, entry in enumerate(given)
        ),
        ast.unparse(function.returns or ast.Constant(None)),
    )


@cache
def api(version: str) -> Api:
    content = json.loads((DATA / f"{version}.json").read_bytes())
    return Api(version, content["classes"], content["enums"], frozenset(content["named"]))
