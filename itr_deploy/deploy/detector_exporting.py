"""`export_regions`: turns a region detector's checkpoint into a bundle that agrees with PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from itr_deploy.bundle.detector import LARGEST_SIDE, DetectorManifest
from itr_deploy.bundle.files import write_json
from itr_deploy.bundle.manifest import Precision
from itr_deploy.bundle.staging import check_output, staged_directory
from itr_deploy.bundle.store import MANIFEST, PARITY, is_only_a_bundle, read_detector_bundle
from itr_deploy.deploy.export_half import export_half
from itr_deploy.deploy.exported import Exported
from itr_deploy.deploy.unchanged import check_unchanged, digest_of
from itr_deploy.errors import ParityError
from itr_deploy.models.registry import DEFAULT_OPSET, OPSETS
from itr_deploy.runtime.detector.detector import BOXES, Boxes
from itr_deploy.values import FLAG, FUNCTION, PATH, checked, choice, whole

MOST_PROPOSALS = 100_000


@dataclass(frozen=True)
class ExportedDetector(Exported):
    """A detector's bundle that was made and compared with PyTorch.

    Attributes:
        described: What was read from the checkpoint and how regions are chosen, for people.
    """

    described: Mapping[str, str]


@checked(
    checkpoint=PATH,
    output=PATH,
    config=PATH,
    boxes=BOXES,
    proposals=whole(1, MOST_PROPOSALS),
    considered=whole(1, MOST_PROPOSALS),
    shortest_side=whole(16, LARGEST_SIDE),
    longest_side=whole(16, LARGEST_SIDE),
    picture=PATH,
    opset=whole(OPSETS[0], OPSETS[-1]),
    dtype=choice(Precision),
    force=FLAG,
    progress=FUNCTION,
)
def export_regions(
    *,
    checkpoint: str | Path,
    output: str | Path,
    config: str | Path | None = None,
    boxes: Boxes | None = None,
    proposals: int | None = None,
    considered: int | None = None,
    shortest_side: int | None = None,
    longest_side: int | None = None,
    picture: str | Path | None = None,
    opset: int = DEFAULT_OPSET,
    dtype: Precision = "float32",
    force: bool = False,
    progress: Callable[[str], None] = lambda step: None,
) -> ExportedDetector:
    """Turn the checkpoint of a "bottom-up attention" region detector into a bundle.

    Which of the two published programs' conventions it has, its sizes and its anchors are read from
    the weights. Both graphs, and the regions of a picture, are compared with PyTorch before the
    bundle appears.

    Args:
        checkpoint: ``bua-caffe-frcn-r101-k36.pth`` or another ``.pth`` of ``bua-caffe``; or
            ``pytorch_model.bin`` or a ``.pkl`` of ``frcnn-vg``.
        output: Directory of the bundle; must not exist unless ``force`` is given.
        config: The program's yaml with sides, counts and thresholds. ``frcnn-vg`` needs its
            ``config.yaml``; ``bua-caffe`` is as published without one.
        boxes: Regions of a picture: 36, or the least and the most, ``(10, 100)``; by default those
            of ``config``, or 36.
        proposals: Proposals of a picture that are looked at, nearly all of the work; by default
            those of ``config``, or 300. Fewer change which regions are found.
        considered: Best boxes that are suppressed among one another before that.
        shortest_side: Pixels that a picture's shorter side is resized to.
        longest_side: The most of its longer side.
        picture: A picture to compare with PyTorch on; by default a made one.
        opset: ONNX operator set; 20 is the highest that every supported TensorRT accepts.
        dtype: Type of the graphs' matrix products. Half precision is for a GPU.
        force: Replace an existing bundle, once the new one is complete and verified.
        progress: Called with the name of each step as it begins.

    Raises:
        CheckpointError: The checkpoint cannot be used, or is another network's.
        InputError: The config or the picture cannot be used.
        OutputError: The output exists, or writing fails.
        ParityError: The bundle differs from PyTorch; nothing is left.
        SetupError: PyTorch or onnx is not installed.
        UsageError: An option has an invalid value, or ``frcnn-vg`` is given no config.
    """
    checkpoint, output = Path(checkpoint), Path(output)
    kind = {"replaceable": is_only_a_bundle, "kind": "bundle"}
    check_output(output, force=force, **kind)  # type: ignore[arg-type]
    progress("loading PyTorch")
    with export_half():
        from itr_deploy.exporters.detector import DetectorSource, build_detector
        from itr_deploy.models.detector.checkpoint import read_network
        from itr_deploy.models.detector.plain import PlainDetector
        from itr_deploy.models.detector.settings import Given, settings_of
        from itr_deploy.parity.detector import compare_detector
        from itr_deploy.parity.report import missed
        from itr_deploy.parity.scene import made_scene
        from itr_deploy.runtime.pictures.decode import decoded
    if picture is None:
        shown = made_scene()
    else:
        shown = decoded(picture, f"picture (--picture) {picture}", transparent="ignored")
    progress(f"reading {checkpoint.name}")
    digest = digest_of(checkpoint)
    network = read_network(checkpoint)
    given = Given(_counts(boxes), proposals, considered, shortest_side, longest_side)
    settings = settings_of(
        network.config.dialect,
        None if config is None else Path(config),
        given,
        classes=network.config.classes,
        attributes=network.config.attribute_count,
    )
    source = DetectorSource(checkpoint, network, settings)
    with staged_directory(output, force=force, last=MANIFEST, **kind) as root:  # type: ignore[arg-type]
        manifest = build_detector(source, root, opset=opset, precision=dtype, progress=progress)
        check_unchanged(checkpoint, digest, manifest.provenance.checkpoint_sha256)
        plain, bundle = PlainDetector(network, settings), read_detector_bundle(root)
        report = compare_detector(plain, bundle, shown, progress)
        if not report.passed:
            raise ParityError(missed(report, "no bundle was written"))
        write_json(root / PARITY, report.to_json())
    described = {**network.config.described(), **_told(manifest)}
    return ExportedDetector(output, manifest.encoding_id, report, described)


def _counts(boxes: Boxes | None) -> tuple[int, int] | None:
    """The least and the most of a number of regions, or of both."""
    if boxes is None:
        return None
    least, most = boxes if isinstance(boxes, (tuple, list)) else (boxes, boxes)
    return int(least), int(most)


def _told(manifest: DetectorManifest) -> dict[str, str]:
    """How pictures are resized and regions chosen, for people."""
    sides, proposals, selection = manifest.sides, manifest.proposals, manifest.selection
    least, most = selection.min_boxes, selection.max_boxes
    boxes = f"{least}" if least == most else f"{least} to {most}"
    overlaps = ", ".join(f"{overlap:g}" for overlap in selection.overlaps)
    confidence = selection.confidence
    sure = "" if confidence is None else f", confident from {confidence:g}"
    return {
        "pictures": f"shorter side {sides.shortest}, longer one up to {sides.longest} pixels",
        "proposals": (
            f"{proposals.kept} of the best {proposals.considered:,}, apart by {proposals.overlap:g}"
        ),
        "regions": f"{boxes} a picture, apart by {overlaps}{sure}",
    }
