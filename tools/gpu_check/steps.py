"""The steps of the check, the most valuable first, each with what it needs and its time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.gpu_check.place import Place

MEASURES = Path(__file__).parent / "measures"
HALF_CASE = "imram-text_2step_softmax_normed-float16"
"""The golden case in half precision whose engines are built."""
NO_BUILDER = "neither tensorrt nor tensorrt_rtx is installed"


@dataclass(frozen=True)
class Step:
    """A step.

    Attributes:
        name: Its name, also in the results.
        says: What it shows, for people.
        limit: Seconds that it may take.
        command: Its command; or, in a tuple, why it cannot be run here.
        needs: Parts without which it is not run.
        after: A step that must have been ``ok``.
    """

    name: str
    says: str
    limit: float
    command: Callable[[Place], Sequence[str] | Unable]
    needs: tuple[str, ...] = ("base",)
    after: str | None = None


@dataclass(frozen=True)
class Unable:
    """Why a step cannot be run in a place."""

    reason: str


def steps(sizes: dict[str, Any]) -> tuple[Step, ...]:
    """All steps.

    Args:
        sizes: How much they do, as it was packed.
    """
    few, many = sizes["bench"]
    images, texts = sizes["matrix"]
    return (
        Step("doctor", "what is installed, what loads", 90, _doctor),
        Step(
            "self-test",
            "a small model, exported there, on every backend against PyTorch",
            150,
            _self_test,
        ),
        Step("golden", "golden cases of every family against the published scores", 120, _golden),
        Step("engines", f"engines of {HALF_CASE}", 120, _engines),
        Step("engines-fit", "whether these engines fit the machine", 60, _fit, after="engines"),
        Step(
            "engines-golden",
            "the golden case on these engines",
            60,
            _engines_golden,
            after="engines",
        ),
        Step(
            "bench-few",
            f"searches among {few:,} images, IMRAM",
            90,
            lambda place: _bench(place, "imram-full-float32", few, sizes["rounds"][0]),
            needs=("base", "galleries"),
        ),
        Step(
            "matrix",
            f"IMRAM's scores of {images:,} images and {texts:,} texts",
            120,
            lambda place: _matrix(place, images, texts),
        ),
        Step(
            "detector",
            "a region detector's seconds a picture",
            60,
            lambda place: _detector(place, sizes["pictures"]),
            needs=("base", "detector"),
        ),
        Step(
            "bench-many",
            f"searches among {many:,} images, IMRAM, --precompute none",
            300,
            lambda place: _bench(place, "imram-none-float32", many, sizes["rounds"][1]),
            needs=("base", "galleries"),
        ),
    )


def _doctor(place: Place) -> list[str]:
    return place.itr_deploy("doctor", "--json")


def _self_test(place: Place) -> list[str]:
    return place.itr_deploy("doctor", "--self-test", "--json")


def _golden(place: Place) -> list[str]:
    return _measure(place, "golden", place.root / "golden", "--device", place.device)


def _engines(place: Place) -> list[str] | Unable:
    build = ("build-engine", place.root / "golden" / HALF_CASE / "bundle", "--fp16", "--json")
    if place.has("tensorrt") and place.device == "cuda":
        return place.itr_deploy(*build, "--target", "tensorrt")
    if not place.has("tensorrt_rtx"):
        return Unable(NO_BUILDER)
    # Without being told, it builds for the GPUs that it knows, which this one may not be among.
    for_gpu = [word for gpu in place.gpus[:1] for word in ("--compute-capability", gpu)]
    return place.itr_deploy(*build, "--target", "tensorrt-rtx", *for_gpu)


def _fit(place: Place) -> list[str]:
    return place.itr_deploy("doctor", place.root / "golden" / HALF_CASE / "bundle", "--json")


def _engines_golden(place: Place) -> list[str] | Unable:
    if place.device != "cuda":
        return Unable("engines are run on a GPU only")
    chosen = ("--only", HALF_CASE, "--backend", "tensorrt")
    return _measure(place, "golden", place.root / "golden", "--device", place.device, *chosen)


def _bench(place: Place, model: str, items: int, rounds: int) -> list[str]:
    chosen = ("--synthetic", items, "--rounds", rounds, "--resident", "--device", place.device)
    output = ("--output", place.scratch / f"bench-{items}", "--force", "--json")
    widths = ("--candidates", "40,all", "--batch", "1,8")
    return place.itr_deploy("bench", place.root / "models" / model, *chosen, *widths, *output)


def _matrix(place: Place, images: int, texts: int) -> list[str]:
    bundles = [place.root / "models" / f"imram-full-{kind}" for kind in ("float32", "float16")]
    sizes = ("--images", images, "--texts", texts, "--device", place.device)
    return _measure(place, "matrix", *bundles, *sizes)


def _detector(place: Place, pictures: int) -> list[str]:
    bundle = place.root / "detector" / "bua-caffe-float32"
    return _measure(place, "detector", bundle, "--pictures", pictures, "--device", place.device)


def _measure(place: Place, name: str, *words: object) -> list[str]:
    return [str(place.python), str(MEASURES / f"{name}.py"), *map(str, words)]
