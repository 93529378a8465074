"""`export`: turns a trained checkpoint into a bundle that agrees with PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from itr_deploy.bundle.files import write_json
from itr_deploy.bundle.manifest import Precision, Quantization
from itr_deploy.bundle.staging import check_output, staged_directory
from itr_deploy.bundle.store import MANIFEST, PARITY, is_only_a_bundle, read_bundle
from itr_deploy.deploy.export_half import export_half
from itr_deploy.deploy.exported import Exported
from itr_deploy.deploy.families import family_named
from itr_deploy.deploy.unchanged import check_unchanged, digest_of
from itr_deploy.errors import ParityError, UsageError
from itr_deploy.exporters.garbage import collected_later
from itr_deploy.models import registry
from itr_deploy.models.registry import DEFAULT_OPSET, OPSETS
from itr_deploy.values import FLAG, FUNCTION, PATH, TEXT, checked, choice, whole


@checked(
    family=TEXT,
    checkpoint=PATH,
    vocab=PATH,
    output=PATH,
    opset=whole(OPSETS[0], OPSETS[-1]),
    dtype=choice(Precision),
    quantize=choice(Quantization),
    punkt=PATH,
    force=FLAG,
    progress=FUNCTION,
)
@collected_later()
def export(
    family: str,
    *,
    checkpoint: str | Path,
    vocab: str | Path,
    output: str | Path,
    opset: int = DEFAULT_OPSET,
    dtype: Precision = "float32",
    quantize: Quantization | None = None,
    punkt: str | Path | None = None,
    force: bool = False,
    progress: Callable[[str], None] = lambda step: None,
    **options: Any,
) -> Exported:
    """Turn a trained checkpoint into a bundle.

    Every graph is compared with PyTorch before the bundle appears.

    Args:
        family: A family of `itr_deploy.models.registry`, for example ``"imram"``.
        checkpoint: The published program's checkpoint.
        vocab: The vocabulary file used in its training.
        output: Directory of the bundle; must not exist unless ``force`` is given.
        opset: ONNX operator set; 20 is the highest that every supported TensorRT accepts.
        dtype: Type of the graphs' matrix products. Half precision is for a GPU.
        quantize: ``"int8"`` rounds the products that remain per pair, for a CPU; only with
            ``dtype="float32"``.
        punkt: What split sentences in training, of a family with a word vocabulary: nltk's
            ``punkt_tab.zip``, its unpacked folder, or the ``punkt.json`` of another bundle; by
            default nltk's data on this machine. Without either there is a warning.
        force: Replace an existing bundle, once the new one is complete and verified.
        progress: Called with the name of each step as it begins.
        **options: The family's own options, the fields of its `Family.options`; files as paths.

    Raises:
        CheckpointError: The checkpoint or vocabulary cannot be used.
        InputError: A file of an option cannot be used, or the data for comparing a changed model
            is missing.
        OutputError: The output exists, or writing fails.
        ParityError: The bundle differs from PyTorch; nothing is left.
        SetupError: PyTorch or onnx is not installed, or nltk's data on this machine is damaged.
        UsageError: The family or one of its options is unknown, an option has an invalid value, or
            half precision, which is for a GPU, is combined with int8, which is for a CPU.
    """
    checkpoint, vocab, output = Path(checkpoint), Path(vocab), Path(output)
    entry = family_named(family, registry.FAMILIES)
    chosen = entry.options.checked(family, options)
    if quantize is not None and dtype != "float32":
        raise UsageError(
            f"quantize={quantize!r} (--quantize) goes with dtype='float32', not {dtype!r} "
            "(--dtype): int8 is for a CPU, half precision for a GPU; leave one of them out"
        )
    if entry.text is not None:
        _check_punkt(punkt, entry.text, family)
    kind = {"replaceable": is_only_a_bundle, "kind": "bundle"}
    check_output(output, force=force, **kind)  # type: ignore[arg-type]
    progress("loading PyTorch")
    with export_half():
        from itr_deploy.exporters.build import Source, build_bundle
        from itr_deploy.exporters.text import bundled_text
        from itr_deploy.parity.changed import compare_changed, evidence_split
        from itr_deploy.parity.gate import verify as compare
        from itr_deploy.parity.parity_backend import parity_backend
        from itr_deploy.parity.report import missed
        from itr_deploy.parity.storages import leave_out_missed
        from itr_deploy.runtime.matcher import Matcher
    progress(f"reading {checkpoint.name}")
    digest = digest_of(checkpoint)
    trained = entry.load(checkpoint, chosen)
    kind_of_text = entry.text or trained.text
    if kind_of_text is None:
        raise UsageError(
            f"family {family} names no text processing, and neither does its checkpoint"
        )
    _check_punkt(punkt, kind_of_text, family)
    splitter = {} if punkt is None else {"punkt": Path(punkt)}
    text = bundled_text(kind_of_text, vocab, trained.vocab_size, **trained.text_options, **splitter)
    source = Source(entry.name, checkpoint, trained, text)
    origin = trained.changed_from
    data = None if origin is None else evidence_split(origin)
    with staged_directory(output, force=force, last=MANIFEST, **kind) as root:  # type: ignore[arg-type]
        manifest = build_bundle(
            source, root, opset=opset, precision=dtype, quantization=quantize, progress=progress
        )
        check_unchanged(checkpoint, digest, manifest.provenance.checkpoint_sha256)
        bundle = read_bundle(root)
        with parity_backend(bundle) as backend:
            matcher = Matcher(bundle, backend)
            report = compare(trained, matcher, progress=progress, whole=True)
            if origin is not None and data is not None:
                report = compare_changed(origin, matcher, data, progress).added_to(report)
        manifest, report = leave_out_missed(root, manifest, report)
        if not report.passed:
            raise ParityError(missed(report, "no bundle was written"))
        write_json(root / PARITY, report.to_json())
    return Exported(output, manifest.encoding_id, report)


def _check_punkt(punkt: str | Path | None, kind: str, family: str) -> None:
    """Refuse a sentence splitter for a model that has no use for one.

    Raises:
        UsageError: It is given, and texts are no words of nltk's.
    """
    if punkt is not None and kind != "nltk_words":
        raise UsageError(
            f"punkt (--punkt) is for models with a vocabulary of words; this {family} has BERT's "
            "WordPiece, leave it out"
        )
