"""`profile_routes`: measures how much a model uses its routes on real data."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from itr_deploy.bundle.files import write_file
from itr_deploy.bundle.manifest import Manifest, ProfileEvidence
from itr_deploy.bundle.staging import check_writable
from itr_deploy.errors import InputError, OutputError, UsageError
from itr_deploy.evaluation.data.split import read_split
from itr_deploy.evaluation.scores.pairs import observe_pairs
from itr_deploy.models.family import Profile, Profiler
from itr_deploy.models.registry import FAMILIES
from itr_deploy.runtime.matcher import Matcher
from itr_deploy.values import FLAG, FUNCTION, PATH, TEXT, checked, whole


@checked(
    bundle=PATH,
    data=PATH,
    split=TEXT,
    images=whole(1),
    output=PATH,
    force=FLAG,
    progress=FUNCTION,
)
def profile_routes(
    bundle: str | Path,
    *,
    data: str | Path,
    split: str = "dev",
    images: int | None = None,
    output: str | Path = "routes.json",
    force: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Profile:
    """Count how much a bundle's model uses its routes, over all pairs of a split.

    The graphs must output what is counted; if they do not, the error says how to export them. An
    export of the family can prune routes by this profile.

    Args:
        bundle: The bundle's directory.
        data: Directory with ``{split}_ims.npy`` or ``_feat.npy``, and ``_caps.txt``.
        split: Name of the split.
        images: Number of its images to use, with all their captions; all by default.
        output: The profile to write; its picture is written beside it, with the suffix ``.svg``.
        force: Replace an existing profile.
        progress: Called with the number of pairs scored so far and the total.

    Raises:
        BundleError: The bundle is damaged.
        InputError: The data cannot be read, the family has no routes, or the graphs do not output
            their use.
        OutputError: The profile exists, or writing fails.
        UsageError: ``output`` is the picture's name.
    """
    bundle, data, output = Path(bundle), Path(data), Path(output)
    drawing = output.with_suffix(".svg")
    if drawing == output:
        raise UsageError(
            f"output={str(output)!r} (--output) is the picture's name; give the profile another one"
        )
    existing = next((path for path in (output, drawing) if path.exists()), None)
    if existing is not None and not force:
        raise OutputError(
            f"{existing} exists; give force=True (--force) to replace it, or another output "
            "(--output)"
        )
    check_writable(output.parent, output)
    matcher = Matcher.load(bundle)
    manifest = matcher.bundle.manifest
    counter = _profiler(bundle, manifest)
    read = read_split(data, split).first(images)
    pairs = len(read.image_ids) * len(read.captions)
    observe_pairs(matcher, read, counter.add, lambda done: progress(done, pairs))
    evidence = ProfileEvidence(
        checkpoint_sha256=manifest.provenance.checkpoint_sha256,
        data_sha256=read.digest(),
        split=split,
        images=len(read.image_ids),
        captions=len(read.captions),
    )
    profile = counter.profile(evidence, str(data.resolve()))
    write_file(output, profile.model_dump_json(indent=1) + "\n")
    write_file(drawing, profile.picture())
    return profile


def _profiler(path: Path, manifest: Manifest) -> Profiler:
    """The profiler of the routes of this bundle's family.

    Raises:
        InputError: The family has no routes, or the graphs do not output their use.
    """
    entry = {known.name: known for known in FAMILIES}.get(manifest.family)
    if entry is None or entry.profiler is None:
        known = [known.name for known in FAMILIES if known.profiler is not None]
        raise InputError(
            f"{path} is of family {manifest.family}, which has no routes to profile; "
            f"{', '.join(known)} has"
        )
    profiler = entry.profiler()
    told = {output.name for graph in manifest.graphs.values() for output in graph.outputs}
    if not told.issuperset(profiler.outputs):
        raise InputError(f"{path}: {profiler.absent}")
    return profiler
