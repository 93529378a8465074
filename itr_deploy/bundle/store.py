"""Reading and writing a bundle's manifest; everything is checked when it is read."""

from __future__ import annotations

import hashlib
import json
import posixpath
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Generic, TypeAlias, TypeVar

from pydantic import ValidationError

from itr_deploy.bundle.bound import BoundFile, read_regular
from itr_deploy.bundle.detector import DetectorManifest
from itr_deploy.bundle.external import external_files
from itr_deploy.bundle.files import canonical_json, inside, sha256_of, write_json
from itr_deploy.bundle.leftovers import files_below
from itr_deploy.bundle.manifest import SCHEMA_VERSION, FileInfo, Manifest, TextProcessing
from itr_deploy.bundle.names import shortened
from itr_deploy.errors import BundleError
from itr_deploy.paths import local_path

MANIFEST = "manifest.json"
PARITY = "parity.json"
RERANKER_PARITY = "parity-reranker.json"
UNLISTED = frozenset({MANIFEST, PARITY, RERANKER_PARITY})
"""Files without a checksum in the manifest: the manifest, and the reports that `verify` renews."""
ENGINES = "engines"
"""Directory of the engines built from the graphs (`itr_deploy.engines.files`), also unlisted."""
PROJECTION = "coarse_projection-*.npy"
"""Name pattern of projection files; a killed `tune` may leave one that is not listed."""


AnyManifest: TypeAlias = Manifest | DetectorManifest
ManifestT = TypeVar("ManifestT", Manifest, DetectorManifest)
ManifestT_co = TypeVar("ManifestT_co", bound=AnyManifest, covariant=True)


@dataclass(frozen=True)
class Opened(Generic[ManifestT_co]):
    """An opened bundle: its directory, its checked manifest and its checked files.

    Attributes:
        path: The directory, as it was given.
        manifest: Its manifest.
        files: The files that the manifest lists, by name, as they were when it was opened.
    """

    path: Path
    manifest: ManifestT_co
    files: Mapping[str, BoundFile] = field(default_factory=dict, repr=False, compare=False)

    def file(self, name: str) -> Path:
        """Absolute path of a file that the manifest lists."""
        return self.files[name].path

    def read(self, name: str) -> bytes:
        """Content of a file that the manifest lists, as it was when the bundle was opened.

        Raises:
            BundleError: Something has written into the file since.
        """
        return bytes(self.files[name].content())

    def weights_of(self, graph: str) -> dict[str, BoundFile]:
        """The files that a graph reads besides its own, by what it calls them."""
        own = self.manifest.graphs[graph].file
        return {
            location: self.files[posixpath.join(posixpath.dirname(own), location)]
            for location in external_files(self.read(own), own)
        }


class Bundle(Opened[Manifest]):
    """The bundle of a matcher."""


class DetectorBundle(Opened[DetectorManifest]):
    """The bundle of a region detector."""


AnyBundle: TypeAlias = Opened[AnyManifest]
"""A bundle of either kind."""


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
        for name in files_below(path)
    )


def read_bundle(path: str | Path) -> Bundle:
    """Open a matcher's bundle and check its manifest and every file's size and checksum.

    Raises:
        BundleError: The bundle is missing, damaged, of a newer schema, names a path outside
            itself, or is a detector's.
    """
    root = local_path(path)
    content = _checked_manifest(root)
    if _is_detectors(content):
        raise BundleError(
            f"{root}: the bundle of a region detector, and a matcher's is needed here; give this "
            "one as detector= (--detector) beside it, or open it with itr_deploy.Detector.load"
        )
    return Bundle(*_opened(root, Manifest, content))


def read_detector_bundle(path: str | Path) -> DetectorBundle:
    """Open a detector's bundle, with the checks of `read_bundle`.

    Raises:
        BundleError: As for `read_bundle`; or it is a matcher's.
    """
    root = local_path(path)
    content = _checked_manifest(root)
    if not _is_detectors(content):
        family = shortened(str(content.get("family", "unknown")))
        raise BundleError(
            f"{root}: the bundle of a matcher, {family}, and a region detector's is needed here; "
            "make one with itr-deploy export regions"
        )
    return DetectorBundle(*_opened(root, DetectorManifest, content))


def read_any_bundle(path: str | Path) -> Bundle | DetectorBundle:
    """Open a bundle of either kind, with the checks of `read_bundle`.

    Raises:
        BundleError: As for `read_bundle`.
    """
    root = local_path(path)
    content = _checked_manifest(root)
    if _is_detectors(content):
        return DetectorBundle(*_opened(root, DetectorManifest, content))
    return Bundle(*_opened(root, Manifest, content))


def _checked_manifest(root: Path) -> dict[str, Any]:
    """What a manifest says, if it is of a known version and as it was written."""
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
    return content


def _is_detectors(content: dict[str, Any]) -> bool:
    return content.get("kind") == "detector"


def _opened(
    root: Path, kind: type[ManifestT], content: dict[str, Any]
) -> tuple[Path, ManifestT, dict[str, BoundFile]]:
    """The parts of a bundle whose manifest was read."""
    try:
        manifest = kind.model_validate_json(json.dumps(content))
    except ValidationError as error:
        first = error.errors()[0]
        where = shortened(".".join(map(str, first["loc"])))
        raise BundleError(
            f"{root / MANIFEST}: {where}: {first['msg']}, not {shortened(repr(first['input']))}"
        ) from error
    return root, manifest, _checked_files(root, manifest)


def write_manifest(root: Path, manifest: AnyManifest) -> None:
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
        for name, path in files_below(root).items()
        if name not in UNLISTED and not name.startswith(f"{ENGINES}/")
    }


def text_files(processing: TextProcessing) -> list[str]:
    """The files that a text processing reads."""
    return list(processing.files)


def _read_manifest(root: Path) -> dict[str, Any]:
    if not root.is_dir():
        raise BundleError(f"{root}: no such bundle directory; make one with itr-deploy export")
    try:
        content = json.loads(read_regular(inside(root, MANIFEST)))
    except FileNotFoundError as error:
        raise BundleError(f"{root}: no {MANIFEST} in it; it is not a bundle") from error
    except (OSError, ValueError, RecursionError) as error:
        raise BundleError(f"{root / MANIFEST}: cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise BundleError(f"{root / MANIFEST}: holds a {type(content).__name__}, not an object")
    return content


def _checksum(content: dict[str, Any]) -> str:
    return hashlib.sha256(canonical_json(content)).hexdigest()


def _checked_files(root: Path, manifest: AnyManifest) -> dict[str, BoundFile]:
    for name in _named_files(manifest):
        if name not in manifest.files:
            inside(root, name)
            raise BundleError(f"{root}: the manifest uses {name!r} but lists no checksum for it")
    home = root.absolute()
    bound = {
        name: BoundFile(home / inside(root, name).relative_to(root), home, info, f"{root}: {name}")
        for name, info in manifest.files.items()
    }
    bundle = Opened(root, manifest, bound)
    for graph, entry in manifest.graphs.items():
        try:
            bundle.weights_of(graph)
        except KeyError as error:
            raise BundleError(
                f"{root}: {entry.file} reads {error.args[0]!r}, which the manifest does not list; "
                "export the bundle again"
            ) from error
    return bound


def _named_files(manifest: AnyManifest) -> list[str]:
    graphs = [graph.file for graph in manifest.graphs.values()]
    if isinstance(manifest, DetectorManifest):
        return graphs
    projections = manifest.pipeline.projections.values()
    return [*graphs, *text_files(manifest.text_processing), *projections]
