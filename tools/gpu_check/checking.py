"""The whole check there: unpack, install, then every step, whatever the others did."""

from __future__ import annotations

import platform
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from tools.gpu_check.parts import Manifest, PackError, absent, unpack, write_text
from tools.gpu_check.place import (
    Place,
    environment,
    interpreter,
    make_environment,
    see_packages_there,
)
from tools.gpu_check.report import markdown
from tools.gpu_check.running import LOG, Budget, Results, run_step
from tools.gpu_check.steps import MEASURES, NO_BUILDER, Step, Unable, steps

REPORT = "report.md"
ACCELERATORS = ("onnxruntime_gpu", "tensorrt")
"""How the files of wheels begin that are installed as they are, whatever else is there."""


@dataclass(frozen=True)
class Request:
    """What to check.

    Attributes:
        packed: Folder of the pieces.
        out: Folder of the results.
        work: Folder to unpack into and to write in; kept between calls.
        device: ``"cuda"`` or ``"cpu"``.
        seconds: What all steps together may take.
        python: An environment that has itr-deploy; None to make one of what was packed.
        only: Names of the steps to run; empty for all.
    """

    packed: Path
    out: Path
    work: Path
    device: str
    seconds: float
    python: Path | None = None
    only: Sequence[str] = ()


def check(request: Request) -> Results:
    """Run the check.

    Returns:
        The results, which are also in the folder of the results, with the report.

    Raises:
        PackError: There is nothing to unpack, or a step that is asked for does not exist.
        KeyboardInterrupt: This process was asked to end; the results so far are written.
    """
    manifest = Manifest.read(request.packed)
    every = steps(manifest.sizes)
    if unknown := set(request.only) - {step.name for step in every}:
        known = ", ".join(step.name for step in every)
        raise PackError(f"--only {','.join(sorted(unknown))}: no such step; steps are {known}")
    budget = Budget(request.seconds)
    for folder in (request.out, request.work):
        folder.mkdir(parents=True, exist_ok=True)
    (request.out / LOG).unlink(missing_ok=True)
    results = Results(request.out, _head(request, manifest))
    results.write()
    try:
        _all(request, manifest, every, results, budget)
    finally:
        write_text(request.out / REPORT, markdown({**results.head, "steps": results.steps}))
    return results


def _all(
    request: Request, manifest: Manifest, every: Sequence[Step], results: Results, budget: Budget
) -> None:
    root, scratch = request.work / "unpacked", request.work / "scratch"
    there = _unpacked(request.packed, manifest, root, results)
    if request.python is not None:
        there |= {"galleries"}
    python = request.python
    variables = environment(python or interpreter(request.work / "venv"), scratch)
    if python is None:
        python = _installed(root, request.work / "venv", results, budget, variables)
    if python is None:
        machine = None
    else:
        machine = run_step(
            results,
            "machine",
            "Python, libraries, GPUs",
            [str(python), str(MEASURES / "machine.py")],
            limit=60,
            budget=budget,
            environment=variables,
        )
    for step in every:
        if request.only and step.name not in request.only:
            continue
        if python is None or machine is None:
            results.not_run(step.name, step.says, "the environment was not made, see above")
            continue
        told = machine.get("found") or [{}]
        place = Place(
            root,
            scratch,
            python,
            request.device,
            told[0].get("modules", {}),
            [gpu["capability"] for gpu in told[0].get("gpus", [])],
        )
        _one(step, place, there, manifest, results, budget, variables)


def _one(
    step: Step,
    place: Place,
    there: set[str],
    manifest: Manifest,
    results: Results,
    budget: Budget,
    variables: dict[str, str],
) -> None:
    missing = [part for part in step.needs if part not in there]
    if missing:
        reasons = [manifest.left_out.get(part, "its pieces are not here") for part in missing]
        parts = "; ".join(f"{p}: {why}" for p, why in zip(missing, reasons, strict=True))
        results.not_run(step.name, step.says, f"needs what is not here, {parts}")
        return
    if step.after is not None and (state := results.state_of(step.after)) != "ok":
        results.not_run(step.name, step.says, f"{step.after}: {state or 'not run'}")
        return
    command = step.command(place)
    if isinstance(command, Unable):
        known = manifest.left_out if command.reason == NO_BUILDER else {}
        left = [f"{n}: {why}" for n, why in known.items() if n.startswith("tensorrt")]
        results.not_run(step.name, step.says, "; ".join([command.reason, *left]))
        return
    run_step(
        results,
        step.name,
        step.says,
        command,
        limit=step.limit,
        budget=budget,
        environment=variables,
        shown=_shown(command, place),
    )


def _unpacked(folder: Path, manifest: Manifest, root: Path, results: Results) -> set[str]:
    """Unpack what is whole; the parts that are there."""
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    there = set()
    for name, part in manifest.parts.items():
        why = absent(folder, part)
        if why is not None:
            results.not_run(f"unpack {name}", part.says, why)
            continue
        begun = time.monotonic()
        step: dict[str, Any] = {"name": f"unpack {name}", "says": part.says, "state": "ok"}
        try:
            unpack(folder, part, root)
            there.add(name)
        except PackError as error:
            step |= {"state": "failed", "reason": str(error)}
        results.steps.append({**step, "seconds": round(time.monotonic() - begun, 2)})
        results.write()
    return there


def _installed(
    root: Path, folder: Path, results: Results, budget: Budget, variables: dict[str, str]
) -> Path | None:
    """Make the environment and install the wheels; its interpreter, None if that failed."""

    def ran(name: str, says: str, command: Sequence[str]) -> bool:
        step = run_step(
            results, name, says, command, limit=120, budget=budget, environment=variables
        )
        return bool(step["state"] == "ok")

    wheels = root / "wheels"
    try:
        (pip,) = wheels.glob("pip-*.whl")
        (own,) = wheels.glob("itr_deploy-*.whl")
    except ValueError:
        results.not_run("environment", "an environment", "the part 'base' is not here")
        return None
    if not ran("environment", "an environment that sees what is there", make_environment(folder)):
        return None
    see_packages_there(folder)
    python = interpreter(folder)
    install = [str(python), str(pip / "pip"), "install", "--no-index", "--no-compile"]
    listed = [word for file in root.glob("requirements-*.txt") for word in ("-r", str(file))]
    if not ran(
        "dependencies",
        "the wheels that are missing there",
        [*install, "--find-links", str(wheels), *listed],
    ):
        # Something there does not fit: take what was packed as it is.
        given = [w for w in wheels.glob("*.whl") if not w.name.startswith(ACCELERATORS)]
        others = [str(wheel) for wheel in given if wheel not in (pip, own)]
        ran("dependencies-as-packed", "all packed wheels", [*install, "--no-deps", *others])
    accelerators = [str(w) for w in wheels.glob("*.whl") if w.name.startswith(ACCELERATORS)]
    alone = [*install, "--no-deps", "--force-reinstall"]
    if accelerators:
        ran("accelerators", "libraries for GPUs", [*alone, *accelerators])
    return python if ran("wheel", "itr-deploy", [*alone, str(own)]) else None


def _shown(command: Sequence[str], place: Place) -> str:
    """A command as people would write it."""
    words = list(command[1:])
    words[:2] = ["itr-deploy"] if words[0] == "-c" else ["python", Path(words[0]).name, words[1]]
    short = (str(place.root) + "/", str(place.scratch) + "/")
    return " ".join(word.replace(short[0], "").replace(short[1], "") for word in words)


def _head(request: Request, manifest: Manifest) -> dict[str, Any]:
    return {
        "began": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "device": request.device,
        "budget": request.seconds,
        "packed": manifest.made,
        "left_out": manifest.left_out,
        "runner": {
            "python": platform.python_version(),
            "libc": " ".join(platform.libc_ver()),
            "executable": sys.executable,
        },
    }
