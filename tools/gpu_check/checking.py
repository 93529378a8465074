"""The whole check there: unpack, install, then every step, whatever the others did."""

from __future__ import annotations

import platform
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
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
LIBRARIES = ("onnxruntime_gpu", "tensorrt")
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
        _Check(request, manifest, results, budget).all(every)
    finally:
        write_text(request.out / REPORT, markdown({**results.head, "steps": results.steps}))
    return results


@dataclass
class _Check:
    request: Request
    manifest: Manifest
    results: Results
    budget: Budget
    variables: Mapping[str, str] = field(default_factory=dict)

    def all(self, every: Sequence[Step]) -> None:
        request, results = self.request, self.results
        root, scratch = request.work / "unpacked", request.work / "scratch"
        there = self.unpacked(root)
        folder = request.work / "venv"
        self.variables = environment(request.python or interpreter(folder), scratch)
        python: Path | None
        if request.python is None:
            python = self.installed(root, folder)
        else:
            python, there = request.python, there | {"galleries"}
        place = None if python is None else self.place(root, scratch, python)
        for step in every:
            if request.only and step.name not in request.only:
                continue
            reason: str | None
            if place is None:
                reason = "the environment was not made, see above"
            else:
                reason = self.reason_against(step, there) or self.run(step, place)
            if reason is not None:
                results.not_run(step.name, step.says, reason)

    def run(self, step: Step, place: Place) -> str | None:
        """Run a step; why it cannot be run in this place, None if it was."""
        command = step.command(place)
        if isinstance(command, Unable):
            known = self.manifest.left_out if command.reason == NO_BUILDER else {}
            left = [f"{n}: {why}" for n, why in known.items() if n.startswith("tensorrt")]
            return "; ".join([command.reason, *left])
        self.ran(step.name, step.says, command, step.limit, _shown(command, place))
        return None

    def ran(
        self,
        name: str,
        says: str,
        command: Sequence[str],
        limit: float = 120,
        shown: str | None = None,
    ) -> dict[str, Any]:
        return run_step(
            self.results,
            name,
            says,
            command,
            limit=limit,
            budget=self.budget,
            environment=self.variables,
            shown=shown,
        )

    def reason_against(self, step: Step, there: set[str]) -> str | None:
        """Why a step is not run; None if nothing speaks against it."""
        missing = [part for part in step.needs if part not in there]
        if missing:
            reasons = [self.manifest.left_out.get(p, "its pieces are not here") for p in missing]
            parts = "; ".join(f"{p}: {why}" for p, why in zip(missing, reasons, strict=True))
            return f"needs what is not here, {parts}"
        if step.after is None:
            return None
        state = self.results.state_of(step.after)
        return None if state == "ok" else f"{step.after}: {state or 'not run'}"

    def place(self, root: Path, scratch: Path, python: Path) -> Place:
        asked = [str(python), str(MEASURES / "machine.py")]
        told = self.ran("machine", "Python, libraries, GPUs", asked, 60).get("found") or [{}]
        return Place(
            root,
            scratch,
            python,
            self.request.device,
            told[0].get("modules", {}),
            [gpu["capability"] for gpu in told[0].get("gpus", [])],
        )

    def unpacked(self, root: Path) -> set[str]:
        """Unpack what is whole; the parts that are there."""
        shutil.rmtree(root, ignore_errors=True)
        root.mkdir(parents=True)
        there = set()
        for name, part in self.manifest.parts.items():
            why = absent(self.request.packed, part)
            if why is not None:
                self.results.not_run(f"unpack {name}", part.says, why)
                continue
            begun = time.monotonic()
            step: dict[str, Any] = {"name": f"unpack {name}", "says": part.says, "state": "ok"}
            try:
                unpack(self.request.packed, part, root)
                there.add(name)
            except PackError as error:
                step |= {"state": "failed", "reason": str(error)}
            self.results.steps.append({**step, "seconds": round(time.monotonic() - begun, 2)})
            self.results.write()
        return there

    def installed(self, root: Path, folder: Path) -> Path | None:
        """Make the environment and install the wheels; its interpreter, None if that failed."""

        def works(name: str, says: str, command: Sequence[str]) -> bool:
            return bool(self.ran(name, says, command)["state"] == "ok")

        wheels = root / "wheels"
        try:
            (pip,) = wheels.glob("pip-*.whl")
            (own,) = wheels.glob("itr_deploy-*.whl")
        except ValueError:
            self.results.not_run("environment", "an environment", "the part base is not here")
            return None
        making = make_environment(folder)
        if not works("environment", "an environment that sees what is there", making):
            return None
        see_packages_there(folder)
        python = interpreter(folder)
        install = [str(python), str(pip / "pip"), "install", "--no-index", "--no-compile"]
        listed = [word for file in root.glob("requirements-*.txt") for word in ("-r", str(file))]
        needed = [*install, "--find-links", str(wheels), *listed]
        libraries = [wheel for wheel in wheels.glob("*.whl") if wheel.name.startswith(LIBRARIES)]
        if not works("dependencies", "the wheels that are missing there", needed):
            # Something there does not fit: take what was packed as it is.
            others = set(wheels.glob("*.whl")) - {pip, own, *libraries}
            works(
                "dependencies-as-packed",
                "all packed wheels",
                [*install, "--no-deps", *map(str, sorted(others))],
            )
        alone = [*install, "--no-deps", "--force-reinstall"]
        if libraries:
            works("libraries", "libraries for GPUs", [*alone, *map(str, libraries)])
        return python if works("wheel", "itr-deploy", [*alone, str(own)]) else None


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
