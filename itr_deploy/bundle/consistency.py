"""Whether the parts of a manifest fit each other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from itr_deploy.bundle.manifest import GraphInfo, HeldType, Manifest
from itr_deploy.bundle.modality import (
    ENCODERS,
    EXPLAIN,
    MATCHERS,
    MODALITIES,
    PAIR_SCORERS,
    PREFILTERS,
    REFINERS,
    GraphRole,
    Modality,
)
from itr_deploy.bundle.names import scale_name, shortened
from itr_deploy.bundle.store import MANIFEST, Bundle
from itr_deploy.errors import BundleError


def check_consistent(bundle: Bundle) -> None:
    """Refuse a bundle whose manifest contradicts itself, or that lacks a graph of a matcher.

    Raises:
        BundleError: Names the first contradiction.
    """
    refuse_first(_contradictions(bundle.manifest), bundle.path)


def refuse_first(contradictions: Iterator[str], bundle: Path) -> None:
    """Refuse a bundle if its manifest contradicts itself.

    Args:
        contradictions: What does not fit.
        bundle: The bundle's directory.

    Raises:
        BundleError: Names the first contradiction.
    """
    first = next(contradictions, None)
    if first is not None:
        raise BundleError(f"{bundle / MANIFEST}: {shortened(first)}; export the bundle again")


def _contradictions(manifest: Manifest) -> Iterator[str]:
    roles = [(graph.role, graph.storage) for graph in manifest.graphs.values()]
    for role, storage in roles:
        if roles.count((role, storage)) > 1:
            yield f"two graphs are {_called(role, storage)}"
        scores_pairs = role in PAIR_SCORERS
        if scores_pairs == (storage is None):
            yield f"a graph is {_called(role, storage)}"
    for role in sorted(ENCODERS):
        if (role, None) not in roles:
            yield f"there is no {role}"
    if manifest.is_dual_encoder:
        yield from _not_of_dual_encoders(manifest)
    else:
        yield from _missing_scorers(manifest, roles)
    if manifest.images.pictures:
        yield from _not_of_pictures(manifest)
    yield from _names(manifest)
    yield from _explaining(manifest)
    tokens = manifest.texts
    if tokens.length is not None and tokens.length < tokens.max_tokens:
        yield f"texts of {tokens.max_tokens} tokens are padded to {tokens.length}"


def _missing_scorers(
    manifest: Manifest, roles: list[tuple[GraphRole, HeldType | None]]
) -> Iterator[str]:
    if manifest.images.views is not None:
        yield "there is a matcher, and images of several views"
    whole = [MATCHERS]
    whole += [PREFILTERS] * manifest.has_prefilter + [REFINERS] * manifest.has_refiner
    for scorers in whole:
        for role in scorers.values():
            for storage in manifest.storages:
                if (role, storage) not in roles:
                    yield f"there is no {_called(role, storage)}"


def _not_of_dual_encoders(manifest: Manifest) -> Iterator[str]:
    """Without a matcher there is nothing that would read stored tensors or a shortlist."""
    for modality in MODALITIES:
        for spec in manifest.items(modality).tensors:
            yield f"{modality}_{spec.name} is stored, and there is no {MATCHERS[modality]}"
    for there, what in ((manifest.has_prefilter, "prefilter"), (manifest.has_refiner, "refiner")):
        if there:
            yield f"there is a {what}, and no {MATCHERS['text']}"
    if manifest.pipeline.projections:
        yield f"there is a projection, and no {MATCHERS['text']}"


def _not_of_pictures(manifest: Manifest) -> Iterator[str]:
    """Where a model starts from pixels, an image has no regions that anything could be said of."""
    images = manifest.images
    for name in ("boxes", "regions", "max_regions"):
        if getattr(images, name) is not None:
            yield f"images are pictures, and have {name}={getattr(images, name)}"
    for spec in images.tensors:
        if spec.per_position:
            yield f"images are pictures, and image_{spec.name} is stored for each region"


def _names(manifest: Manifest) -> Iterator[str]:
    """Encoders, galleries and matchers must have the same names and sizes of tensors."""
    for modality in MODALITIES:
        specs = manifest.items(modality).tensors
        stored = {f"{modality}_{spec.name}": spec for spec in specs}
        if len(stored) != len(specs):
            yield f"two stored tensors of {modality}s have the same name"
        for graph in manifest.graphs.values():
            if graph.role == f"{modality}_encoder":
                yield from _encoder(graph, modality, manifest)
            elif graph.storage is not None:
                known = {*stored, *map(scale_name, stored), "text_lengths"}
                for given in graph.inputs:
                    if given.name.startswith(f"{modality}_") and given.name not in known:
                        yield f"{graph.file} reads {given.name!r}, which is not stored"
                if "scores" not in {output.name for output in graph.outputs}:
                    yield f"{graph.file} has no output 'scores'"


def _encoder(graph: GraphInfo, modality: Modality, manifest: Manifest) -> Iterator[str]:
    wanted = {
        f"{modality}_{spec.name}": (2 + spec.per_position, spec.width)
        for spec in manifest.items(modality).tensors
    }
    wanted[f"{modality}_embedding"] = (2, manifest.embedding_width(modality))
    found = {output.name: output.shape for output in graph.outputs}
    for name, (axes, width) in wanted.items():
        shape = found.get(name, ())
        if len(shape) != axes or shape[-1] != width:
            yield f"{graph.file} has no output {name!r} of {axes} axes, the last of {width}"


def _explaining(manifest: Manifest) -> Iterator[str]:
    """What explains pairs reads what is stored of both items, and tells of its steps."""
    stored = {
        f"{modality}_{spec.name}"
        for modality in MODALITIES
        for spec in manifest.items(modality).tensors
    }
    for graph in manifest.graphs.values():
        if graph.role != EXPLAIN:
            continue
        for given in graph.inputs:
            if given.name not in stored | {"text_lengths"}:
                yield f"{graph.file} reads {given.name!r}, which is not stored"
        steps = len(graph.attention or ())
        found = {output.name: output.shape for output in graph.outputs}
        for name, axes in (("attention", 4), ("word_scores", 3)):
            shape = found.get(name, ())
            if len(shape) != axes or shape[1] != steps:
                yield f"{graph.file} has no output {name!r} of {axes} axes, of {steps} steps"


def _called(role: GraphRole, storage: str | None) -> str:
    return role if storage is None else f"{role} of {storage} galleries"
