"""Export with the gate behind it: a bundle appears only if it agrees with PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from itr_deploy.bundle.files import write_json
from itr_deploy.bundle.manifest import Precision, Quantization
from itr_deploy.bundle.staging import check_output, staged_directory
from itr_deploy.bundle.store import PARITY, is_only_a_bundle, read_bundle
from itr_deploy.errors import ParityError, UsageError
from itr_deploy.exporters.build import Source, build_bundle
from itr_deploy.exporters.text import bundled_text
from itr_deploy.models.registry import DEFAULT_OPSET, Family
from itr_deploy.parity.gate import verify
from itr_deploy.parity.judging import judged_backend
from itr_deploy.parity.profiled import profiled_parity, profiled_split
from itr_deploy.parity.report import ParityReport
from itr_deploy.parity.storages import leave_out_missed
from itr_deploy.runtime.matcher import Matcher

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Exported:
    """A bundle that was made: where, what its galleries are bound to, and its parity."""

    path: Path
    encoding_id: str
    report: ParityReport


def export_verified(
    family: Family,
    *,
    checkpoint: Path,
    vocabulary: Path,
    output: Path,
    opset: int = DEFAULT_OPSET,
    precision: Precision = "float32",
    quantization: Quantization | None = None,
    force: bool = False,
    options: Mapping[str, Any] | None = None,
    progress: Progress = lambda step: None,
) -> Exported:
    """Read a checkpoint, write its bundle and compare the two.

    Args:
        family: The checkpoint's, from `itr_deploy.models.registry`.
        checkpoint: The published checkpoint.
        vocabulary: The vocabulary file of its training.
        output: Directory of the bundle; must not exist unless ``force`` is given.
        opset: ONNX operator set.
        precision: Type of the graphs' matrix products.
        quantization: What the matchers' Linears are rounded to; goes with float32 alone.
        force: Replace an existing bundle, once the new one is complete and verified.
        options: The family's own options.
        progress: Called with the name of each step as it begins.

    Raises:
        CheckpointError: The checkpoint or vocabulary cannot be used.
        InputError: An option cannot be used, or the profiled data of a pruned model is not there.
        OutputError: The output exists, or the disk refuses.
        ParityError: The bundle differs from PyTorch; nothing is left.
        UsageError: Half precision, which is for a GPU, and int8, which is for a CPU.
    """
    if quantization is not None and precision != "float32":
        raise UsageError(
            f"--quantize {quantization} goes with --dtype float32, not {precision}: int8 is for a "
            "CPU, half precision for a GPU; leave one of them out"
        )
    kind = {"replaceable": is_only_a_bundle, "kind": "bundle"}
    check_output(output, force=force, **kind)  # type: ignore[arg-type]
    progress(f"reading {checkpoint.name}")
    trained = family.load(checkpoint, **(options or {}))
    text = bundled_text(family.text, vocabulary, trained.vocab_size, **trained.text_options)
    source = Source(family.name, checkpoint, trained, text)
    origin = trained.pruned_from
    profiled = None if origin is None else profiled_split(origin)
    with staged_directory(output, force=force, **kind) as root:  # type: ignore[arg-type]
        manifest = build_bundle(
            source,
            root,
            opset=opset,
            precision=precision,
            quantization=quantization,
            progress=progress,
        )
        bundle = read_bundle(root)
        with judged_backend(bundle) as backend:
            matcher = Matcher(bundle, backend)
            report = verify(trained, matcher, progress=progress)
            if origin is not None and profiled is not None:
                found = profiled_parity(origin, matcher, profiled, progress)
                report = found.added_to(report)
        manifest, report = leave_out_missed(root, manifest, report, progress)
        if not report.passed:
            raise ParityError(missed(report, "no bundle was written"))
        write_json(root / PARITY, report.to_json())
    return Exported(output, manifest.encoding_id, report)


def missed(report: ParityReport, consequence: str) -> str:
    """The message of a failed gate: the first comparison that missed, and its figures."""
    worst = next(entry for entry in report.entries if not entry.passed)
    count = sum(not entry.passed for entry in report.entries)
    found = worst.shortfall
    if not worst.finite:
        found = "values that are NaN or infinite"
    return (
        f"parity missed by {count} of {len(report.entries)} comparisons, first {worst.name}: "
        f"{found}; {consequence}"
    )
