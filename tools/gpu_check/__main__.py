"""The command line of `tools/gpu_check.sh`."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from tools.gpu_check.checking import Request, check
from tools.gpu_check.parts import PackError
from tools.gpu_check.report import markdown, result
from tools.gpu_check.running import RESULTS, Results, ends_in_order

BUDGET = 540.0
SPARE = 2 << 20
"""Bytes up to which wheels are packed that are there too: what is there may be too old."""
PREPARES = ("ok", "not run")


def main() -> None:
    """Run what was asked for; exit code 1 for bad input, 3 if a step failed, 130 if ended."""
    arguments = _parser().parse_args()
    try:
        code: int = arguments.run(arguments)
    except PackError as error:
        print(f"error: {error}", file=sys.stderr)
        code = 1
    except KeyboardInterrupt:
        print("error: ended; what was measured so far is kept", file=sys.stderr)
        code = 130
    sys.exit(code)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="tools/gpu_check.sh", description=__doc__)
    modes = parser.add_subparsers(required=True, metavar="MODE")

    def mode(
        name: str, run: Callable[[argparse.Namespace], int], says: str
    ) -> argparse.ArgumentParser:
        added = modes.add_parser(name, help=says, description=says)
        added.set_defaults(run=run)
        return added

    packing = mode("pack", _pack, "pack what the other machine needs, in pieces to be sent")
    packing.add_argument("folder", type=Path, metavar="DIR")
    packing.add_argument(
        "--with",
        dest="accelerators",
        default="onnxruntime-gpu",
        help="libraries for GPUs: onnxruntime-gpu, tensorrt-rtx; '' for none (%(default)s)",
    )
    packing.add_argument(
        "--there",
        type=Path,
        metavar="FILE",
        help="packages that the other machine has, one a line, as pip freeze prints them, whose "
        "large wheels are not packed; by default torch, onnx, onnxruntime, cuda-bindings and numpy",
    )
    packing.add_argument("--piece-mib", type=int, default=36, help="size of a piece (%(default)s)")
    packing.add_argument("--python", default="3.12", help="Python there (%(default)s)")
    packing.add_argument("--small", action="store_true", help="small models and few cases")

    running = mode("run", _run, "install what was packed, run every step, write results")
    running.add_argument("folder", type=Path, metavar="DIR")
    running.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    _add_run_options(running)

    reporting = mode("report", _report, "print a Markdown table of the results")
    reporting.add_argument("folder", type=Path, metavar="OUT")

    dry = mode("dry-run", _dry_run, "all of it here, on the CPU, with small models")
    _add_run_options(dry)
    return parser


def _add_run_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("gpu-check"),
        help="folder of results.json, log.txt and report.md (%(default)s)",
    )
    parser.add_argument(
        "--budget",
        type=float,
        default=BUDGET,
        metavar="SECONDS",
        help="what all steps together may take (%(default).0f)",
    )
    parser.add_argument(
        "--python",
        type=Path,
        help="an environment's interpreter that has itr-deploy already, instead of a new one",
    )
    parser.add_argument("--work", type=Path, help="folder to unpack into, kept; else temporary")
    parser.add_argument("--only", default="", metavar="STEP,...", help="these steps alone")


def _pack(arguments: argparse.Namespace) -> int:
    from tools.gpu_check.packing import Wanted, pack, summary
    from tools.gpu_check.wheels import THERE, distribution

    there = list(THERE)
    if arguments.there is not None:
        given = arguments.there.read_text(encoding="utf-8").split("\n")
        there += [distribution(line.strip()) for line in given if line.strip()]
    wanted = Wanted(
        tuple(there),
        spare=SPARE,
        accelerators=_words(arguments.accelerators),
        piece_mib=arguments.piece_mib,
        python=arguments.python,
        small=arguments.small,
    )
    manifest = pack(arguments.folder, wanted, _says)
    print("\n".join(summary(manifest)))
    return 0


def _run(arguments: argparse.Namespace) -> int:
    return _checked(arguments, arguments.folder, arguments.device)


def _dry_run(arguments: argparse.Namespace) -> int:
    """Everything that is installed here counts as being there, so that only ours is packed."""
    from importlib.metadata import distributions

    from tools.gpu_check.packing import Wanted, pack, summary
    from tools.gpu_check.wheels import distribution

    there = {distribution(one.metadata["Name"]) for one in distributions()}
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    with tempfile.TemporaryDirectory(prefix="gpu-check-") as temporary:
        folder = Path(temporary) / "packed"
        wanted = Wanted(tuple(there), python=python, small=True)
        print("\n".join(summary(pack(folder, wanted, _says))))
        return _checked(arguments, folder, "cpu")


def _checked(arguments: argparse.Namespace, folder: Path, device: str) -> int:
    found: list[Results] = []
    with tempfile.TemporaryDirectory(prefix="gpu-check-", ignore_cleanup_errors=True) as temporary:
        request = Request(
            folder.absolute(),
            arguments.out.absolute(),
            (arguments.work or Path(temporary)).absolute(),
            device,
            arguments.budget,
            None if arguments.python is None else arguments.python.absolute(),
            _words(arguments.only),
        )
        ends_in_order(lambda: found.append(check(request)))
    for step in found[0].steps:
        print(f"{step['name']}: {result(step)}")
    print(f"results: {arguments.out / RESULTS}")
    states = {step["state"] for step in found[0].steps}
    return 0 if states <= set(PREPARES) else 3


def _report(arguments: argparse.Namespace) -> int:
    path = arguments.folder / RESULTS
    try:
        results = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise PackError(f"{path} cannot be read: {error}") from error
    print(markdown(results), end="")
    return 0


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


def _says(step: str) -> None:
    print(step, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
