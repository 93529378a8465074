"""A bundle that scores with several matchers at once: their weighted mean.

The members' graphs are merged, so that an ensemble is a bundle like any other: one gallery stores
what every member needs of an item, and the runtime knows nothing of members.
"""

from __future__ import annotations

import hashlib
import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import onnx_ir as ir

from itr_deploy.bundle.files import canonical_json
from itr_deploy.bundle.manifest import (
    GraphInfo,
    Manifest,
    Member,
    Pipeline,
    StoredTensor,
    TensorInfo,
    Workspace,
)
from itr_deploy.bundle.modality import EXPLAIN, MODALITIES, PREFILTERS, REFINERS, RERANK_GRAPHS
from itr_deploy.bundle.names import scale_name
from itr_deploy.bundle.store import Bundle, list_files, text_files, write_manifest
from itr_deploy.errors import BundleError, UsageError
from itr_deploy.exporters.build import GRAPHS, WEIGHTS, provenance_of, save_graph, warn_of_findings
from itr_deploy.exporters.merge import add_output, apply, merge, scaled
from itr_deploy.exporters.weights import WeightsFile

FAMILY = "ensemble"
LEAST_SHARE = 1e-6
"""Of a member in the mean: float32, which has 7 digits, keeps nothing of a smaller one."""
Progress = Callable[[str], None]


def build_ensemble(
    members: Sequence[Bundle],
    weights: Sequence[float],
    root: Path,
    progress: Progress = lambda step: None,
) -> Manifest:
    """Write the bundle of an ensemble into an empty directory.

    Args:
        members: The bundles, of matchers that take the same inputs.
        weights: One per member, positive; they are divided by their sum.
        root: The directory.
        progress: Called with the name of each step as it begins.

    Raises:
        UsageError: Fewer than two members, or weights that do not fit.
        BundleError: The members take different inputs.
    """
    shares = _shares(members, weights)
    check_same_inputs(members)
    for name in text_files(members[0].manifest.text_processing):
        shutil.copyfile(members[0].file(name), root / name)
    graphs: dict[str, GraphInfo] = {}
    (root / GRAPHS).mkdir()
    with WeightsFile(root / GRAPHS / WEIGHTS) as shared:
        for name, info in members[0].manifest.graphs.items():
            if info.role in RERANK_GRAPHS.values():  # fits one member's scores, not the mean
                continue
            if info.role == EXPLAIN:  # every member attends by itself
                continue
            if not all(name in member.manifest.graphs for member in members):
                continue  # a prefilter or a refiner that not every member has
            progress(f"graph {name}")
            model, graphs[name] = _merged(members, shares, name, info)
            precision = members[0].manifest.precision
            save_graph(model, root / info.file, precision, shared)
            of_integers = info.storage and members[0].manifest.quantization
            if not of_integers and not info.is_for_cpu:
                warn_of_findings(name, root / info.file)
    manifest = _manifest(members, shares, graphs, root)
    write_manifest(root, manifest)
    return manifest


def check_same_inputs(members: Sequence[Bundle]) -> None:
    """Refuse members that cannot share a gallery and a query.

    Raises:
        BundleError: The members differ; the message names the first difference.
    """
    first = members[0]
    for member in members:
        if member.manifest.front is not None:
            raise BundleError(
                f"{member.path}: a cascade is no member of an ensemble; join the matchers, then "
                "put the dual encoder in front of them with itr-deploy cascade"
            )
        if member.manifest.images.views is not None:
            raise BundleError(
                f"{member.path}: its images have {member.manifest.images.views} vectors of which "
                "the best counts, and the mean of two maxima is no product; take the mean of the "
                "scores that both bundles give"
            )
    for other in members[1:]:
        for what, values in _inputs(first).items():
            if values != _inputs(other)[what]:
                raise BundleError(
                    f"{other.path}: {what} is {_inputs(other)[what]}, but {values} in "
                    f"{first.path}; members of an ensemble take the same inputs"
                )


def _inputs(bundle: Bundle) -> dict[str, object]:
    manifest = bundle.manifest
    processing = manifest.text_processing
    files = {name: manifest.files[name].sha256[:12] for name in text_files(processing)}
    return {
        "what scores pairs": "a product" if manifest.is_dual_encoder else "a matcher",
        "the kind of images": "pictures" if manifest.images.pictures else "regions",
        "the width of a region": manifest.images.feature_dim,
        "the number of regions": manifest.images.regions,
        "the padded length of a text": manifest.texts.length,
        "the number of texts padded together": manifest.texts.padded_together,
        "the text processing": processing.model_dump(),
        "the vocabulary": files,
        "the precision": manifest.precision,
        "the quantisation": manifest.quantization or "none",
        "the operator set": sorted({graph.opset for graph in manifest.graphs.values()}),
    }


def _shares(members: Sequence[Bundle], weights: Sequence[float]) -> list[float]:
    if len(members) < 2:
        raise UsageError(f"an ensemble has at least two members; {len(members)} given")
    if len(weights) != len(members) or not all(0 < w < math.inf for w in weights):
        raise UsageError(
            f"weights {list(weights)} for {len(members)} members; give one positive number each"
        )
    shares = [weight / sum(weights) for weight in weights]
    if min(shares) < LEAST_SHARE:
        raise UsageError(
            f"weights {list(weights)}: the least is under a millionth of their sum, and its member "
            "would count for nothing; leave that member out, or give it more"
        )
    return shares


def _merged(
    members: Sequence[Bundle], shares: Sequence[float], name: str, info: GraphInfo
) -> tuple[ir.Model, GraphInfo]:
    models = [ir.load(member.file(member.manifest.graphs[name].file)) for member in members]
    infos = [member.manifest.graphs[name] for member in members]
    renamed = [_renamed(member, number) for number, member in enumerate(members)]
    inputs = [
        {tensor.name: names.get(tensor.name, tensor.name) for tensor in graph.inputs}
        for names, graph in zip(renamed, infos, strict=True)
    ]
    prefixes = [f"m{number}_" for number in range(len(members))]
    graph, outputs = merge(models, inputs, prefixes)
    if "scores" in outputs[0]:
        likes = [found["scores"] for found in outputs]
        _mean(graph, likes, shares)
    else:
        _encoder_outputs(graph, outputs, renamed, shares)
    model = ir.Model(graph, ir_version=models[0].ir_version, producer_name="itr-deploy")
    return model, info.model_copy(
        update={
            "inputs": _unique([graph.inputs for graph in infos], renamed),
            "outputs": _outputs(infos, renamed),
        }
    )


def _renamed(member: Bundle, number: int) -> dict[str, str]:
    """New graph names of a member's stored tensors and of their scales."""
    manifest = member.manifest
    tensors = {
        f"{modality}_{spec.name}": f"{modality}_{_stored_name(spec, number)}"
        for modality in MODALITIES
        for spec in manifest.items(modality).tensors
    }
    return tensors | {scale_name(old): scale_name(new) for old, new in tensors.items()}


def _stored_name(spec: StoredTensor, number: int) -> str:
    return f"m{number}_{spec.name}"


def _mean(graph: ir.Graph, scores: Sequence[ir.Value], shares: Sequence[float]) -> None:
    like = ir.Value(name="like", shape=scores[0].shape, type=scores[0].type)
    total: ir.Value | None = None
    for number, (value, share) in enumerate(zip(scores, shares, strict=True)):
        part = scaled(graph, value, share, f"share_{number}")
        total = part if total is None else apply(graph, "Add", [total, part], f"sum_{number}")
    assert total is not None
    add_output(graph, total, "scores", like)


def _encoder_outputs(
    graph: ir.Graph,
    outputs: Sequence[dict[str, ir.Value]],
    renamed: Sequence[dict[str, str]],
    shares: Sequence[float],
) -> None:
    """Every member's stored tensors, and their embeddings concatenated.

    The image embeddings are scaled by the shares, so that the dot product of two ensemble
    embeddings is the weighted mean of the members' dot products.
    """
    embeddings = []
    for number, (found, names) in enumerate(zip(outputs, renamed, strict=True)):
        for name, value in found.items():
            if name in names:
                add_output(graph, value, names[name], value)
            elif name == "image_embedding":
                share = shares[number]
                embeddings.append(scaled(graph, value, share, f"m{number}_scaled_embedding"))
            else:
                embeddings.append(value)
    name = next(name for name in outputs[0] if name.endswith("_embedding"))
    joined = apply(graph, "Concat", embeddings, name, {"axis": -1})
    joined.type = ir.TensorType(ir.DataType.FLOAT)
    graph.outputs.append(joined)


def _unique(
    tensors: Sequence[tuple[TensorInfo, ...]],
    renamed: Sequence[dict[str, str]],
) -> tuple[TensorInfo, ...]:
    """All members' tensors under their new names; shared tensors appear once."""
    found: dict[str, TensorInfo] = {}
    for entries, names in zip(tensors, renamed, strict=True):
        for entry in entries:
            name = names.get(entry.name, entry.name)
            found.setdefault(name, entry.model_copy(update={"name": name}))
    return tuple(found.values())


def _outputs(
    infos: Sequence[GraphInfo], renamed: Sequence[dict[str, str]]
) -> tuple[TensorInfo, ...]:
    scores = [entry for entry in infos[0].outputs if entry.name == "scores"]
    if scores:
        # A member's other outputs per pair are its own and have no mean.
        return tuple(scores)
    listed = _unique([graph.outputs for graph in infos], renamed)
    widths = [
        int(entry.shape[-1])
        for graph in infos
        for entry in graph.outputs
        if entry.name.endswith("_embedding")
    ]
    stored = [entry for entry in listed if not entry.name.endswith("_embedding")]
    joined = [
        entry.model_copy(update={"shape": (*entry.shape[:-1], sum(widths))})
        for entry in listed
        if entry.name.endswith("_embedding")
    ]
    return (*stored, *joined)


def _manifest(
    members: Sequence[Bundle],
    shares: Sequence[float],
    graphs: dict[str, GraphInfo],
    root: Path,
) -> Manifest:
    manifests = [member.manifest for member in members]
    first = manifests[0]
    entries = tuple(
        Member(
            family=manifest.family,
            options=manifest.options,
            weight=share,
            encoding_id=manifest.encoding_id,
            provenance=manifest.provenance,
        )
        for manifest, share in zip(manifests, shares, strict=True)
    )
    identity = [[entry.encoding_id, entry.weight] for entry in entries]
    identifier = hashlib.sha256(canonical_json(identity)).hexdigest()
    return first.model_copy(
        update={
            "family": FAMILY,
            "options": {},
            "members": entries,
            "embedding_dim": sum(manifest.embedding_dim for manifest in manifests),
            "images": first.images.model_copy(
                update={"tensors": _stored([m.images.tensors for m in manifests])}
            ),
            "texts": first.texts.model_copy(
                update={
                    "tensors": _stored([m.texts.tensors for m in manifests]),
                    "max_tokens": min(manifest.texts.max_tokens for manifest in manifests),
                }
            ),
            "workspace": _workspace(manifests),
            "graphs": graphs,
            "reranker": None,
            "pipeline": _pipeline(first.pipeline, graphs),
            "encoding_id": identifier,
            "provenance": provenance_of(
                " + ".join(m.provenance.checkpoint for m in manifests), identifier
            ),
            "files": list_files(root),
        }
    )


def _pipeline(first: Pipeline, graphs: Mapping[str, GraphInfo]) -> Pipeline:
    """The first member's widths, unless they rely on graphs that the ensemble lacks."""
    roles = {info.role for info in graphs.values()}
    for scorers, width in ((PREFILTERS, first.prefilter_width), (REFINERS, first.refine_width)):
        if roles.isdisjoint(scorers.values()) and any(map(width, MODALITIES)):
            return Pipeline()
    # A projection is specific to one member's embeddings; `tune` fits one for the ensemble.
    return first.model_copy(update={"text_query_projection": None, "image_query_projection": None})


def _stored(tensors: Sequence[tuple[StoredTensor, ...]]) -> tuple[StoredTensor, ...]:
    return tuple(
        spec.model_copy(update={"name": _stored_name(spec, number)})
        for number, specs in enumerate(tensors)
        for spec in specs
    )


def _workspace(manifests: Sequence[Manifest]) -> Workspace:
    """Scratch memory of all members: in the merged graph they may run in parallel."""
    most = [manifest.workspace.cpu_pairs for manifest in manifests]
    return Workspace(
        per_word=sum(manifest.workspace.per_word for manifest in manifests),
        per_region=sum(manifest.workspace.per_region for manifest in manifests),
        per_word_region=sum(manifest.workspace.per_word_region for manifest in manifests),
        cpu_pairs=min((count for count in most if count is not None), default=None),
    )
