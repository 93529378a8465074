"""Bundles joined into one: written, compared with what it was made of, and only then there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from itr_deploy.bundle.files import write_json
from itr_deploy.bundle.staging import staged_directory
from itr_deploy.bundle.store import MANIFEST, PARITY, Bundle, is_only_a_bundle, read_bundle
from itr_deploy.deploy.exported import Exported
from itr_deploy.errors import OutputError, ParityError

if TYPE_CHECKING:
    from itr_deploy.bundle.manifest import Manifest
    from itr_deploy.parity.report import ParityReport
    from itr_deploy.runtime.matcher import Matcher


def check_apart(output: Path, given: Sequence[str | Path]) -> None:
    """Refuse an output below a bundle that is joined: a bundle holds nothing but its own files.

    Raises:
        OutputError: It would lie in one of them.
    """
    for bundle in map(Path, given):
        if bundle.resolve() in output.resolve().parents:
            raise OutputError(
                f"output={str(output)!r} (--output) is inside the bundle {bundle}; give a place "
                "outside of it"
            )


def join(
    given: Sequence[Bundle],
    output: Path,
    build: Callable[[Path], Manifest],
    compare: Callable[[Matcher, list[Matcher]], ParityReport],
    *,
    force: bool,
    comparing: Callable[[], None],
) -> Exported:
    """Write a bundle that is made of others; the caller has checked that it can be written.

    Args:
        given: The others.
        output: Its directory.
        build: Writes it into an empty directory.
        compare: Compares it with the others, all opened for parity.
        force: Replace an existing bundle.
        comparing: Called before the comparison.

    Raises:
        BundleError: The bundles cannot be joined.
        OutputError: Writing fails.
        ParityError: The result differs from the others; nothing is left.
    """
    from itr_deploy.parity.parity_backend import parity_backend
    from itr_deploy.parity.report import missed
    from itr_deploy.runtime.matcher import Matcher

    with staged_directory(
        output, force=force, replaceable=is_only_a_bundle, kind="bundle", last=MANIFEST
    ) as root:
        manifest = build(root)
        comparing()
        with ExitStack() as stack:
            joined, *others = [
                Matcher(bundle, stack.enter_context(parity_backend(bundle)))
                for bundle in (read_bundle(root), *given)
            ]
            report = compare(joined, others)
        if not report.passed:
            raise ParityError(missed(report, "no bundle was written"))
        write_json(root / PARITY, report.to_json())
    return Exported(output, manifest.encoding_id, report)
