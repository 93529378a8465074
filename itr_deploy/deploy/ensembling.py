"""`ensemble`: joins several bundles into one that scores with all of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from itr_deploy.bundle.staging import check_output
from itr_deploy.bundle.store import is_only_a_bundle, read_bundle
from itr_deploy.deploy.export_half import export_half
from itr_deploy.deploy.exported import Exported
from itr_deploy.deploy.joining import check_apart, join
from itr_deploy.values import FLAG, FUNCTION, PATH, checked, each, real


@checked(
    bundles=each(PATH),
    output=PATH,
    weights=each(real("a number above 0", above=0), least=1),
    force=FLAG,
    progress=FUNCTION,
)
def ensemble(
    bundles: Sequence[str | Path],
    *,
    output: str | Path,
    weights: Sequence[float] | None = None,
    force: bool = False,
    progress: Callable[[str], None] = lambda step: None,
) -> Exported:
    """Join bundles into one whose score is the weighted mean of theirs.

    The members must take the same region features and the same text processing. One gallery stores
    what all of them need. The result is compared with its members before it appears.

    Args:
        bundles: The members' directories.
        output: Directory of the ensemble; must not exist unless ``force`` is given.
        weights: One per member, positive; equal by default.
        force: Replace an existing bundle.
        progress: Called with the name of each step as it begins.

    Raises:
        BundleError: A member is damaged, or the members take different inputs.
        OutputError: The output exists or lies in one of the bundles, or writing fails.
        ParityError: The ensemble differs from its members; nothing is left.
        SetupError: PyTorch or onnx is not installed.
        UsageError: Fewer than two members, or weights that do not fit.
    """
    output, shares = Path(output), tuple(weights or (1.0,) * len(bundles))
    check_output(output, force=force, replaceable=is_only_a_bundle, kind="bundle")
    check_apart(output, bundles)
    progress("reading the members")
    with export_half():
        from itr_deploy.exporters.ensemble import build_ensemble
        from itr_deploy.parity.ensemble import compare_ensemble
    members = [read_bundle(Path(member)) for member in bundles]
    return join(
        members,
        output,
        lambda root: build_ensemble(members, shares, root, progress),
        lambda joined, matchers: compare_ensemble(joined, matchers, shares),
        force=force,
        comparing=lambda: progress("comparison with the members"),
    )
