"""Writes what `tune` found to a bundle, as the defaults of its searches."""

from __future__ import annotations

import hashlib
import io
from contextlib import suppress

import numpy as np

from itr_deploy.bundle.files import write_file
from itr_deploy.bundle.manifest import FileInfo, Pipeline
from itr_deploy.bundle.modality import MODALITIES, Modality
from itr_deploy.bundle.store import PROJECTION, Bundle, write_manifest
from itr_deploy.errors import OutputError
from itr_deploy.evaluation.tuning.widths import Widths
from itr_deploy.runtime.projection import Projection


def write_defaults(bundle: Bundle, widths: dict[Modality, Widths], projection: Projection) -> None:
    """Make these the widths and the projection of text and image queries.

    Nothing that determines scores or encodings changes, so galleries stay valid. The bundle changes
    at the moment when the new manifest is renamed into place. The files that it names are written
    before, under new names; those that the old one named are removed afterwards.

    Raises:
        OutputError: The bundle cannot be written; it stays as it was.
    """
    manifest = bundle.manifest
    old = set(manifest.pipeline.projections.values())
    contents = {query: _npy(projection, query) for query in projection.forms}
    names = {query: _name(query, content) for query, content in contents.items()}
    pipeline = Pipeline.model_validate(
        {
            **manifest.pipeline.model_dump(),
            **_width_fields(widths),
            **{f"{query}_query_projection": names.get(query) for query in MODALITIES},
        }
    )
    files = {name: info for name, info in manifest.files.items() if name not in old}
    try:
        for query, name in names.items():
            digest = hashlib.sha256(contents[query]).hexdigest()
            files[name] = FileInfo(bytes=len(contents[query]), sha256=digest)
            write_file(bundle.path / name, contents[query])
        changed = manifest.model_copy(update={"pipeline": pipeline, "files": files})
        write_manifest(bundle.path, changed)
    except OutputError:
        _remove_all_but(bundle, old)
        raise
    _remove_all_but(bundle, set(names.values()))


def _width_fields(widths: dict[Modality, Widths]) -> dict[str, int | None]:
    text, image = widths["text"], widths["image"]
    # A prefilter width that is not above the matcher's leaves the prefilter out.
    wide = image.prefilter or (image.candidates if text.prefilter else None)
    # Nor does a refiner's.
    middle = image.refine or (image.candidates if text.refine else None)
    return {
        "candidates": text.candidates,
        "image_query_candidates": image.candidates if image.candidates != text.candidates else None,
        "prefilter": text.prefilter,
        "image_query_prefilter": wide if wide != text.prefilter else None,
        "refine": text.refine,
        "image_query_refine": middle if middle != text.refine else None,
    }


def _npy(projection: Projection, query: Modality) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, projection.forms[query], allow_pickle=False)
    return buffer.getvalue()


def _name(query: Modality, content: bytes) -> str:
    return PROJECTION.replace("*", f"{query}-{hashlib.sha256(content).hexdigest()[:12]}")


def _remove_all_but(bundle: Bundle, kept: set[str]) -> None:
    # A file that cannot be removed does no harm; the next call removes it.
    with suppress(OSError):
        for path in bundle.path.glob(PROJECTION):
            if path.name not in kept:
                path.unlink(missing_ok=True)
