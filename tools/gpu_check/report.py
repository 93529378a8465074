"""The results as Markdown: a table with what ran, and the reason for what did not."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import chain
from typing import Any

Step = Mapping[str, Any]
UNTIL_MEASURED = ("unpack ", "environment", "dependencies", "libraries", "wheel", "machine")
"""How the names of the steps begin that only prepare."""


def markdown(results: Mapping[str, Any]) -> str:
    """The report of the results, finished or not."""
    lines = [_heading(results), ""]
    prepared = [s for s in results["steps"] if s["name"].startswith(UNTIL_MEASURED)]
    measured = [s for s in results["steps"] if s not in prepared]
    lines += [
        f"Not prepared: {step['name']}: {reason(step)}" + "\n"
        for step in prepared
        if step["state"] != "ok"
    ]
    lines += ["| step | result | command |", "|---|---|---|"]
    lines += [
        f"| {step['name']}: {step['says']} | {_cell(result(step))} | {_code(step)} |"
        for step in measured
    ]
    return "\n".join(lines) + "\n"


def result(step: Step) -> str:
    """A step's result in words; for what was not finished, its reason and what was found before."""
    words, found = WORDS.get(step["name"]), step.get("found") or []
    try:
        said = list(words(found)) if words and found else []
    except (KeyError, TypeError, ValueError) as error:
        said = [f"what it printed cannot be read, {error!r}"]
    if step["state"] != "ok":
        said.insert(0, f"{step['state']}: {reason(step)}")
    return "; ".join(said) or "ok"


def reason(step: Step) -> str:
    """Why a step is not ``ok``."""
    return str(step.get("reason") or "it had not ended when this was written")


def _heading(results: Mapping[str, Any]) -> str:
    packed, card = results["packed"], "no GPU"
    machines = [s.get("found") or [] for s in results["steps"] if s["name"] == "machine"]
    for machine in chain.from_iterable(machines):
        gpus = [f"{gpu['name']}, capability {gpu['capability']}" for gpu in machine["gpus"]]
        if gpus:
            card = f"{'; '.join(gpus)}, driver for CUDA {machine['driver']}"
        card += f"; {machine['cores']} cores, Python {machine['python']}"
        names = ("onnxruntime", "torch", "tensorrt", "tensorrt_rtx")
        card += "".join(f", {machine['modules'][n]}" for n in names if n in machine["modules"])
    of = f"itr-deploy {packed['itr_deploy']} ({packed['commit']})"
    return f"{results['began'][:10]}, device `{results['device']}`, {of}: {card}."


def _doctor(found: list[Any]) -> Iterator[str]:
    for told in found:
        for check in told["checks"]:
            if check["state"] in ("problem", "missing"):
                yield f"{check['state']}, {check['name']}: {check['found']}"
            elif check["name"].startswith(("onnx", "GPU", "CUDA", "Tensor")):
                yield f"{check['name']}: {check['found']}"


def _fit(found: list[Any]) -> Iterator[str]:
    for told in found:
        for check in told["checks"]:
            if check["name"].startswith("engines"):
                yield f"{check['state']}, {check['found']}"


def _self_test(found: list[Any]) -> Iterator[str]:
    rows = [row for told in found for row in told.get("self_test", [])]
    missing = {(r["backend"], r["device"], r["said"]): r for r in rows if r["state"] == "missing"}
    for backend, device, said in missing:
        yield f"{backend} on {device}: missing, {said}"
    for row in rows:
        place = f"{row['backend']} on {row['device']}, {row['precision']}"
        if row["state"] != "missing" and row["error"] is None:
            yield f"{place}: {row['state']}, {row['said']}"
        elif row["state"] != "missing":
            same = "same ranking" if row["same_ranking"] else "OTHER RANKING"
            figures = f"error {row['error']:.1e}, {same}, {row['milliseconds']:.2f} ms"
            yield f"{place}: {row['state']}, {figures}"


def _golden(found: list[Any]) -> Iterator[str]:
    passed = [case for case in found if case["passed"]]
    yield f"{len(passed)} of {len(found)} cases within what is allowed"
    errors = {c["case"]: c["error"] for c in found if "error" in c and c["allowed"] <= 1e-4}
    if errors:
        worst = max(errors, key=lambda name: errors[name])
        yield f"largest error in float32 {errors[worst]:.1e} ({worst})"
    off: dict[str, list[str]] = {}
    for case in found:
        if not case["passed"]:
            told = [f"{k} {case[k]:.1e}" for k in ("error", "found_again", "turned") if k in case]
            off.setdefault(case.get("problem") or ", ".join(told), []).append(case["case"])
    for problem, cases in off.items():
        yield f"{', '.join(cases)}: {problem}"


def _engines(found: list[Any]) -> Iterator[str]:
    for built in found:
        engines = list(built["engines"].values())
        kinds = sorted({kind for engine in engines for kind in engine["matrix_layers"]})
        counts = {k: sum(engine["matrix_layers"].get(k, 0) for engine in engines) for k in kinds}
        layers = ", ".join(f"{count} {kind}" for kind, count in counts.items())
        seconds = sum(engine["seconds"] for engine in engines)
        yield f"{len(engines)} engines, {layers} matrix layers, built in {seconds:.1f} s"


def _bench(found: list[Any]) -> Iterator[str]:
    for told in found:
        for row in told["searches"]:
            width = "all" if row["candidates"] is None else row["candidates"]
            total = row["milliseconds"]["total"]
            yield (
                f"batch {row['batch']}, candidates {width}: p50 {total['p50']:.2f} ms, "
                f"p95 {total['p95']:.2f} ms, {row['pairs_per_second']:,.0f} pairs/s"
            )
        yield f"first hits after {told['cold_start']['seconds']['total']:.2f} s"


def _matrix(found: list[Any]) -> Iterator[str]:
    for row in found:
        yield (
            f"{row['bundle']}: scored in {row['score_seconds']:.2f} s, "
            f"{row['pairs_per_second']:,.0f} pairs/s; images encoded in "
            f"{row['image_seconds']:.2f} s, texts in {row['text_seconds']:.2f} s"
            + ("" if row["finite"] else "; NOT FINITE")
        )


def _detector(found: list[Any]) -> Iterator[str]:
    for row in found:
        width, height = row["picture"]
        yield (
            f"{row['seconds']:.3f} s a picture of {width} x {height}, {row['regions']} regions; "
            f"the first took {row['first_seconds']:.2f} s"
        )


WORDS: Mapping[str, Callable[[list[Any]], Iterator[str]]] = {
    "doctor": _doctor,
    "self-test": _self_test,
    "golden": _golden,
    "engines": _engines,
    "engines-fit": _fit,
    "engines-golden": _golden,
    "bench-few": _bench,
    "bench-many": _bench,
    "matrix": _matrix,
    "detector": _detector,
}


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _code(step: Step) -> str:
    return f"`{step['command']}`" if "command" in step else ""
