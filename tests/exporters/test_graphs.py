"""What the exported ONNX files are made of."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from itr_deploy.bundle.manifest import Manifest
from itr_deploy.bundle.store import read_bundle
from tests.support.exports import Bundles
from tests.support.golden import CASES, DATA, FULL, IMAGE, TEXT, Case
from tests.support.imram import golden_checkpoint

MATCHERS = {
    "match_text_to_image": "float16",
    "match_text_to_image_float32": "float32",
    "match_text_to_image_int8": "int8",
    "match_image_to_text": "float16",
    "match_image_to_text_float32": "float32",
    "match_image_to_text_int8": "int8",
}
PREFILTERS = {name.replace("match", "prefilter"): storage for name, storage in MATCHERS.items()}
REFINERS = {name.replace("match", "refine"): storage for name, storage in MATCHERS.items()}
SCORERS = {**MATCHERS, **PREFILTERS, **REFINERS}
EVERY_EXPORT = [
    pytest.param((FULL, ()), id="full"),
    pytest.param((IMAGE, ()), id="image", marks=pytest.mark.full),
    pytest.param((TEXT, ()), id="text", marks=pytest.mark.full),
    pytest.param((IMAGE, ("--precompute", "none")), id="image-none", marks=pytest.mark.full),
]


class Export:
    """A case's bundle and its graphs, with their weights."""

    def __init__(self, case: Case, options: tuple[str, ...], path: Path) -> None:
        self.case, self.path = case, path
        self.precompute = "none" not in options
        self.manifest: Manifest = read_bundle(path).manifest

    def graphs(self) -> Iterator[tuple[str, onnx.ModelProto]]:
        for name, info in self.manifest.graphs.items():
            yield name, onnx.load(self.path / info.file)

    def matchers(self) -> Iterator[tuple[str, onnx.ModelProto]]:
        return ((name, model) for name, model in self.graphs() if name in MATCHERS)

    def scorers(self) -> Iterator[tuple[str, onnx.ModelProto]]:
        return ((name, model) for name, model in self.graphs() if name in SCORERS)


@pytest.fixture(params=EVERY_EXPORT)
def exported(request: pytest.FixtureRequest, bundles: Bundles) -> Export:
    case, options = request.param
    return Export(case, options, bundles.path(case, *options))


def nodes(model: onnx.ModelProto) -> Counter[str]:
    return Counter(node.op_type for node in model.graph.node)


def square_weights(model: onnx.ModelProto, width: int) -> list[np.ndarray]:
    arrays = [numpy_helper.to_array(tensor) for tensor in model.graph.initializer]
    return [array for array in arrays if array.shape == (width, width)]


def in_bytes(exported: Export) -> set[str]:
    """Graphs that choose candidates by bytes: those that read the gallery for products alone.

    Regions or words that ask are changed at each step, and their lengths count unless they are 1.
    """
    options, found = exported.case.options, set()
    mode, both_unit = options["model_mode"], not (options["no_imgnorm"] or options["no_txtnorm"])
    asks = {"text_IMRAM": {"text"}, "image_IMRAM": {"image"}, "full_IMRAM": {"text", "image"}}[mode]
    for query, gallery in (("text", "image"), ("image", "text")):
        if gallery not in asks or both_unit:
            found.add(f"prefilter_{query}_to_{gallery}_uint8")
        if gallery not in asks and options["iteration_step"] > 2:
            found.add(f"refine_{query}_to_{gallery}_uint8")
    return found


def test_the_bundle_has_the_graphs_of_the_architecture(exported: Export) -> None:
    storage = {name: graph.storage for name, graph in exported.manifest.graphs.items()}
    for name in in_bytes(exported):
        assert storage.pop(name) == "uint8"
    scorers = {**MATCHERS, **PREFILTERS}
    if exported.case.options["iteration_step"] > 2:
        scorers |= REFINERS
    assert storage == {"image_encoder": None, "text_encoder": None, **scorers, "explain": None}
    for name, graph in exported.manifest.graphs.items():
        assert re.sub("_(float32|u?int8)$", "", name) == graph.role


def test_every_graph_is_valid_onnx(exported: Export) -> None:
    for info in exported.manifest.graphs.values():
        onnx.checker.check_model(str(exported.path / info.file), full_check=True)


def test_no_graph_has_control_flow_or_subgraphs(exported: Export) -> None:
    for name, model in exported.graphs():
        assert not nodes(model).keys() & {"If", "Loop", "Scan", "SequenceMap"}, name
        for node in model.graph.node:
            kinds = {attribute.type for attribute in node.attribute}
            assert not kinds & {onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS}, name
        assert not model.functions, name


def test_every_graph_is_of_the_default_opset_and_the_standard_domain(exported: Export) -> None:
    for name, model in exported.graphs():
        assert {o.domain: o.version for o in model.opset_import}[""] == 20, name
        assert {node.domain for node in model.graph.node} <= {""}, name
        assert exported.manifest.graphs[name].opset == 20


def test_the_manifest_states_every_input_and_output_as_the_graph_has_it(exported: Export) -> None:
    kinds = {"float32": 1, "uint8": 2, "int8": 3, "float16": 10, "int64": 7}
    for name, model in exported.graphs():
        info = exported.manifest.graphs[name]
        for stated, values in (
            (info.inputs, model.graph.input),
            (info.outputs, model.graph.output),
        ):
            assert [tensor.name for tensor in stated] == [value.name for value in values], name
            for tensor, value in zip(stated, values, strict=True):
                kind = value.type.tensor_type
                shape = tuple(d.dim_param or d.dim_value for d in kind.shape.dim)
                assert (shape, kind.elem_type) == (tensor.shape, kinds[tensor.dtype]), tensor.name


def test_batch_candidates_gallery_length_and_regions_are_dynamic(exported: Export) -> None:
    graphs = exported.manifest.graphs

    def axes(graph: str) -> dict[str, tuple[int | str, ...]]:
        tensors = (*graphs[graph].inputs, *graphs[graph].outputs)
        return {tensor.name: tensor.shape for tensor in tensors}

    assert axes("image_encoder")["regions"] == ("batch", "regions", 32)
    assert axes("image_encoder")["image_regions"] == ("batch", "regions", 24)
    assert axes("image_encoder")["image_embedding"] == ("batch", 24)
    assert axes("text_encoder")["token_ids"] == ("batch", "length")
    assert axes("text_encoder")["text_lengths"] == ("batch",)
    assert axes("text_encoder")["text_words"] == ("batch", "length", 24)
    to_image, to_text = axes("match_text_to_image"), axes("match_image_to_text")
    assert to_image["text_words"] == ("queries", "length", 24)
    assert to_image["text_lengths"] == ("queries",)
    assert to_image["image_regions"] == ("gallery", "regions", 24)
    assert to_text["image_regions"] == ("queries", "regions", 24)
    assert to_text["text_words"] == ("gallery", "length", 24)
    assert to_text["text_lengths"] == ("gallery",)
    for matcher in (to_image, to_text):
        assert matcher["candidates"] == ("groups", "candidates")
        assert matcher["scores"] == ("queries", "candidates")


def test_only_the_gallery_of_a_matcher_is_of_its_storage_type(exported: Export) -> None:
    for name, storage in SCORERS.items():
        for tensor in exported.manifest.graphs[name].inputs:
            floating = tensor.dtype != "int64"
            scales = tensor.name.endswith("_scale")
            stored = floating and tensor.shape[0] == "gallery" and not scales
            assert tensor.dtype == (storage if stored else "float32" if floating else "int64")


def test_every_int8_input_is_followed_by_its_scales(exported: Export) -> None:
    for name, storage in SCORERS.items():
        inputs = exported.manifest.graphs[name].inputs
        scales = {tensor.name: tensor for tensor in inputs if tensor.name.endswith("_scale")}
        narrow = [tensor for tensor in inputs if tensor.dtype == "int8"]
        assert bool(narrow) == (storage == "int8")
        assert scales.keys() == {f"{tensor.name}_scale" for tensor in narrow}
        for tensor in narrow:
            assert inputs[inputs.index(tensor) + 1] == scales[f"{tensor.name}_scale"]
            assert scales[f"{tensor.name}_scale"].shape == tensor.shape[:-1]


def test_every_input_of_bytes_is_followed_by_its_scales(exported: Export) -> None:
    for name in in_bytes(exported):
        inputs = exported.manifest.graphs[name].inputs
        for tensor in inputs:
            floating = tensor.shape[0] == "gallery" and tensor.name != "text_lengths"
            if floating and not tensor.name.endswith("_scale"):
                assert tensor.dtype == "uint8"
                scales = inputs[inputs.index(tensor) + 1]
                assert (scales.name, scales.dtype) == (f"{tensor.name}_scale", "float32")
                assert scales.shape == tensor.shape[:-1]


def test_a_gallery_is_converted_after_the_gather_never_as_a_whole(exported: Export) -> None:
    for name, model in exported.scorers():
        casts = [node for node in model.graph.node if node.op_type == "Cast"]
        inputs = {value.name for value in model.graph.input}
        assert not any(node.input[0] in inputs - {"candidates", "text_lengths"} for node in casts)
        if SCORERS[name] != "float32":
            given = exported.manifest.graphs[name].inputs
            gallery = [
                t.name for t in given if t.shape[0] == "gallery" and t.name != "text_lengths"
            ]
            for tensor in gallery:
                readers = [node.op_type for node in model.graph.node if tensor in node.input]
                assert "Gather" in readers
                assert set(readers) <= {"Gather", "Shape"}


def test_the_update_after_the_last_step_is_left_out(exported: Export) -> None:
    updates = (exported.case.options["iteration_step"] - 1) * exported.case.branches
    for name, model in exported.matchers():
        assert nodes(model)["Tanh"] == updates, name
        assert nodes(model)["Sigmoid"] == updates, name


def test_a_prefilter_reads_the_embeddings_and_has_no_memory_unit(exported: Export) -> None:
    for name, model in exported.graphs():
        if name in PREFILTERS:
            read = {value.name.removesuffix("_scale") for value in model.graph.input}
            assert read == {"text_words", "text_lengths", "image_regions", "candidates"}, name
            assert not nodes(model).keys() & {"Tanh", "Sigmoid"}, name
            assert not square_weights(model, 24), name


def test_a_refiner_has_the_first_memory_unit_alone(exported: Export) -> None:
    for name, model in exported.graphs():
        if name in REFINERS:
            assert nodes(model)["Tanh"] == nodes(model)["Sigmoid"] == exported.case.branches, name
            if exported.precompute:
                assert not square_weights(model, 24), name


def test_context_is_projected_once_an_item_where_it_is_stored(exported: Export) -> None:
    state = golden_checkpoint(exported.case)["model"]
    branches = {"full_IMRAM": ("t2i", "i2t"), "text_IMRAM": ("t2i",), "image_IMRAM": ("i2t",)}
    contexts = [
        state[f"module.{unit}_{branch}.weight"][:, 24:].numpy()
        for unit in ("linear", "gate")
        for branch in branches[exported.case.options["model_mode"]]
    ]
    for name, model in exported.matchers():
        held = square_weights(model, 24)
        found = [
            any(np.array_equal(w, c) or np.array_equal(w.T, c) for w in held) for c in contexts
        ]
        assert all(found) if not exported.precompute else not any(found), name


def test_text_encoders_run_each_direction_of_a_layer_as_one_gru(exported: Export) -> None:
    encoder = dict(exported.graphs())["text_encoder"]
    assert nodes(encoder)["GRU"] == 2 * exported.case.options["num_layers"]


def test_no_graph_tells_where_it_was_exported(exported: Export) -> None:
    traces = (b"site-packages", b".py", b"Traceback", str(DATA.parent.parent).encode())
    for info in exported.manifest.graphs.values():
        content = (exported.path / info.file).read_bytes()
        for trace in traces:
            assert trace not in content, (info.file, trace)


def test_weights_are_shared_aligned_and_relative(exported: Export) -> None:
    folder = exported.path / "graphs"
    places: dict[tuple[int, int], set[str]] = {}
    for name, info in exported.manifest.graphs.items():
        model = onnx.load(exported.path / info.file, load_external_data=False)
        for tensor in model.graph.initializer:
            if tensor.data_location != onnx.TensorProto.EXTERNAL:
                assert len(numpy_helper.to_array(tensor).tobytes()) <= 1024, tensor.name
                continue
            data = {entry.key: entry.value for entry in tensor.external_data}
            assert data["location"] == "weights.bin"
            assert int(data["offset"]) % 4096 == 0
            place = int(data["offset"]), int(data["length"])
            places.setdefault(place, set()).add(name)
    content = (folder / "weights.bin").read_bytes()
    stored = [content[offset : offset + length] for offset, length in places]
    assert len(set(stored)) == len(stored), "a matrix is stored twice"
    if exported.case is FULL:
        assert any(len(users) > 1 for users in places.values()), "no graph shares a weight"
    assert {path.name for path in folder.iterdir()} == {
        "weights.bin",
        *(f"{name}.onnx" for name in exported.manifest.graphs),
    }


def test_the_manifest_says_where_the_bundle_came_from(exported: Export) -> None:
    provenance = exported.manifest.provenance
    assert provenance.checkpoint == "model_best.pth.tar"
    assert {"itr-deploy", "torch", "onnx", "onnxscript"} <= provenance.versions.keys()
    assert exported.manifest.options["precompute"] == ("full" if exported.precompute else "none")
    assert exported.manifest.texts.vocab_size == 40
    assert exported.manifest.images.feature_dim == 32


@pytest.mark.full
def test_galleries_of_different_models_or_options_are_kept_apart(bundles: Bundles) -> None:
    paths = [bundles.path(case) for case in CASES]
    paths.append(bundles.path(IMAGE, "--precompute", "none"))
    assert len({read_bundle(path).manifest.encoding_id for path in paths}) == len(paths)
