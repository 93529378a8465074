"""`triton`: a model repository for NVIDIA's Triton Inference Server."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from itr_deploy.bundle.consistency import check_consistent
from itr_deploy.bundle.files import output_errors, write_file
from itr_deploy.bundle.leftovers import entries
from itr_deploy.bundle.manifest import Manifest
from itr_deploy.bundle.staging import check_output, staged_directory
from itr_deploy.bundle.store import Bundle, read_bundle
from itr_deploy.errors import BundleError, GalleryError, OutputError, UsageError
from itr_deploy.model_repository.encoders import ENCODERS, write_encoder
from itr_deploy.model_repository.environment import environment
from itr_deploy.model_repository.search import CONFIG, NAME, VERSION, write_search
from itr_deploy.model_repository.settings import Settings
from itr_deploy.runtime.backends.opening import DEVICES
from itr_deploy.runtime.gallery import Gallery
from itr_deploy.runtime.matcher import Matcher
from itr_deploy.values import FLAG, PATH, SECONDS, TEXT, checked, real, whole

KIND = "model repository"
CLIENT, ENVIRONMENT = "client.py", "environment.txt"
OWN = frozenset({NAME, *ENCODERS, CLIENT, ENVIRONMENT})
BUNDLE, GALLERY = "bundle", "gallery"
"""Names of the copies, in the search model's version directory."""


@dataclass(frozen=True)
class TritonRepository:
    """What was written.

    Attributes:
        repository: The directory.
        models: The models, and the backends of Triton that run them.
        bundle: The bundle that the search model opens.
        gallery: The gallery that it opens.
    """

    repository: str
    models: dict[str, str]
    bundle: str
    gallery: str

    def to_json(self) -> dict[str, Any]:
        """JSON values for a report."""
        return dict(vars(self))


@checked(
    bundle=PATH,
    gallery=PATH,
    output=PATH,
    copy=FLAG,
    device=TEXT,
    max_batch=whole(1, 1024),
    max_wait_ms=real("a number of milliseconds from 0 to 1000", at_least=0, at_most=1000),
    max_queue=whole(1, 100_000),
    request_timeout=real("a number of seconds above 0", above=0, at_most=86_400),
    max_k=whole(1),
    refresh=SECONDS,
    force=FLAG,
)
def triton(
    bundle: str | Path,
    *,
    gallery: str | Path,
    output: str | Path,
    copy: bool = False,
    device: str = "cpu",
    max_batch: int = 8,
    max_wait_ms: float = 2.0,
    max_queue: int = 64,
    request_timeout: float = 10.0,
    max_k: int = 1000,
    refresh: float = 30.0,
    force: bool = False,
) -> TritonRepository:
    """Write a model repository from which Triton searches a gallery.

    It has three models: ``itr_search``, a `Retriever` behind Triton's Python backend, and the
    encoders ``text_encoder`` and ``image_encoder``. See docs/guides/triton.md.

    Args:
        bundle: The bundle's directory.
        gallery: A gallery made with it.
        output: The repository to make.
        copy: Put copies of bundle and gallery into the repository. Otherwise it names their
            absolute paths, so that they must be there where Triton runs; then what is added to the
            gallery is found by Triton too.
        device: ``"cpu"`` or ``"cuda"``, where the models run. With ``"cuda"`` the encoders are the
            bundle's TensorRT engines, where it has any.
        max_batch: Most queries of a request, and of those that are searched together.
        max_wait_ms: Milliseconds that a request waits for others to be computed with.
        max_queue: Most requests that wait for a model; Triton refuses more.
        request_timeout: Seconds after which Triton refuses a request that still waits.
        max_k: Most hits that a query may ask for.
        refresh: Seconds between looks for changes of the gallery; 0 for never.
        force: Replace an existing repository.

    Raises:
        BundleError: The bundle is damaged, or quantised and the device is a GPU.
        EngineError: An engine is damaged.
        GalleryError: The gallery is missing, belongs to another bundle, or changes as it is copied.
        OutputError: The output exists, lies in the bundle or the gallery, or cannot be written.
        UsageError: The device is unknown.
    """
    bundle, gallery, output = Path(bundle), Path(gallery), Path(output)
    if device not in DEVICES:
        raise UsageError(f"device {device!r} is unknown; known: {', '.join(DEVICES)}")
    check_output(output, force=force, replaceable=is_a_repository, kind=KIND)
    for given in (bundle, gallery):
        if given.resolve() in (output.resolve(), *output.resolve().parents):
            raise OutputError(
                f"output={str(output)!r} (--output) is inside {given}; give a place outside of it"
            )
    opened = read_bundle(bundle)
    check_consistent(opened)
    _check_device(opened, device)
    stored = Gallery.open(gallery, Matcher.load(bundle))
    settings = Settings(
        bundle=Path(BUNDLE) if copy else bundle.absolute(),
        gallery=Path(GALLERY) if copy else gallery.absolute(),
        device=device,
        max_batch=max_batch,
        max_wait_ms=max_wait_ms,
        max_queue=max_queue,
        request_timeout=request_timeout,
        max_k=max_k,
        refresh=refresh,
    )
    with staged_directory(
        output, force=force, replaceable=is_a_repository, kind=KIND, last=NAME
    ) as root:
        models = {NAME: "python"}
        for name in ENCODERS:
            models[name] = write_encoder(root, name, opened, settings)
        write_search(root, settings, opened.manifest.images, stored.modality)
        if copy:
            _copy_bundle(opened, root / NAME / VERSION / BUNDLE)
            _copy_gallery(stored, root / NAME / VERSION / GALLERY)
        write_file(root / ENVIRONMENT, environment(device))
        client = files("itr_deploy.model_repository") / "templates" / CLIENT
        write_file(root / CLIENT, client.read_bytes())
    home = output.absolute() / NAME / VERSION
    return TritonRepository(
        str(output), models, str(home / settings.bundle), str(home / settings.gallery)
    )


def is_a_repository(path: Path) -> bool:
    """Whether a directory is a model repository of ours, and holds nothing else."""
    return (path / NAME / CONFIG).is_file() and entries(path) <= OWN


def _check_device(bundle: Bundle, device: str) -> None:
    """Refuse, without a GPU, what no GPU runs.

    Raises:
        BundleError: The bundle is quantised.
    """
    manifest: Manifest = bundle.manifest
    if device == "cuda" and manifest.quantization is not None:
        raise BundleError(
            f"{bundle.path}: its matchers are {manifest.quantization}, which is for a CPU; give "
            "device='cpu' (--device), or a bundle that was exported without quantize= (--quantize)"
        )


def _copy_bundle(bundle: Bundle, target: Path) -> None:
    """Copy a bundle and its engines.

    Raises:
        BundleError: It changes as it is copied.
        OutputError: It cannot be written.
    """
    with output_errors(target):
        shutil.copytree(bundle.path, target)
    if read_bundle(target).manifest != bundle.manifest:
        raise BundleError(f"{bundle.path}: changed while it was copied; run this again")


def _copy_gallery(gallery: Gallery, target: Path) -> None:
    """Copy a gallery as it was opened.

    Raises:
        GalleryError: It changes as it is copied.
        OutputError: It cannot be written.
    """
    before = gallery.identity
    problem: shutil.Error | None = None
    with output_errors(target):
        try:
            shutil.copytree(gallery.path, target, ignore=shutil.ignore_patterns("writer.*"))
        except shutil.Error as error:
            problem = error
    gallery.refresh()
    if gallery.identity != before:
        raise GalleryError(f"{gallery.path}: changed while it was copied; run this again")
    if problem is not None:
        raise OutputError(f"cannot copy {gallery.path}: {problem.args[0][0][2]}")
    Gallery.open(target, gallery.matcher)
