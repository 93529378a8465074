from __future__ import annotations

import ast
import inspect
import pkgutil
import re
import subprocess
import sys
import typing
from collections.abc import Callable, Iterator, Mapping
from dataclasses import is_dataclass
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch

import itr_deploy
from itr_deploy import errors
from tests.support.command import python

ROOT = Path(__file__).resolve().parent.parent


def test_the_arrows_of_the_architecture_run_one_way() -> None:
    command = Path(sys.executable).parent / "lint-imports"
    done = subprocess.run(
        [command, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout


SESSION = re.compile(r"InferenceSession\s*\(|import\s.*InferenceSession")


def test_onnxruntime_sessions_are_created_in_one_place() -> None:
    """Elsewhere, int8 products would be wrong on x86 without VNNI, where few tests run.

    A peer of the benchmarks is opened as its user would, without us.
    """
    folders = ("itr_deploy", "tests", "examples", "benchmarks", "tools")
    files = [file for folder in folders for file in (ROOT / folder).rglob("*.py")]
    creating = {str(file.relative_to(ROOT)) for file in files if SESSION.search(file.read_text())}
    creating.remove("benchmarks/peers/exported.py")
    assert creating == {"itr_deploy/runtime/backends/sessions.py"}


FLAG = re.compile(r"--[a-z]")
COMMANDS = (
    "engines/fit.py",
    "engines/library.py",
    "model_repository/templates/client.py",
    "runtime/backends/tensorrt/",
)
"""They write whole commands, for a shell, or are one."""


def test_the_librarys_messages_name_a_functions_argument_and_the_option_beside_it() -> None:
    """A function has no options, a command no arguments: ``force=True (--force)`` is for both."""
    for file in sorted((ROOT / "itr_deploy").rglob("*.py")):
        name = file.relative_to(ROOT / "itr_deploy").as_posix()
        if not name.startswith(("cli/", *COMMANDS)):
            for line, text in texts(ast.parse(file.read_text())):
                assert not FLAG.search(re.sub(r"\([^()]*\)", "", text)), f"{name}:{line}: {text}"


def texts(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """The strings of a program, but for its docstrings."""
    if isinstance(tree, ast.JoinedStr):
        whole = (part.value if isinstance(part, ast.Constant) else "" for part in tree.values)
        yield tree.lineno, "".join(map(str, whole))
    elif isinstance(tree, ast.Constant) and isinstance(tree.value, str):
        yield tree.lineno, tree.value
    elif not (isinstance(tree, ast.Expr) and isinstance(tree.value, ast.Constant)):
        for child in ast.iter_child_nodes(tree):
            yield from texts(child)


def holds_arrays(annotation: object, names: Mapping[str, object], depth: int = 0) -> bool:
    """Whether a field's annotation names arrays, by aliases and protocols too."""
    if isinstance(annotation, str):
        named = (names.get(word) for word in re.findall(r"\w+", annotation))
        return depth < 5 and any(holds_arrays(value, names, depth + 1) for value in named)
    if getattr(annotation, "_is_protocol", False):
        return hasattr(annotation, "__getitem__")
    if typing.get_origin(annotation) is Callable:
        return False
    kind = typing.get_origin(annotation) or annotation
    return kind in (np.ndarray, torch.Tensor) or any(
        holds_arrays(part, names, depth + 1) for part in typing.get_args(annotation)
    )


def dataclasses_over_arrays() -> Iterator[type]:
    for found in pkgutil.walk_packages(itr_deploy.__path__, "itr_deploy."):
        module = import_module(found.name)
        for kind in vars(module).values():
            if is_dataclass(kind) and isinstance(kind, type) and kind.__module__ == found.name:
                fields = kind.__annotations__.values()
                if any(holds_arrays(field, vars(module)) for field in fields):
                    yield kind


def test_what_holds_arrays_is_not_compared_as_a_dataclass_is() -> None:
    """Comparing would raise, as the truth of an array is ambiguous; and so would hashing."""
    found = {kind.__name__: kind for kind in dataclasses_over_arrays()}
    assert found.keys() >= {"Hits", "Encoded", "Block", "Ranks", "NeighbourLists", "SplitScores"}
    assert [name for name, kind in found.items() if kind.__dataclass_params__.eq] == []


EVERY_MODULE = """
import importlib, pkgutil
import itr_deploy.bundle, itr_deploy.evaluation, itr_deploy.runtime
for half in (itr_deploy.bundle, itr_deploy.evaluation, itr_deploy.runtime):
    for module in pkgutil.walk_packages(half.__path__, half.__name__ + "."):
        importlib.import_module(module.name)
assert "itr_deploy.runtime.search.coarse" in sys.modules
"""


@pytest.mark.parametrize(
    "program",
    [
        EVERY_MODULE,
        "import itr_deploy.runtime; itr_deploy.runtime.Retriever",
        "import itr_deploy.deploy.indexing, itr_deploy.deploy.searching",
        "import itr_deploy; itr_deploy.Retriever",
    ],
)
def test_the_runtime_half_loads_no_torch_and_no_onnx(program: str) -> None:
    code = f"""
import sys
{program}
ours = {{"itr_deploy.models", "itr_deploy.exporters"}}
export_half = {{"torch", "onnx", "onnxscript", "onnx_ir"}} | ours
print("loaded:", sorted(export_half & sys.modules.keys()))
"""
    outcome = python(code)
    assert outcome.out == "loaded: []\n", outcome.err


def test_the_registered_families_load_no_torch_and_no_onnx() -> None:
    code = """
import sys
import itr_deploy.models.registry, itr_deploy.deploy.evaluating, itr_deploy.deploy.profiling
print("loaded:", sorted({"torch", "onnx", "onnxscript", "onnx_ir"} & sys.modules.keys()))
"""
    outcome = python(code)
    assert outcome.out == "loaded: []\n", outcome.err


def test_a_search_loads_no_torch_and_no_onnx(bundle: Path, tmp_path: Path) -> None:
    code = """
import sys
import numpy as np
from itr_deploy import Gallery, Matcher, Retriever
matcher = Matcher.load(sys.argv[1])
gallery = Gallery.create(sys.argv[2], matcher)
gallery.add(["a", "b"], np.ones((2, 4, 32), np.float32))
assert Retriever(matcher, gallery).search("a dog")[0].id == "a"
print("loaded:", sorted({"torch", "onnx", "onnxscript", "onnx_ir"} & sys.modules.keys()))
"""
    outcome = python(code, bundle, tmp_path / "gallery")
    assert outcome.out == "loaded: []\n", outcome.err


def test_importing_the_package_loads_nothing() -> None:
    code = """
import sys
before = set(sys.modules)
import itr_deploy
new = {name.split(".")[0] for name in set(sys.modules) - before}
print("loaded:", sorted(new & {"numpy", "torch", "lancedb", "pyarrow", "onnxruntime", "pydantic"}))
"""
    assert python(code).out == "loaded: []\n"


VERBS = [
    *(
        "bench",
        "build_engine",
        "cascade",
        "check",
        "compact",
        "convert",
        "doctor",
        "ensemble",
        "evaluate",
    ),
    *(
        "export",
        "export_regions",
        "export_reranker",
        "index",
        "index_bank",
        "index_coarse",
        "inspect",
    ),
    *("profile_routes", "search", "serve", "shard", "triton", "tune", "up", "verify"),
]
OBJECTS = [
    *(
        "BenchReport",
        "Client",
        "Detection",
        "Detector",
        "Encoded",
        "EvaluationReport",
        "Explanation",
    ),
    *("Gallery", "Hit", "Hits", "Matcher", "Regions", "Retriever", "Shards"),
]


def test_the_public_names_are_the_verbs_the_objects_and_the_errors() -> None:
    raised = [name for name in vars(errors) if name.endswith("Error")]
    public = sorted([*VERBS, *OBJECTS, *raised, "__version__"])
    assert sorted(itr_deploy.__all__) == dir(itr_deploy) == public
    for name in public:
        assert getattr(itr_deploy, name) is not None
    with pytest.raises(AttributeError, match="'Absent'"):
        itr_deploy.Absent  # noqa: B018


@pytest.mark.parametrize("name", VERBS)
def test_a_verb_is_a_function_that_documents_what_it_takes(name: str) -> None:
    verb = getattr(itr_deploy, name)
    parameters = [name for name in inspect.signature(verb).parameters if name != "options"]
    assert callable(verb)
    for parameter in parameters:
        assert f"{parameter}: " in verb.__doc__


def test_the_matcher_loads_no_gallery() -> None:
    code = "import sys, itr_deploy; itr_deploy.Matcher; print('lancedb' in sys.modules)"
    assert python(code).out == "False\n"


def test_a_verb_is_itself_whatever_was_imported_before() -> None:
    code = """
import itr_deploy.exporters, itr_deploy.deploy.exporting, itr_deploy.benchmarking.benchmark
import itr_deploy
print(callable(itr_deploy.export), callable(itr_deploy.bench), callable(itr_deploy.doctor))
"""
    assert python(code).out == "True True True\n"


PUBLIC_METHODS = {
    "Client": {"about", "close", "explain", "score", "search"},
    "Detection": {
        "attribute_confidence", "attributes", "boxes", "class_confidence", "classes", "enough",
        "features", "picture_size",
    },
    "Detector": {"detect", "feature_dim", "images", "load", "regions", "stream"},
    "Encoded": {
        "blocks", "embedding", "encoding_id", "modality", "places", "stored_as", "take",
    },
    "Explanation": {
        "attention", "exact", "placed", "regions", "score", "shown", "step", "steps", "strongest",
        "word_scores", "words",
    },
    "Gallery": {
        "add", "boxes", "build_coarse_index", "check_bundle", "check_filter", "coarse_indexed",
        "column_types", "compact", "count", "create", "delete",
        "description", "identity", "ids", "lookup", "metadata_columns", "modality", "open",
        "opened",
        "refresh", "snapshot", "table", "update", "upsert", "verify", "version", "writing",
    },
    "Hits": {
        "count", "ids", "index", "matcher_ranks", "metadata", "partial", "rerank_scores", "scores",
        "shards",
    },
    "Matcher": {
        "encode_images", "encode_texts", "encode_token_ids", "explain", "item_bytes", "load",
        "score", "text",
    },
    "Retriever": {
        "close", "compares_alike", "explain", "load", "refresh", "refresh_error", "reranks",
        "score", "search", "searched", "shards", "takes_pictures", "warm_up",
    },
    "Shards": {"check_encoding", "open", "path_of", "split"},
}  # fmt: skip


@pytest.mark.parametrize("name", PUBLIC_METHODS)
def test_the_public_methods_are_these(name: str) -> None:
    kind = getattr(itr_deploy, name)
    found = {member for member in dir(kind) if not member.startswith("_")}
    fields = set(getattr(kind, "__dataclass_fields__", ()))
    assert found | fields == PUBLIC_METHODS[name]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.InputError, 1),
        (errors.CheckpointError, 1),
        (errors.BundleError, 1),
        (errors.GalleryError, 1),
        (errors.GalleryBusyError, 1),
        (errors.GalleryUnreadableError, 1),
        (errors.ShardUnavailableError, 4),
        (errors.OutputError, 1),
        (errors.UsageError, 2),
        (errors.ParityError, 3),
        (errors.SetupError, 4),
        (errors.EngineError, 4),
        (errors.ServiceError, 4),
        (errors.InterruptedWorkError, 130),
    ],
)
def test_every_error_has_its_exit_code(error: type[errors.ItrDeployError], code: int) -> None:
    assert error.exit_code == code
    assert issubclass(error, errors.ItrDeployError)
