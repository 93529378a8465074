"""check: what TensorRT would refuse in a bundle."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import pytest

from itr_deploy.bundle.store import read_bundle
from tests.support.command import itr_deploy, python
from tests.support.engines import GRAPH, RTX, rewrite_manifest


@pytest.fixture
def broken(bundle_copy: Path) -> Path:
    """A bundle with an operator that no parser takes; ONNX Runtime would."""
    path = bundle_copy / "graphs" / f"{GRAPH}.onnx"
    model = onnx.load(path, load_external_data=False)
    output = model.graph.output[0].name
    for node in model.graph.node:
        node.output[:] = ["before" if name == output else name for name in node.output]
        node.input[:] = ["before" if name == output else name for name in node.input]
    model.graph.node.append(onnx.helper.make_node("Det", ["before"], [output], name="the_last"))
    onnx.save(model, path)
    return rewrite_manifest(bundle_copy)


@RTX
def test_an_exported_bundle_passes_the_rules_and_the_real_parser(bundle: Path) -> None:
    outcome = itr_deploy("check", bundle, "--target", "tensorrt-rtx")
    assert outcome.code == 0, outcome.err
    assert "10 rules, parsed by tensorrt_rtx 1." in outcome.out


@RTX
def test_what_is_refused_is_named_and_ends_with_4(broken: Path) -> None:
    outcome = itr_deploy("check", broken, "--target", "tensorrt-rtx")
    assert outcome.code == 4
    by_rule, by_parser = outcome.out.splitlines()[:2]
    assert by_rule.startswith(f"{GRAPH}: Det the_last: operator Det is refused; ")
    assert by_rule.endswith("[operator]")
    assert "Det the_last" in by_parser
    assert "refused by tensorrt_rtx 1." in by_parser
    assert outcome.err.splitlines()[-1] == (
        f"error: {broken}: 2 findings keep tensorrt-rtx from taking its graphs"
    )


def test_without_the_library_the_rules_are_all_there_is(broken: Path) -> None:
    code = """
import sys
sys.modules["tensorrt"] = None
sys.argv[1:] = ["check", sys.argv[1], "--json"]
from itr_deploy.cli.main import main
main()
"""
    outcome = python(code, broken)
    assert outcome.code == 4, outcome.err
    report = json.loads(outcome.out)
    assert report["target"] == "tensorrt"
    assert report["parsed_by"] is None
    assert [finding["rule"] for finding in report["findings"]] == ["operator"]


def test_without_the_library_an_exported_bundle_passes_though_graphs_for_a_cpu_would_not(
    bundle: Path,
) -> None:
    code = """
import sys
sys.modules["tensorrt"] = None
sys.argv[1:] = ["check", sys.argv[1]]
from itr_deploy.cli.main import main
main()
"""
    graphs = read_bundle(bundle).manifest.graphs
    assert any(graph.is_for_cpu for graph in graphs.values())
    outcome = python(code, bundle)
    assert outcome.code == 0, outcome.err
    taken = sum(not graph.is_for_cpu for graph in graphs.values())
    assert outcome.out.startswith(f"{taken} graphs, ")


def test_a_missing_bundle_is_one_line(tmp_path: Path) -> None:
    outcome = itr_deploy("check", tmp_path / "none")
    assert outcome.code == 1
    assert "no such bundle directory" in outcome.err
