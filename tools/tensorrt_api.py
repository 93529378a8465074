"""Write down the Python API of TensorRT: classes, signatures, properties, enums.

The tests check against these files that the code uses nothing that a supported version lacks, and
make their stand-in for the library from them. A file a version, from the bindings that are
installed:

    python -m tools.tensorrt_api tensorrt_rtx tests/data/tensorrt_api/rtx-1.7.json

or, for versions that are not, from a listing of several versions' members:

    python -m tools.tensorrt_api --from-listing LISTING tests/data/tensorrt_api

A listing has a section ``## Class`` and a line ``member ONLY:versions | what it is`` for each of
its members, and a section ``## Enum {version: {member: value}}`` for each enum.
"""

from __future__ import annotations

import argparse
import ast
import inspect
import json
import re
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from types import WrapperDescriptorType
from typing import Any

CLASSES = (
    "Builder",
    "Dims",
    "EngineInspector",
    "IBuilderConfig",
    "ICudaEngine",
    "IExecutionContext",
    "IHostMemory",
    "ILayer",
    "ILogger",
    "INetworkDefinition",
    "IOptimizationProfile",
    "IOutputAllocator",
    "IProgressMonitor",
    "IRuntimeConfig",
    "ISerializationConfig",
    "ITensor",
    "ITimingCache",
    "Logger",
    "OnnxParser",
    "ParserError",
    "Runtime",
)
"""What a program that builds and runs engines meets; the bindings have 200 more."""

ENUMS = (
    "BuilderFlag",
    "ComputeCapability",
    "DataType",
    "ErrorCode",
    "ExecutionContextAllocationStrategy",
    "HardwareCompatibilityLevel",
    "LayerInformationFormat",
    "LayerType",
    "MemoryPoolType",
    "NetworkDefinitionCreationFlag",
    "OnnxParserFlag",
    "PreviewFeature",
    "ProfilingVerbosity",
    "RuntimePlatform",
    "SerializationFlag",
    "TensorIOMode",
    "TensorLocation",
    "TilingOptimizationLevel",
)

Member = str | list[str]
"""``"property ro"``, ``"property rw"``, ``"value"``, ``"class"``, a signature, or several."""

LISTED = {
    "cu12_10.3.0": "10.3",
    "cu13_10.13.3.9": "10.13",
    "cu13_10.16.1.11": "10.16",
    "cu13_11.0.0.114": "11.0",
    "cu13_11.4.0.106": "11.4",
}
"""A listing's names of versions, and the supported versions they stand for."""


def installed(module: str) -> dict[str, Any]:
    """The API of a library that is installed."""
    trt = import_module(module)
    return _content(
        {name: _members(getattr(trt, name)) for name in CLASSES if hasattr(trt, name)},
        {
            name: {key: int(value) for key, value in getattr(trt, name).__members__.items()}
            for name in ENUMS
            if hasattr(trt, name)
        },
    )


def listed(text: str, version: str) -> dict[str, Any]:
    """The API of a version that a listing names."""
    classes: dict[str, dict[str, Member]] = {}
    enums: dict[str, dict[str, int]] = {}
    section = ""
    for line in text.splitlines():
        heading = re.fullmatch(r"## (\w+)(?: ({.*}))?", line)
        if heading and heading[2]:
            values = ast.literal_eval(heading[2])
            if version in values:
                enums[heading[1]] = values[version]
        elif heading:
            section = heading[1]
        elif section in CLASSES:
            found = re.fullmatch(r"\s+(\w+) (?:ONLY:(\S+) )? ?\| (.*)", line)
            if found is None:
                raise SystemExit(f"a line of the listing is not understood: {line!r}")
            name, only, kind = found.groups()
            if (only is None or version in only.split(",")) and kind != "wrapper_descriptor":
                classes.setdefault(section, {})[name] = _from_text(kind)
    return _content(classes, {name: enums[name] for name in ENUMS if name in enums})


def _content(
    classes: dict[str, dict[str, Member]], enums: dict[str, dict[str, int]]
) -> dict[str, Any]:
    """A file's content.

    ``named`` are the classes and enums that signatures speak of: they are there, but nothing is
    known of their members.
    """
    words = {
        word
        for members in classes.values()
        for member in members.values()
        for word in re.findall(r"[:>\[] ?([A-Z]\w+)", str(member))
    }
    known = classes.keys() | enums.keys()
    named = words & (set(CLASSES) | set(ENUMS)) - known
    return {
        "classes": {name: dict(sorted(classes[name].items())) for name in sorted(classes)},
        "enums": {
            name: dict(sorted(enums[name].items(), key=lambda item: (item[1], item[0])))
            for name in sorted(enums)
        },
        "named": sorted(named),
    }


def _members(kind: type) -> dict[str, Member]:
    names = [name for name in dir(kind) if not name.startswith("_")]
    found = {name: _member(inspect.getattr_static(kind, name), name) for name in names}
    create = vars(kind).get("__init__")
    if create is not None and not isinstance(create, WrapperDescriptorType):
        found["__init__"] = _signatures(_documented(create, "__init__"))
    return found


def _member(value: Any, name: str) -> Member:
    if isinstance(value, property):
        return "property ro" if value.fset is None else "property rw"
    if isinstance(value, type):
        return "class"
    if callable(value):
        return _signatures(_documented(value, name))
    return "value"


def _documented(value: Any, name: str) -> list[str]:
    """The signatures in a method's docstring, as pybind11 writes them."""
    lines = (value.__doc__ or "").splitlines()
    overloads = [line for line in lines if re.match(rf"\d+\. {name}\(", line)]
    return overloads or lines[:1]


def _from_text(kind: str) -> Member:
    if kind.startswith("property "):
        return kind
    if "(" not in kind:
        return "class" if kind == "pybind11_type" else "value"
    parts = kind.split(" || ")
    return _signatures(parts[1:] or parts)


def _signatures(texts: Sequence[str]) -> Member:
    found = [_signature(text) for text in texts]
    return found[0] if len(found) == 1 else found


def _signature(text: str) -> str:
    """``(name: Type = ..., ...) -> Type``: Python, without ``self`` and the types' modules."""
    text = re.sub(r"^(\d+\. )?\w+(?=\()", "def f", text)
    text = re.sub(r"= <[^>]*>", "= ...", text).replace("::", ".")
    text = re.sub(r"(?:\w+\.)+(?=[A-Za-z_])", "", text)
    # A default before an argument without one is none: no call can leave it out.
    text = re.sub(r" = (None|\.\.\.)(?=.*, \w+: [^=]*\))", "", text)
    function = ast.parse(f"{text}: pass").body[0]
    if not isinstance(function, ast.FunctionDef):
        raise SystemExit(f"a signature is not understood: {text!r}")
    arguments = function.args
    arguments.args = [entry for entry in arguments.args if entry.arg != "self"]
    arguments.defaults = [ast.Constant(...) for _ in arguments.defaults]
    result = "" if function.returns is None else f" -> {ast.unparse(function.returns)}"
    return f"({ast.unparse(arguments)}){result}"


def _write(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def main() -> None:
    """Write the files that the arguments name."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--from-listing", type=Path, help="a listing of several versions' members")
    parser.add_argument("module", nargs="?", help="tensorrt or tensorrt_rtx, installed")
    parser.add_argument("output", type=Path, help="the file, or the directory for a listing's")
    arguments = parser.parse_args()
    if arguments.from_listing is not None:
        text = arguments.from_listing.read_text(encoding="utf-8")
        for name, version in LISTED.items():
            _write(arguments.output / f"{version}.json", listed(text, name))
    elif arguments.module is not None:
        _write(arguments.output, installed(arguments.module))
    else:
        parser.error("name a module, or give --from-listing")


if __name__ == "__main__":
    main()
