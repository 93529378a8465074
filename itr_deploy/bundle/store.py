"""Reading and writing a bundle's manifest; everything is checked when it is read."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from itr_deploy.bundle.files import canonical_json, inside, sha256_of, write_json
from itr_deploy.bundle.manifest import SCHEMA_VERSION, FileInfo, Manifest, TextProcessing
from itr_deploy.errors import BundleError

MANIFEST = "manifest.json"
PARITY = "parity.json"
RERANKER_PARITY = "parity-reranker.json"
UNLISTED = frozenset({MANIFEST, PARITY, RERANKER_PARITY})
"""Files without a checksum in the manifest: the manifest, and the reports that `verify` renews."""
ENGINES = "engines"
"""Directory of the engines built from the graphs (`itr_deploy.engines.files`), also unlisted."""
PROJECTION = "coarse_projection-*.npy"
"""Name pattern of projection files; a killed `tune` may leave one that is not listed."""


@dataclass(frozen=True)
class Bundle:
    """An opened bundle: its directory and its checked manifest."""

    path: Path
    manifest: Manifest

    def file(self, name: str) -> Path:
        """Path of a file named in the manifest."""
        return inside(self.path, name)


def is_only_a_bundle(path: Path) -> bool:
    """Whether a directory is a bundle, damaged or not, and holds nothing else."""
    try:
        content = _read_manifest(path)
    except BundleError:
        return False
    listed = content.get("files")
    own = UNLISTED | (listed.keys() if isinstance(listed, dict) else set())
    return "encoding_id" in content and all(
        name in own or name.startswith(f"{ENGINES}/") or fnmatch(name, PROJECTION)
        for name in _files(path)
    )


def read_bundle(path: str | Path) -> Bundle:
    """Open a bundle and check its manifest and every file's size and checksum.

    Raises:
        BundleError: The bundle is missing, damaged, of a newer schema, or names a path outside
            itself.
    """
    root = Path(path)
    content = _read_manifest(root)
    version = content.get("schema_version")
    if not isinstance(version, int):
        raise BundleError(f"{root / MANIFEST}: no schema_version; it is not a bundle's manifest")
    if version > SCHEMA_VERSION:
        raise BundleError(
            f"{root}: made by a newer itr-deploy (bundle schema {version}, this one reads "
            f"{SCHEMA_VERSION}); upgrade with pip install -U itr-deploy"
        )
    stated = content.pop("checksum", None)
    if stated != _checksum(content):
        raise BundleError(
            f"{root / MANIFEST}: its checksum does not match, it was changed or damaged; "
            "export the bundle again"
        )
    try:
        manifest = Manifest.model_validate_json(json.dumps(content))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise BundleError(f"{root / MANIFEST}: {where}: {first['msg']}") from error
    _check_files(root, manifest)
    return Bundle(root, manifest)


def write_manifest(root: Path, manifest: Manifest) -> None:
    """Write ``manifest`` with its checksum, replacing an older one.

    Raises:
        OutputError: The manifest cannot be written.
    """
    content = manifest.model_dump(mode="json", by_alias=True)
    write_json(root / MANIFEST, {**content, "checksum": _checksum(content)})


def list_files(root: Path) -> dict[str, FileInfo]:
    """Size and checksum of every file of a bundle that a manifest lists."""
    return {
        name: FileInfo(bytes=path.stat().st_size, sha256=sha256_of(path))
        for name, path in _files(root).items()
        if name not in UNLISTED and not name.startswith(f"{ENGINES}/")
    }


def _files(root: Path) -> dict[str, Path]:
    paths = sorted(path for path in root.rglob("*") if path.is_file())
    return {path.relative_to(root).as_posix(): path for path in paths}


def text_files(processing: TextProcessing) -> list[str]:
    """The files that a text processing reads."""
    return list(processing.files)


def _read_manifest(root: Path) -> dict[str, Any]:
    if not root.is_dir():
        raise BundleError(f"{root}: no such bundle directory; make one with itr-deploy export")
    try:
        content = json.loads((root / MANIFEST).read_bytes())
    except FileNotFoundError as error:
        raise BundleError(f"{root}: no {MANIFEST} in it; it is not a bundle") from error
    except (OSError, ValueError, RecursionError) as error:
        raise BundleError(f"{root / MANIFEST}: cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise BundleError(f"{root / MANIFEST}: holds a {type(content).__name__}, not an object")
    return content


def _checksum(content: dict[str, Any]) -> str:
    return hashlib.sha256(canonical_json(content)).hexdigest()


def _check_files(root: Path, manifest: Manifest) -> None:
    for name in _named_files(manifest):
        if name not in manifest.files:
            inside(root, name)
            raise BundleError(f"{root}: the manifest uses {name!r} but lists no checksum for it")
    for name, info in manifest.files.items():
        path = inside(root, name)
        if not path.is_file():
            raise BundleError(f"{root}: {name} is missing; copy the bundle again")
        if path.stat().st_size != info.bytes or sha256_of(path) != info.sha256:
            raise BundleError(
                f"{root}: {name} does not match its checksum, it was changed or damaged; "
                "copy or export the bundle again"
            )


def _named_files(manifest: Manifest) -> list[str]:
    graphs = [graph.file for graph in manifest.graphs.values()]
    projections = manifest.pipeline.projections.values()
    return [*graphs, *text_files(manifest.text_processing), *projections]
