"""The code uses nothing of TensorRT that a supported version lacks."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import itr_deploy
from tests.support.tensorrt_api import DATA, VERSIONS, api
from tests.support.tensorrt_use import ALLOWED, MODULE, check
from tools.tensorrt_api import LISTED, installed, listed

PACKAGE = Path(itr_deploy.__file__).parent
FILES = sorted(
    {
        *PACKAGE.glob("runtime/backends/tensorrt/*.py"),
        *PACKAGE.glob("export/engines/*.py"),
        *(p for p in PACKAGE.rglob("*.py") if re.search(r"\btrt\b", p.read_text(encoding="utf-8"))),
    }
)
"""Whatever has the library, or objects of it, in its hands."""
SOURCES = {path: path.read_text(encoding="utf-8") for path in FILES}


def in_function(lines: str, parameters: str = "trt: Any") -> str:
    body = "\n".join(f"    {line}" for line in lines.strip().splitlines())
    return f"def f({parameters}):\n{body}\n"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_every_attribute_is_in_every_supported_version(path: Path) -> None:
    assert check(SOURCES[path], SOURCES.values()).problems == []


def test_the_checker_sees_what_the_code_uses() -> None:
    seen = {member for text in SOURCES.values() for member in check(text, SOURCES.values()).members}
    assert {
        (MODULE, "OnnxParser"),
        ("OnnxParser", "parse_from_file"),
        ("NetworkDefinitionCreationFlag", "STRONGLY_TYPED"),
        ("Runtime", "deserialize_cuda_engine"),
        ("ICudaEngine", "create_execution_context"),
        ("ICudaEngine", "get_tensor_profile_shape"),
        ("TensorIOMode", "INPUT"),
        ("IExecutionContext", "set_input_shape"),
        ("IExecutionContext", "execute_async_v3"),
    } <= seen


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        ("trt.IAlgorithmSelector", "line 2: IAlgorithmSelector is in no record"),
        ("trt.Builder(trt.Logger()).platform_has_fast_fp16", "is not in 11.0, 11.4, rtx-1.7"),
        (
            "builder = trt.Builder(trt.Logger())\nc = builder.create_builder_config()\nc.int8_mode",
            "line 4: IBuilderConfig.int8_mode is not in 10.3, 10.13, 10.16, 11.0, 11.4, rtx-1.7",
        ),
        ("trt.BuilderFlag.FP16", "line 2: BuilderFlag.FP16 is not in 11.4, rtx-1.7"),
        ("e = trt.Runtime(None).deserialize_cuda_engine(b'')\ne.device_memory_size", "not in 11.0"),
        ("for v in [trt.Builder(None)]:\n    v.max_batch", "Builder.max_batch is not in 10.3"),
        ("trt.Logger.FATAL", "Logger.FATAL is not in 10.3"),
        ("trt.BuilderFlag(3)", "line 2: makes a BuilderFlag from a number"),
        ("trt.TensorIOMode.INPUT == 1", "line 2: compares an enum with 1"),
        ("trt.Builder(None).create_network(1)", "create_network is given 1, not a name"),
        ("trt.Builder(None).create_builder_config().set_flag(6)", "set_flag is given 6"),
    ],
)
def test_the_checker_finds_what_a_version_lacks(lines: str, problem: str) -> None:
    found = check(in_function(lines)).problems
    assert len(found) == 1
    assert problem in found[0]


@pytest.mark.parametrize(
    ("parameters", "lines", "problem"),
    [
        ("context: Any", "context.execute_v3()", "IExecutionContext.execute_v3 is not in 10.3"),
        ("self, engine: Any", "self._e = 1\nengine.has_implicit_batch_dimension", "not in 11.0"),
        ("thing: Any", "thing.run()", "line 2: .run of an Any of unknown class"),
        (
            "self, context: Any",
            "self._context = context\nself._context.enqueue()",
            "IExecutionContext.enqueue is not in 10.3",
        ),
        ("self, trt: Any", "self.x: Any = None\nself.x.run()", ".run of an Any of unknown class"),
    ],
)
def test_the_checker_knows_objects_by_annotation_and_name(
    parameters: str, lines: str, problem: str
) -> None:
    found = check(in_function(lines, parameters)).problems
    assert len(found) == 1
    assert problem in found[0]


@pytest.mark.parametrize(
    ("parameters", "lines"),
    [
        ("profile: dict[str, int]", "profile.items()"),
        ("config: Any", "if hasattr(config, 'tiling_level'):\n    config.tiling_level = 1"),
        ("config: Any", "config.set_compute_capability(None, 0)"),
        ("trt: Any", "1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)"),
        ("trt: Any", "trt.__version__\ntrt.BuilderFlag.TF32.name"),
    ],
)
def test_the_checker_takes_what_is_right_or_guarded(parameters: str, lines: str) -> None:
    assert check(in_function(lines, parameters)).problems == []


@pytest.mark.parametrize(("kind", "member"), ALLOWED)
def test_what_is_allowed_is_in_the_versions_that_it_is_allowed_for(kind: str, member: str) -> None:
    versions, reason = ALLOWED[kind, member]
    has = {v: api(v).has(member) if kind == MODULE else api(v).has_member(kind, member)
           for v in VERSIONS}  # fmt: skip
    assert [version for version, there in has.items() if there] == list(versions)
    assert reason


def test_there_is_a_record_of_every_supported_version() -> None:
    assert {path.stem for path in DATA.glob("*.json")} == set(VERSIONS)
    assert {*LISTED.values(), "rtx-1.7"} == set(VERSIONS)


def test_the_installed_library_is_as_recorded() -> None:
    trt = pytest.importorskip("tensorrt_rtx")
    version = ".".join(trt.__version__.split(".")[:2])
    if f"rtx-{version}" not in VERSIONS:
        pytest.skip(f"TensorRT for RTX {version} is not recorded")
    recorded = json.loads((DATA / f"rtx-{version}.json").read_bytes())
    assert installed("tensorrt_rtx") == recorded


def test_a_listing_is_read_version_by_version() -> None:
    text = """\
## Builder
   __init__  | __init__(self: Builder, logger: ILogger) -> None
   old ONLY:cu12_10.3.0 | old(self: Builder, level: x::y::Level = <Level.A: 2>, n: a.B = 0) -> None
   two  | two(*args, **kwargs) || 1. two(self: Builder) -> int || 2. two(self, a: int) -> int
   level  | property rw
## Unknown
   something  | property ro
## BuilderFlag {'cu13_11.4.0.106': {'B': 1, 'A': 0}}
"""
    old, new = listed(text, "cu12_10.3.0"), listed(text, "cu13_11.4.0.106")
    assert old["classes"]["Builder"] == {
        "__init__": "(logger: ILogger) -> None",
        "level": "property rw",
        "old": "(level: Level=..., n: B=...) -> None",
        "two": ["() -> int", "(a: int) -> int"],
    }
    assert "old" not in new["classes"]["Builder"]
    assert old["named"] == ["ILogger"]
    assert (old["enums"], new["enums"]) == ({}, {"BuilderFlag": {"A": 0, "B": 1}})
