"""`cascade`: puts a dual encoder in front of a matcher."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from itr_deploy.bundle.staging import check_output
from itr_deploy.bundle.store import is_only_a_bundle, read_bundle
from itr_deploy.deploy.export_half import export_half
from itr_deploy.deploy.exported import Exported
from itr_deploy.deploy.joining import check_apart, join
from itr_deploy.values import FLAG, FUNCTION, PATH, checked


@checked(retriever=PATH, matcher=PATH, output=PATH, force=FLAG, progress=FUNCTION)
def cascade(
    retriever: str | Path,
    matcher: str | Path,
    *,
    output: str | Path,
    force: bool = False,
    progress: Callable[[str], None] = lambda step: None,
) -> Exported:
    """Put a dual encoder in front of a matcher: it shortlists, the matcher scores.

    Both must take the same region features and split texts in the same way; the words that they
    know may differ. One gallery stores the dual encoder's vectors and what the matcher needs. The
    result is compared with both bundles before it appears. Its shortlists are as wide as those of
    the matcher's bundle until `tune` chooses other widths.

    Args:
        retriever: Directory of the dual encoder's bundle.
        matcher: Directory of the matcher's bundle.
        output: Directory of the cascade; must not exist unless ``force`` is given.
        force: Replace an existing bundle.
        progress: Called with the name of each step as it begins.

    Raises:
        BundleError: A bundle is damaged, the first is no dual encoder of one vector an image, the
            second no matcher, or they take different inputs.
        OutputError: The output exists or lies in one of the bundles, or writing fails.
        ParityError: The cascade differs from its bundles; nothing is left.
        SetupError: PyTorch or onnx is not installed.
    """
    output = Path(output)
    check_output(output, force=force, replaceable=is_only_a_bundle, kind="bundle")
    check_apart(output, (retriever, matcher))
    progress("reading the bundles")
    with export_half():
        from itr_deploy.exporters.cascade import build_cascade
        from itr_deploy.parity.cascade import compare_cascade
    given = [read_bundle(Path(bundle)) for bundle in (retriever, matcher)]
    return join(
        given,
        output,
        lambda root: build_cascade(given[0], given[1], root, progress),
        lambda both, parts: compare_cascade(both, *parts),
        force=force,
        comparing=lambda: progress("comparison with the bundles"),
    )
