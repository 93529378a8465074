"""Record what every supported TensorRT version has of the API that the package uses.

    python -m tools.tensorrt_api

writes ``tests/data/tensorrt_api.json``, for the tests to compare with
`itr_deploy.engines.tensorrt_api`. TensorRT itself is not needed: its Python bindings are a wheel of
a megabyte, which pip fetches, and import over empty libraries, which the C compiler ``cc`` makes.
TensorRT for RTX must be installed. Python 3.10 to 3.12 have wheels of all versions.
"""

from __future__ import annotations

import ast
import inspect
import json
import os
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from importlib.machinery import ExtensionFileLoader
from importlib.util import module_from_spec, spec_from_loader
from operator import attrgetter
from pathlib import Path
from typing import Any

from itr_deploy.engines.tensorrt_api import Enumeration, TensorRT

RECORD = Path(__file__).resolve().parent.parent / "tests" / "data" / "tensorrt_api.json"
BINDINGS = {
    "10.3": "tensorrt-cu12-bindings==10.3.0",
    "10.13": "tensorrt-cu13-bindings==10.13.3.9",
    "10.16": "tensorrt-cu13-bindings==10.16.1.11",
    "11.0": "tensorrt-cu13-bindings==11.0.0.114",
    "11.4": "tensorrt-cu13-bindings==11.4.0.106",
}
RTX = "rtx-1.7"
VERSIONS = (*BINDINGS, RTX)
TYPES = {"SupportsInt": "int", "List": "list", "tuple[int, ...]": "tuple", "Flags": "int"}
TYPES |= {"buffer": "bytes", "Buffer": "bytes", "IParserError": "ParserError"}
"""Names that differ between versions, or between the bindings and the package."""


def declared() -> dict[str, str]:
    """What the package declares, by names such as ``"Builder.create_network"``.

    It is a ``"class"``, a ``"value"`` of an enum, a ``"property ro"`` or ``"property rw"``, or a
    method, such as ``"(flags: int=...) -> INetworkDefinition"``.
    """
    return dict(_declared(TensorRT))


def fits(wanted: str, form: str | None) -> bool:
    """Whether what is declared may be used of what a library has."""
    if form is None or wanted == "property ro":
        return form in ("property ro", "property rw")
    return wanted in (form, re.sub(r"(, )?\w+: \w+=\.\.\.", "", form))


def _declared(kind: type, prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in vars(kind).items():
        if isinstance(value, type):
            yield f"{prefix}{name}", "class"
            yield from _declared(value, f"{prefix}{name}.")
        elif isinstance(value, property):
            yield f"{prefix}{name}", "property ro"
        elif inspect.isfunction(value) and (name == "__init__" or not name.startswith("__")):
            yield f"{prefix}{name}", _signature(str(inspect.signature(value)))
    for name in inspect.get_annotations(kind):
        if not name.startswith("__"):
            yield f"{prefix}{name}", "value" if issubclass(kind, Enumeration) else "property rw"


def found(trt: Any) -> dict[str, str]:
    """What a library has of that; of overloads the one that fits."""
    forms = {}
    for path, wanted in declared().items():
        *owner, name = path.split(".")
        try:
            value = inspect.getattr_static(attrgetter(".".join(owner))(trt) if owner else trt, name)
        except AttributeError:
            continue
        known = _forms(name, value)
        forms[path] = next((form for form in known if fits(wanted, form)), known[0])
    return forms


def _forms(name: str, value: Any) -> list[str]:
    if isinstance(value, type):
        return ["class"]
    if isinstance(value, property):
        return ["property ro" if value.fset is None else "property rw"]
    if not callable(value):
        return ["value"]
    # pybind11 writes signatures at the head of docstrings, those of overloads with numbers.
    lines = (value.__doc__ or "").splitlines()
    overloads = [line for line in lines if re.match(rf"\d+\. {name}\(", line)]
    return [_signature(line) for line in overloads or lines[:1]]


def _signature(text: str) -> str:
    """Without ``self`` and the types' modules; of a union the first type."""
    text = text[text.index("(") :].replace("::", ".").replace("'", "")
    text = re.sub(r"= <[^>]*>", "= ...", text)
    function = ast.parse(f"def f{text}: ...").body[0]
    assert isinstance(function, ast.FunctionDef)
    plain = function.args.args[1:] if function.args.args[0].arg == "self" else function.args.args
    first = len(plain) - len(function.args.defaults)
    parts = [
        f"{entry.arg}: {_type(entry.annotation)}{'=...' if place >= first else ''}"
        for place, entry in enumerate(plain)
    ]
    return f"({', '.join(parts)}) -> {_type(function.returns)}"


def _type(node: ast.expr | None) -> str:
    text = re.sub(r"\w+\.", "", ast.unparse(node).split(" | ")[0] if node else "None")
    return re.sub(r"tuple\[.*\]|\w+", lambda word: TYPES.get(word[0], word[0]), text)


def recorded(version: str) -> dict[str, str]:
    """What the record says of a version."""
    found: dict[str, str | dict[str, str]] = json.loads(RECORD.read_bytes())
    forms = {p: form if isinstance(form, str) else form.get(version) for p, form in found.items()}
    return {path: form for path, form in forms.items() if form is not None}


def _record(forms: dict[str, dict[str, str]]) -> dict[str, str | dict[str, str]]:
    """Each name's form, by version where not all have the same."""
    result: dict[str, str | dict[str, str]] = {}
    for path in sorted(declared()):
        having = {version: forms[version][path] for version in VERSIONS if path in forms[version]}
        same = len(having) == len(VERSIONS) and len(set(having.values())) == 1
        result[path] = having[RTX] if same else having
    return result


def _fetched(requirement: str, place: Path) -> dict[str, str]:
    """What the bindings of a version have, asked in a process of its own."""
    pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(place)]
    subprocess.run([*pip, requirement], check=True)  # noqa: S603
    (wheel,) = place.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        bindings = archive.extract("tensorrt_bindings/tensorrt.so", place)
    for library in re.findall(
        rb"lib(?:nvinfer|nvonnxparser)\w*\.so\.\d+", Path(bindings).read_bytes()
    ):
        _make_empty(place / library.decode(), bindings)
    environment = {**os.environ, "LD_LIBRARY_PATH": str(place)}
    ask = [sys.executable, "-m", "tools.tensorrt_api", bindings]
    told = subprocess.run(ask, check=True, capture_output=True, env=environment)  # noqa: S603
    forms: dict[str, str] = json.loads(told.stdout)
    return forms


def _make_empty(library: Path, bindings: str) -> None:
    """A library with functions that the bindings may be linked to, but never call here."""
    names = set(re.findall(rb"\b(?:create|get|init)\w*(?:_INTERNAL|Registry|Version|Plugins)\b",
                           Path(bindings).read_bytes()))  # fmt: skip
    code = "".join(f"void *{name.decode()}(void) {{ return 0; }}\n" for name in sorted(names))
    options = ["-shared", "-fPIC", "-w", f"-Wl,-soname,{library.name}", "-x", "c", "-"]
    subprocess.run(["cc", "-o", str(library), *options], input=code.encode(), check=True)  # noqa: S603, S607


def main() -> None:
    """Write the record; with a file of bindings as argument, print what they have."""
    if sys.argv[1:]:
        loader = ExtensionFileLoader("tensorrt", sys.argv[1])
        spec = spec_from_loader("tensorrt", loader)
        assert spec is not None
        module = module_from_spec(spec)
        loader.exec_module(module)
        print(json.dumps(found(module)))
        return
    import tensorrt_rtx

    forms = {}
    for version, requirement in BINDINGS.items():
        with tempfile.TemporaryDirectory() as place:
            forms[version] = _fetched(requirement, Path(place))
    forms[RTX] = found(tensorrt_rtx)
    RECORD.write_text(json.dumps(_record(forms), indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
