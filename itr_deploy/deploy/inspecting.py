"""`inspect`: shows what a bundle or a gallery holds."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from itr_deploy.bundle.manifest import Front
from itr_deploy.bundle.modality import MODALITIES
from itr_deploy.bundle.store import (
    MANIFEST,
    PARITY,
    RERANKER_PARITY,
    AnyManifest,
    Bundle,
    DetectorBundle,
    read_any_bundle,
)
from itr_deploy.errors import BundleError, GalleryError
from itr_deploy.paths import StoreUrl
from itr_deploy.runtime.gallery import Gallery
from itr_deploy.runtime.gallery.compacting import files_of, fill_of
from itr_deploy.runtime.gallery.layout import TABLE
from itr_deploy.runtime.gallery.read import stored_bytes
from itr_deploy.runtime.gallery.sharding.opening import open_shard
from itr_deploy.runtime.gallery.sharding.shards import Shards, check_own, is_shards
from itr_deploy.runtime.rerank.store import verify_store
from itr_deploy.values import FLAG, GALLERY, checked


@checked(
    path=GALLERY,
    verify=FLAG,
)
def inspect(path: str | Path, *, verify: bool = False) -> dict[str, Any]:
    """Show what is in a bundle or a gallery.

    Args:
        path: Directory of a bundle or a gallery, or of a gallery in shards, or its ``shards.json``;
            or a gallery's place in an object store.
        verify: Also compare every stored byte that a search reads with its checksum; in an object
            store see `Gallery.verify`. A bundle is always compared.

    Returns:
        Its contents by name, as `itr-deploy inspect --json` prints them; ``"kind"`` is
        ``"bundle"``, ``"detector"`` for the bundle of a region detector, ``"gallery"``, or
        ``"shards"``.

    Raises:
        BundleError: The bundle is damaged.
        GalleryError: The directory is neither a bundle nor a gallery; or with ``verify`` a
            gallery's file is not as it was written, or has no checksum.
    """
    if is_shards(path):
        return _shards(Shards.open(path), verify)
    if isinstance(path, StoreUrl):
        return _gallery(Gallery.open(path), verify)
    path = Path(path)
    if (path / MANIFEST).is_file():
        bundle = read_any_bundle(path)
        if isinstance(bundle, DetectorBundle):
            return _detector(bundle, verify)
        return _bundle(bundle, verify)
    if path.is_dir() and not (path / f"{TABLE}.lance").exists():
        raise GalleryError(
            f"{path}: neither a bundle, which has a {MANIFEST}, nor a gallery, which has a "
            f"{TABLE}.lance"
        )
    return _gallery(Gallery.open(path), verify)


PASSED = {True: "passed", False: "MISSED", None: "not measured"}


def _detector(bundle: DetectorBundle, verify: bool) -> dict[str, Any]:
    manifest = bundle.manifest
    size = sum(info.bytes for info in manifest.files.values())
    return {
        "kind": "detector",
        "schema_version": manifest.schema_version,
        "dialect": manifest.dialect,
        "precision": manifest.precision,
        "encoding_id": manifest.encoding_id,
        "image_dim": manifest.feature_dim,
        "classes": manifest.classes,
        "attributes": manifest.attributes or "none",
        "anchors": len(manifest.anchors),
        "sides": manifest.sides.model_dump(),
        "proposals": manifest.proposals.model_dump(mode="json"),
        "selection": manifest.selection.model_dump(mode="json"),
        "chunk": manifest.chunk,
        "parity": PASSED[_parity(bundle.path / PARITY)],
        "bytes": size,
        **({"verified": {"files": len(manifest.files), "bytes": size}} if verify else {}),
        "provenance": manifest.provenance.model_dump(),
        "graphs": _graphs(manifest),
    }


def _graphs(manifest: AnyManifest) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "opset": graph.opset,
            "inputs": len(graph.inputs),
            "outputs": len(graph.outputs),
            "gallery": graph.storage or "",
            "bytes": manifest.files[graph.file].bytes,
        }
        for name, graph in manifest.graphs.items()
    ]


def _bundle(bundle: Bundle, verify: bool) -> dict[str, Any]:
    manifest = bundle.manifest
    reranker = manifest.reranker
    size = sum(info.bytes for info in manifest.files.values())
    return {
        "kind": "bundle",
        "schema_version": manifest.schema_version,
        "family": manifest.family,
        "options": manifest.options,
        "precision": manifest.precision,
        "quantization": manifest.quantization or "none",
        "encoding_id": manifest.encoding_id,
        "scores": "product of the embeddings" if manifest.is_dual_encoder else "matcher",
        "images": "pictures" if manifest.images.pictures else "regions",
        "image_dim": manifest.images.feature_dim,
        "regions": manifest.images.regions or ("none" if manifest.images.pictures else "any"),
        "vocabulary": manifest.texts.vocab_size,
        "max_tokens": manifest.texts.max_tokens,
        "pruning": None if manifest.pruning is None else manifest.pruning.model_dump(mode="json"),
        "text_processing": manifest.text_processing.model_dump(),
        "pipeline": manifest.pipeline.model_dump(),
        "parity": PASSED[_parity(bundle.path / PARITY)],
        **(
            {}
            if reranker is None
            else {
                "reranker": reranker.model_dump(mode="json", by_alias=True),
                "reranker_parity": PASSED[_parity(bundle.path / RERANKER_PARITY)],
            }
        ),
        "bytes": size,
        **({"verified": {"files": len(manifest.files), "bytes": size}} if verify else {}),
        "provenance": manifest.provenance.model_dump(),
        **({} if manifest.front is None else {"front": _front(manifest.front)}),
        "members": [
            {
                "member": f"m{number}",
                "family": member.family,
                "weight": round(member.weight, 4),
                "checkpoint": member.provenance.checkpoint,
                "sha256": member.provenance.checkpoint_sha256[:12],
            }
            for number, member in enumerate(manifest.members)
        ],
        "graphs": _graphs(manifest),
        "embedding_dim": manifest.embedding_dim,
        **({"views": manifest.images.views} if manifest.images.views else {}),
        "stored": [
            {
                "item": modality,
                "tensor": spec.name,
                "width": spec.width,
                "per": ("region" if modality == "image" else "word")
                if spec.per_position
                else "item",
            }
            for modality in MODALITIES
            for spec in manifest.items(modality).tensors
        ],
    }


def _front(front: Front) -> dict[str, Any]:
    """The dual encoder of a cascade."""
    return {
        "family": front.family,
        "options": front.options,
        "members": [member.family for member in front.members],
        "checkpoint": front.provenance.checkpoint,
        "sha256": front.provenance.checkpoint_sha256[:12],
    }


def _parity(path: Path) -> bool | None:
    """The verdict of a bundle's parity report, None without a report."""
    if not path.is_file():
        return None
    try:
        return bool(json.loads(path.read_bytes())["passed"])
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise BundleError(
            f"{path}: not a parity report; write it again with itr-deploy verify"
        ) from error


def _gallery(gallery: Gallery, verify: bool) -> dict[str, Any]:
    # First, for what is damaged may not be readable either.
    verified = _verified(gallery) if verify else {}
    about, fill = gallery.description, fill_of(gallery.opened)
    return {
        "kind": "gallery",
        "schema_version": about.schema_version,
        "modality": about.modality,
        "items": gallery.count(),
        "storage": about.storage,
        "regions": about.positions if about.modality == "image" else None,
        "embedding_dim": about.embedding_dim,
        "metadata_columns": gallery.metadata_columns,
        "family": about.family,
        "encoding_id": about.encoding_id,
        "resident_bytes": stored_bytes(gallery),
        "id": gallery.identity.gallery or None,
        "version": gallery.version,
        **vars(files_of(gallery.opened)),
        "fragments": fill.fragments,
        "deleted_share": round(fill.deleted_share, 4),
        **verified,
        "stored": [
            {"tensor": spec.name, "width": spec.width, "per_position": spec.per_position}
            for spec in about.tensors
        ],
    }


def _shards(shards: Shards, verify: bool) -> dict[str, Any]:
    found = []
    for number, path in enumerate(shards.paths):
        gallery = open_shard(path)
        made_by, own = gallery.description.encoding_id, shards.record.encoding_id
        if made_by != own:
            raise GalleryError(
                f"{path}: made with another bundle (encoding {made_by[:12]}, the shards "
                f"have {own[:12]}); make it again"
            )
        found.append(_gallery(gallery, verify))
        if verify:
            check_own(path, gallery.ids(), number, len(shards))
    summed = ("items", "resident_bytes", "files", "bytes")
    told = [
        {"shard": path.name, **{name: own[name] for name in ("items", "version", "deleted_share")}}
        for path, own in zip(shards.paths, found, strict=True)
    ]
    verified = [own["verified"] for own in found if "verified" in own]
    return {
        "kind": "shards",
        "format": shards.record.format,
        "modality": shards.record.modality,
        "count": len(shards),
        "hash": shards.record.hash,
        "encoding_id": shards.record.encoding_id,
        **{name: sum(own[name] for own in found) for name in summed},
        **({"verified": _summed(verified)} if verify else {}),
        "shards": told,
    }


def _summed(verified: Sequence[dict[str, int]]) -> dict[str, int]:
    return {name: sum(own[name] for own in verified) for name in ("files", "bytes")}


def _verified(gallery: Gallery) -> dict[str, Any]:
    parts = [gallery.verify(), verify_store(gallery.path)]
    checked = [part for part in parts if part is not None]
    files, size = (sum(getattr(part, name) for part in checked) for name in ("files", "bytes"))
    return {"verified": {"files": files, "bytes": size}}
