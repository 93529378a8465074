"""Every public function refuses what it cannot use, before any work, as its command does."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest

import itr_deploy
from itr_deploy import Gallery, Matcher, Retriever
from itr_deploy.cli import export as export_verb
from itr_deploy.cli.verbs import VERBS
from itr_deploy.errors import ItrDeployError, UsageError
from itr_deploy.models.registry import FAMILIES, RERANKERS
from itr_deploy.values import Check
from tests.support.files import tree

FUNCTIONS = [*(verb.replace("-", "_") for verb in VERBS), "export_regions", "export_reranker"]
UNCHECKED = {"search": {"image"}, "export": {"options"}}
"""Arrays, which are checked as they are encoded, and a family's options, which it checks itself."""

NEEDED: dict[str, dict[str, Any]] = {
    "bench": {"bundle": "b", "gallery": "g"},
    "build_engine": {"bundle": "b"},
    "cascade": {"retriever": "r", "matcher": "m", "output": "o"},
    "check": {"bundle": "b"},
    "compact": {"gallery": "g"},
    "convert": {"source": "s", "output": "o"},
    "doctor": {},
    "ensemble": {"bundles": ["a", "b"], "output": "o"},
    "evaluate": {"bundle": "b", "data": "d"},
    "export": {"family": "imram", "checkpoint": "c", "vocab": "v", "output": "o"},
    "export_regions": {"checkpoint": "c", "output": "o"},
    "export_reranker": {"family": "leaprr", "checkpoint": "c", "base": "b", "output": "o"},
    "index": {"bundle": "b", "data": "d", "output": "o"},
    "index_bank": {"bundle": "b", "gallery": "g", "bank": "k"},
    "index_coarse": {"gallery": "g"},
    "inspect": {"path": "b"},
    "profile_routes": {"bundle": "b", "data": "d"},
    "search": {"bundle": "b", "queries": "a dog", "gallery": "g"},
    "serve": {"bundle": "b", "gallery": "g"},
    "shard": {"gallery": "g", "count": 2, "output": "o"},
    "triton": {"bundle": "b", "gallery": "g", "output": "o"},
    "tune": {"bundle": "b", "data": "d"},
    "up": {"bundle": "b", "source": "s"},
    "verify": {"bundle": "b", "checkpoint": "c"},
}
WRONG: list[tuple[str, dict[str, Any]]] = [
    ("bench", {"rounds": 0}),
    ("bench", {"batch": [0]}),
    ("bench", {"batch": []}),
    ("bench", {"batch": 8}),
    ("bench", {"query": "img"}),
    ("bench", {"k": 0}),
    ("bench", {"threads": [0]}),
    ("bench", {"threads": []}),
    ("bench", {"gallery": None, "synthetic": 0}),
    ("bench", {"candidates": [0]}),
    ("bench", {"prefilter": 0}),
    ("bench", {"resident": "yes"}),
    ("bench", {"checkpoints": "model.pth"}),
    ("build_engine", {"target": "x"}),
    ("build_engine", {"precision": "fp16"}),
    ("build_engine", {"workspace": 0}),
    ("build_engine", {"workspace": "4GiB"}),
    ("build_engine", {"optimization_level": 6}),
    ("build_engine", {"optimization_level": -1}),
    ("build_engine", {"hardware_compatibility": "all"}),
    ("build_engine", {"max_shapes": {"candidates": 0}}),
    ("build_engine", {"max_shapes": {"candidates": "500"}}),
    ("build_engine", {"min_shapes": ["candidates=1"]}),
    ("build_engine", {"opt_shapes": "candidates=1"}),
    ("build_engine", {"graphs": "image_encoder"}),
    ("build_engine", {"compute_capability": 8.6}),
    ("build_engine", {"compute_capability": [8.6]}),
    ("cascade", {"retriever": ["r"]}),
    ("cascade", {"matcher": 5}),
    ("cascade", {"force": "no"}),
    ("check", {"target": "x"}),
    ("ensemble", {"bundles": "ab"}),
    ("ensemble", {"weights": [1, 0]}),
    ("ensemble", {"weights": [1, "1"]}),
    ("ensemble", {"weights": [1, float("nan")]}),
    ("ensemble", {"weights": []}),
    ("ensemble", {"weights": 1}),
    ("evaluate", {"candidates": 0}),
    ("evaluate", {"candidates": -1}),
    ("evaluate", {"folds": 0}),
    ("evaluate", {"first": 0}),
    ("evaluate", {"published": "flickr"}),
    ("evaluate", {"mean_with": "other"}),
    ("evaluate", {"rerank": True, "merge": "x"}),
    ("evaluate", {"checkpoints": Path("model.pth")}),
    ("evaluate", {"bar": None}),
    ("export", {"opset": 3}),
    ("export", {"opset": 17}),
    ("export", {"opset": 23}),
    ("export", {"opset": "20"}),
    ("export", {"dtype": "float8"}),
    ("export", {"quantize": "int4"}),
    ("export", {"vocab": None}),
    ("export_regions", {"config": 3}),
    ("export_regions", {"boxes": "36"}),
    ("export_regions", {"boxes": (9, 3)}),
    ("export_regions", {"proposals": 0}),
    ("export_regions", {"considered": 0}),
    ("export_regions", {"shortest_side": 15}),
    ("export_regions", {"longest_side": 5000}),
    ("export_regions", {"picture": b"x"}),
    ("export_regions", {"opset": 17}),
    ("export_regions", {"dtype": "int8"}),
    ("export_reranker", {"heads": 0}),
    ("export_reranker", {"rows_text_to_image": 0}),
    ("export_reranker", {"rows_text_to_image": 1}),
    ("export_reranker", {"rows_image_to_text": 0}),
    ("export_reranker", {"rows_image_to_text": 1}),
    ("export_reranker", {"edge_thresholds": "x"}),
    ("export_reranker", {"intra_similarity": "x"}),
    ("index", {"modality": "images"}),
    ("index", {"storage": "x"}),
    ("index", {"force": "no"}),
    ("index_bank", {"limit": -1}),
    ("index_bank", {"limit": "1GiB"}),
    ("index_bank", {"bank": None}),
    ("profile_routes", {"images": 0}),
    ("search", {"k": 0}),
    ("search", {"k": 1.5}),
    ("search", {"candidates": 0}),
    ("search", {"prefilter": "10"}),
    ("search", {"where": 5}),
    ("search", {"queries": None}),
    ("search", {"queries": 5}),
    ("triton", {"max_batch": 0}),
    ("triton", {"max_wait_ms": -1}),
    ("triton", {"max_queue": 0}),
    ("triton", {"request_timeout": 0}),
    ("triton", {"max_k": 0}),
    ("triton", {"refresh": -1}),
    ("triton", {"refresh": float("nan")}),
    ("tune", {"target": 0}),
    ("tune", {"target": "0.99"}),
    ("tune", {"target": float("nan")}),
    ("tune", {"growth": 0.5}),
    ("tune", {"growth": float("inf")}),
    ("tune", {"projection": "x"}),
    ("verify", {"images": 0}),
    ("verify", {"images": 1}),
    ("verify", {"tolerance": 0}),
    ("verify", {"tolerance": "1e-4"}),
    ("verify", {"storage_tolerance": -1}),
    ("serve", {"replicas": 0}),
    ("serve", {"missing_shards": "ignore"}),
    ("serve", {"shard_threads": 0}),
    ("serve", {"shard_timeout": 0.0}),
    ("shard", {"count": 0}),
    ("shard", {"count": 5000}),
    ("shard", {"coarse_index": "yes"}),
    ("shard", {"output": 5}),
]


def checks_of(function: Any) -> dict[str, Check]:
    found: dict[str, Check] = function.checks
    return found


def call(name: str, given: dict[str, Any]) -> Any:
    function = getattr(itr_deploy, name)
    if name == "doctor" and "bundles" in given:
        return function(given["bundles"])
    return function(**given)


def everything_of_a_wrong_type() -> Iterator[tuple[str, dict[str, Any]]]:
    for name in FUNCTIONS:
        for parameter in checks_of(getattr(itr_deploy, name)):
            yield name, {parameter: object()}


@pytest.mark.parametrize(
    ("name", "wrong"),
    [*WRONG, *everything_of_a_wrong_type()],
    ids=lambda given: given if isinstance(given, str) else str(given).split(" at 0x")[0],
)
def test_a_value_that_cannot_be_used_is_refused_in_one_line_before_any_work(
    name: str, wrong: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError) as caught:
        call(name, {**NEEDED[name], **wrong})
    said = str(caught.value)
    assert any(said.startswith((f"{key}=", f"{key}[")) for key in wrong), said
    assert " must be " in said
    assert "\n" not in said
    assert tree(tmp_path) == {}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_argument_is_checked(name: str) -> None:
    function = getattr(itr_deploy, name)
    parameters = set(inspect.signature(function).parameters)
    assert set(checks_of(function)) == parameters - UNCHECKED.get(name, set())


@pytest.mark.parametrize("name", [name for name in FUNCTIONS if name != "doctor"])
def test_what_can_be_used_is_not_refused(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every choice and every bound goes as far as the files, which are not there."""
    monkeypatch.chdir(tmp_path)
    for key, check in checks_of(getattr(itr_deploy, name)).items():
        bounds = [bound for bound in (check.at_least, check.at_most) if bound is not None]
        for value in (*check.choices, *bounds):
            given = {**NEEDED[name], key: value}
            if key == "synthetic":
                del given["gallery"]
            with pytest.raises(ItrDeployError) as caught:
                call(name, given)
            assert f"{key}={value!r} must be" not in str(caught.value)


@pytest.mark.parametrize(
    ("load", "wrong"),
    [
        (Matcher.load, {"backend": None}),
        (Matcher.load, {"device": None}),
        (Matcher.load, {"memory_budget": "1GiB"}),
        (Retriever.load, {"gallery": None}),
        (Retriever.load, {"resident": "no"}),
        (Retriever.load, {"replicas": 0}),
        (Retriever.load, {"missing_shards": "ignore"}),
        (Retriever.load, {"bank": 5}),
        (Retriever.load, {"bank": "k", "gallery_neighbours": 5}),
        (Gallery.create, {"modality": "images"}),
        (Gallery.create, {"storage": "x"}),
    ],
)
def test_the_runtimes_objects_refuse_alike(
    load: Any, wrong: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    needed = {
        Matcher.load: {"bundle": "b"},
        Retriever.load: {"bundle": "b", "gallery": "g"},
        Gallery.create: {"path": "g", "matcher": None},
    }[load]
    with pytest.raises(UsageError, match=r"^(?!.*\n)\w+=.* must be "):
        load(**{**needed, **wrong})
    assert tree(tmp_path) == {}


def commands() -> Iterator[tuple[str, Any, Any]]:
    """The name, the command and the function of every verb, and of every family's export."""
    for verb in VERBS:
        name = verb.replace("-", "_")
        if verb != "export":
            command = getattr(import_module(f"itr_deploy.cli.{name}"), name)
            yield verb, command, getattr(itr_deploy, name)
    for family in FAMILIES:
        yield f"export {family.name}", getattr(export_verb, family.name), itr_deploy.export
    for reranker in RERANKERS:
        command = getattr(export_verb, reranker.name)
        yield f"export {reranker.name}", command, itr_deploy.export_reranker
    yield "export regions", export_verb.regions, itr_deploy.export_regions


def offered(annotation: Any) -> tuple[str, ...]:
    """The choices of an option's type."""
    if get_origin(annotation) is Literal:
        return get_args(annotation)
    return tuple(choice for part in get_args(annotation) for choice in offered(part))


@pytest.mark.parametrize(
    ("command", "function"),
    [pytest.param(command, function, id=name) for name, command, function in commands()],
)
def test_a_commands_choices_and_bounds_are_those_of_its_function(
    command: Any, function: Any
) -> None:
    checks = checks_of(function)
    for name, parameter in inspect.signature(command, eval_str=True).parameters.items():
        kind, option = get_args(parameter.annotation)
        if name in checks:
            assert offered(kind) == checks[name].choices, name
            assert option.min in (None, checks[name].at_least), name
            assert option.max in (None, checks[name].at_most), name
