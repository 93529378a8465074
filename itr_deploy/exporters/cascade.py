"""A bundle whose shortlists are by a dual encoder's vectors, and whose scores are a matcher's.

The encoders' graphs are merged: one call gives what the matcher stores of an item and the dual
encoder's vector, which takes the place of the matcher's coarse embedding. The matcher's other
graphs do not read that and stay as they are, so that the runtime knows nothing of cascades.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass

from itr_deploy.bundle.files import canonical_json, write_file
from itr_deploy.bundle.manifest import Front, GraphInfo, ImageItems, Manifest
from itr_deploy.bundle.modality import ENCODERS, RERANK_GRAPHS
from itr_deploy.bundle.store import Bundle, list_files, write_manifest
from itr_deploy.errors import BundleError
from itr_deploy.exporters.build import GRAPHS, WEIGHTS, save_graph, warn_of_findings
from itr_deploy.exporters.joint_words import JointWords, Table, joint_words
from itr_deploy.exporters.merge import add_output, merge
from itr_deploy.exporters.weights import WeightsFile

Progress = Callable[[str], None]

log = logging.getLogger(__name__)


def build_cascade(
    front: Bundle, matcher: Bundle, root: Path, progress: Progress = lambda step: None
) -> Manifest:
    """Write the bundle of a cascade into an empty directory.

    Args:
        front: The bundle of a dual encoder.
        matcher: The bundle of a matcher that takes the same inputs.
        root: The directory.
        progress: Called with the name of each step as it begins.

    Raises:
        BundleError: The first is no dual encoder, the second no matcher, or they take different
            inputs.
    """
    check_roles(front, matcher)
    images = joint_images(front, matcher)
    words = joint_words(front, matcher)
    own = matcher.manifest
    if own.reranker is not None:
        log.warning(
            "%s: its re-ranker is left out, since a cascade has other coarse embeddings; export "
            "one with the cascade as its base",
            matcher.path,
        )
    for name, content in words.files.items():
        write_file(root / name, content)
    graphs: dict[str, GraphInfo] = {}
    (root / GRAPHS).mkdir()
    with WeightsFile(root / GRAPHS / WEIGHTS) as shared:
        for name, info in own.graphs.items():
            if info.role in RERANK_GRAPHS.values():
                continue
            progress(f"graph {name}")
            if info.role in ENCODERS:
                model, graphs[name] = _encoder(front, matcher, name, words)
            else:
                model, graphs[name] = ir.load(matcher.file(info.file)), info
            save_graph(model, root / info.file, own.precision, shared)
            if info.role in ENCODERS:
                warn_of_findings(name, root / info.file)
    manifest = _manifest(front, matcher, images, words, graphs, root)
    write_manifest(root, manifest)
    return manifest


def check_roles(front: Bundle, matcher: Bundle) -> None:
    """Refuse bundles that are not a dual encoder of one vector and a matcher.

    Raises:
        BundleError: Names what one of them is.
    """
    for bundle, what in ((front, "a dual encoder"), (matcher, "a matcher")):
        if bundle.manifest.front is not None:
            raise BundleError(
                f"{bundle.path}: a cascade, not {what}; give the bundles that it was made from"
            )
    if not front.manifest.is_dual_encoder:
        raise BundleError(
            f"{front.path}: a matcher, no dual encoder: its vectors are not its score; give the "
            "dual encoder first, then the matcher"
        )
    if matcher.manifest.is_dual_encoder:
        raise BundleError(
            f"{matcher.path}: a dual encoder, no matcher; give the dual encoder first, then the "
            "matcher, and take itr-deploy ensemble for the mean of two dual encoders"
        )
    views = front.manifest.images.views
    if views is not None:
        raise BundleError(
            f"{front.path}: its images have {views} vectors of which the best counts, and a "
            "shortlist is by one vector an image; give a dual encoder of one vector"
        )


def joint_images(front: Bundle, matcher: Bundle) -> ImageItems:
    """The images that both bundles take, as the matcher stores them.

    Raises:
        BundleError: They take different images, or their graphs cannot be one; the message names
            the first difference.
    """
    for what, values in _inputs(matcher).items():
        if values != _inputs(front)[what]:
            raise BundleError(
                f"{front.path}: {what} is {_inputs(front)[what]}, but {values} in {matcher.path}; "
                "both bundles of a cascade take the same items and compute alike"
            )
    ours, theirs = matcher.manifest.images, front.manifest.images
    if theirs.regions not in (None, ours.regions):
        raise BundleError(
            f"{front.path}: takes images of {theirs.regions} regions, but {matcher.path} of "
            f"{ours.regions or 'any number'}; both bundles of a cascade take the same items"
        )
    most = [images.max_regions for images in (ours, theirs) if images.max_regions is not None]
    least = min(most, default=None)
    if least is not None and (ours.regions or 0) > least:
        raise BundleError(
            f"{front.path}: takes images of {least} regions at most, but {matcher.path} of "
            f"{ours.regions}"
        )
    return ours.model_copy(update={"max_regions": least})


def _inputs(bundle: Bundle) -> dict[str, object]:
    manifest = bundle.manifest
    given = {"tensors", "views", "feature_dim", "regions", "max_regions"}
    return {
        "the width of a region": manifest.images.feature_dim,
        "what an image has besides its regions": manifest.images.model_dump(exclude=given) or "no",
        "the precision": manifest.precision,
        "the operator set": sorted({graph.opset for graph in manifest.graphs.values()}),
    }


def _encoder(
    front: Bundle, matcher: Bundle, name: str, words: JointWords
) -> tuple[ir.Model, GraphInfo]:
    """One encoder's graph: the matcher's stored tensors, and the dual encoder's vector."""
    info = matcher.manifest.graphs[name]
    other = front.manifest.graphs[front.manifest.graph(info.role)]
    models = [ir.load(matcher.file(info.file)), ir.load(front.file(other.file))]
    if info.role == "text_encoder":
        for model, table in zip(models, (words.matcher, words.front), strict=True):
            _translate(model, table)
    inputs = [{entry.name: entry.name for entry in graph.inputs} for graph in (info, other)]
    # The matcher first: where it fixes a size, so does the cascade.
    graph, (stored, found) = merge(models, inputs, ["matcher_", "front_"])
    embedding = f"{info.role.removesuffix('_encoder')}_embedding"
    taken = [entry for entry in info.outputs if entry.name != embedding]
    for entry in taken:
        add_output(graph, stored[entry.name], entry.name, stored[entry.name])
    add_output(graph, found[embedding], embedding, found[embedding])
    version = max(model.ir_version for model in models)
    merged = ir.Model(graph, ir_version=version, producer_name="itr-deploy")
    RemoveUnusedNodesPass()(merged)  # what only made the matcher's own embedding
    given = {entry.name: entry for entry in (*other.inputs, *info.inputs)}
    vector = next(entry for entry in other.outputs if entry.name == embedding)
    return merged, info.model_copy(
        update={
            "inputs": tuple(given[str(value.name)] for value in graph.inputs),
            "outputs": (*taken, vector),
        }
    )


def _translate(model: ir.Model, table: Table) -> None:
    """Put a table behind a text encoder's input, from the cascade's numbers to its own."""
    if table is None:
        return
    graph = model.graph
    ids = next(value for value in graph.inputs if value.name == "token_ids")
    numbers = ir.Value(
        name="own_numbers",
        shape=ir.Shape([len(table)]),
        type=ir.TensorType(ir.DataType.INT64),
        const_value=ir.tensor(np.array(table, np.int64), name="own_numbers"),
    )
    graph.register_initializer(numbers)
    uses = list(ids.uses())
    node = ir.node("Gather", [numbers, ids], attributes={"axis": 0}, name="own_ids")
    own = node.outputs[0]
    own.name, own.shape, own.type = "own_ids", ids.shape, ids.type
    for user, place in uses:
        user.replace_input_with(place, own)
    graph.insert_before(graph[0], node)


def _manifest(
    front: Bundle,
    matcher: Bundle,
    images: ImageItems,
    words: JointWords,
    graphs: dict[str, GraphInfo],
    root: Path,
) -> Manifest:
    ours, theirs = matcher.manifest, front.manifest
    identity = ["cascade", theirs.encoding_id, ours.encoding_id]
    return ours.model_copy(
        update={
            "front": Front(
                family=theirs.family,
                options=theirs.options,
                members=theirs.members,
                encoding_id=theirs.encoding_id,
                provenance=theirs.provenance,
                matcher_words=ours.texts.vocab_size,
            ),
            "embedding_dim": theirs.embedding_dim,
            "images": images,
            "texts": ours.texts.model_copy(
                update={"vocab_size": words.vocab_size, "max_tokens": words.max_tokens}
            ),
            "graphs": graphs,
            "reranker": None,
            # A projection is of the matcher's own embedding; `tune` fits one for the cascade.
            "pipeline": ours.pipeline.model_copy(
                update={"text_query_projection": None, "image_query_projection": None}
            ),
            "encoding_id": hashlib.sha256(canonical_json(identity)).hexdigest(),
            "files": list_files(root),
        }
    )
