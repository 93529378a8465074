"""The options of the command line are those of the library."""

from __future__ import annotations

import inspect
from importlib import import_module
from typing import Any, Literal, get_args, get_origin

import pytest
import typer

import itr_deploy
from itr_deploy.bundle import manifest
from itr_deploy.bundle.published import DataSet
from itr_deploy.cli import build_engine, evaluate, export, options, tune
from itr_deploy.cli.verbs import VERBS
from itr_deploy.engines.files import EngineTarget, HardwareCompatibility
from itr_deploy.evaluation.measures.reranking import MergeKind
from itr_deploy.evaluation.tuning.tune import ProjectionChoice
from itr_deploy.models.registry import FAMILIES, RERANKERS, Family

PRINTING = {"as_json", "verbose", "quiet", "log_format"}
COMPUTING = {"threads", "follow_links"}
"""Options whose callbacks set what the library reads from the environment."""
TOLD = {"progress", "looking", "on_check", "bar", "tell", "indexed", "ready"}
"""What the library tells of its progress."""

OTHERWISE = {
    "bench": {"baseline", "rerank"},
    "build_engine": {"fp16", "bf16", "fp32"},
    "evaluate": {"baseline", "exhaustive"},
    "index": {"bank", "phi_limit", "skip_broken"},  # what is broken is in the result
    "search": {"exhaustive"},
}
"""Options that become another argument, or belong to an old spelling."""

RUNNING = {"serve", "up"}
"""Verbs without a result to print: they run until they are ended."""


@pytest.mark.parametrize(
    ("ours", "the_librarys"),
    [
        (options.StorageType, manifest.StorageType),
        (options.Precision, manifest.Precision),
        (options.Quantization, manifest.Quantization),
        (options.EngineTarget, EngineTarget),
        (build_engine.HardwareCompatibility, HardwareCompatibility),
        (evaluate.MergeKind, MergeKind),
        (evaluate.DataSet, DataSet),
        (tune.ProjectionChoice, ProjectionChoice),
    ],
)
def test_a_choice_has_the_values_of_the_librarys_type(ours: object, the_librarys: object) -> None:
    assert set(get_args(ours)) == set(get_args(the_librarys))


@pytest.mark.parametrize("verb", [name for name in VERBS if name != "export"])
def test_a_verb_has_an_option_for_every_argument_of_its_function(verb: str) -> None:
    name = verb.replace("-", "_")
    given = set(_parameters(getattr(import_module(f"itr_deploy.cli.{name}"), name)))
    taken = set(_parameters(getattr(itr_deploy, name))) - TOLD
    precision = {"precision"} if name == "build_engine" else set()
    given -= OTHERWISE.get(name, set()) | COMPUTING
    printing = PRINTING - ({"as_json"} if verb in RUNNING else set())
    assert given == taken - precision - COMPUTING | printing


def test_every_option_of_a_service_may_be_a_variable_of_its_name() -> None:
    command = typer.main.get_command(import_module("itr_deploy.cli.serve").app)
    of = {one.name: one.envvar for one in command.params if one.param_type_name == "option"}
    for name, variable in of.items():
        if name not in COMPUTING | {"verbose", "help"}:
            assert variable == f"ITR_DEPLOY_{name.upper()}"


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_a_familys_options_are_those_of_its_registration(family: Family) -> None:
    parameters = _parameters(getattr(export, family.name))
    matchers = set(_parameters(itr_deploy.export)) - {"family", "options"} - TOLD
    own = {
        name: value
        for name, value in parameters.items()
        if name not in matchers | PRINTING | COMPUTING
    }
    known = family.options.model_fields
    assert own.keys() == known.keys()
    for name, parameter in own.items():
        assert (parameter.default or "") == (known[name].default or ""), name
        if get_origin(known[name].annotation) is Literal:
            offered = get_args(get_args(parameter.annotation)[0])
            assert offered == get_args(known[name].annotation), name


@pytest.mark.parametrize("family", RERANKERS, ids=lambda family: family.name)
def test_a_re_rankers_options_have_the_published_defaults(family: Any) -> None:
    parameters = _parameters(getattr(export, family.name))
    own = set(parameters) - PRINTING - COMPUTING - {"pi"}  # an old spelling of intra_similarity
    assert own == set(_parameters(itr_deploy.export_reranker)) - TOLD - {"family"}
    rows = (parameters["rows_text_to_image"].default, parameters["rows_image_to_text"].default)
    assert (parameters["heads"].default, rows) == (family.heads, family.rows)


def test_the_options_of_a_detectors_export_are_its_functions_arguments() -> None:
    given, taken = (set(_parameters(f)) for f in (export.regions, itr_deploy.export_regions))
    assert given - PRINTING - COMPUTING == taken - TOLD


def _parameters(function: Any) -> dict[str, inspect.Parameter]:
    return dict(
        inspect.signature(
            function, eval_str=function.__module__.startswith("itr_deploy.cli")
        ).parameters
    )


def test_every_registered_family_can_be_exported() -> None:
    names = typer.main.get_command(export.app).commands
    assert names.keys() >= {family.name for family in (*FAMILIES, *RERANKERS)}
