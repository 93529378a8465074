"""OpenVINO: the plain model by its own converter, and our bundle's graphs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peers.exported import GRAPH, export_caption
from benchmarks.peers.ours import Cascade
from benchmarks.peers.ours import Exhaustive as OurExhaustive
from benchmarks.peers.scoring import Floats, Matching, OneByOne, tokens
from benchmarks.peers.world import Part, World

MODEL = "caption.xml"
FULL = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
"""By default it computes in bfloat16 where the processor can, and misses our scores."""


class Compiled(OneByOne):
    """A converted model, compiled for this processor."""

    def __init__(self, part: Part, path: Path, images: int) -> None:
        import openvino

        self._model = openvino.Core().compile_model(path, "CPU", FULL)
        self._images, self._tokens = np.array(part.array("images")[:images]), tokens(part)

    def scores(self, caption: int) -> Floats:
        """See `Opened`."""
        scores: Floats = self._model([self._images, self._tokens[caption]])[0]
        return scores


class Converted(Matching):
    """The module by OpenVINO's converter, or, where that refuses, PyTorch's graph of it."""

    name = "openvino"
    installs = ("openvino", "numpy")

    def build(self, part: Part, folder: Path) -> None:
        """See `Matching`. Why the converter refuses is kept in ``refused``."""
        import openvino

        from benchmarks.peers.plain import OneCaption, example, plain_model

        images, ids = example(part)
        try:
            model = openvino.convert_model(
                OneCaption(plain_model(part)).eval(),
                example_input=(images, ids),
                input=[([-1, *images.shape[1:]], np.float32), ([1, -1], np.int64)],
            )
        except Exception as error:  # of no type that it exports
            told = [line for line in str(error).splitlines() if "rule" in line or "rror" in line]
            (folder / "no-rule").write_text((told or [str(error)])[-1].strip(" -"))
            export_caption(part, folder)
            model = openvino.convert_model(folder / GRAPH)
        openvino.save_model(model, folder / MODEL, compress_to_fp16=False)

    def open(self, part: Part, folder: Path, images: int) -> Compiled:
        """See `Matching`."""
        return Compiled(part, folder / MODEL, images)

    def told(self, world: World) -> str:
        """See `Matching`."""
        refused = world.of(self.name) / "published" / "no-rule"
        if not refused.exists():
            return ""
        return (
            f"convert_model refuses the module ({refused.read_text()}) and reads torch.onnx's graph"
        )


class OpenVinoBackend:
    """Runs a bundle's graphs, as `itr_deploy.runtime.backends.base.Backend` asks."""

    device, workers = "cpu", 1

    def __init__(self, bundle: Path) -> None:
        import openvino

        self._core, self._graphs = openvino.Core(), bundle / "graphs"
        self._models: dict[str, Any] = {}
        self.description = f"OpenVINO {openvino.__version__}, CPU"

    def run(self, graph: str, inputs: Any) -> dict[str, Floats]:
        """See `Backend`."""
        if graph not in self._models:
            path = self._graphs / f"{graph}.onnx"
            self._models[graph] = self._core.compile_model(path, "CPU", FULL)
        model = self._models[graph]
        found = model(dict(inputs), share_inputs=True)  # or it copies the gallery for every call
        return {output.any_name: np.array(found[output]) for output in model.outputs}

    def run_all(self, calls: Iterable[tuple[str, Any]]) -> Iterator[dict[str, Floats]]:
        """See `Backend`."""
        return (self.run(graph, inputs) for graph, inputs in calls)

    def pin(self, arrays: Iterable[Any]) -> None:
        """See `Backend`."""

    def max_size(self, graph: str, axis: str) -> int | None:
        """See `Backend`."""
        return None


class OurCascade(Cascade):
    """Our cascade with OpenVINO in ONNX Runtime's place."""

    name = "openvino-cascade"
    installs = ("itr-deploy", "openvino")
    note = "not run over 100,000 images: a copy of that gallery for each call ended the process"

    def large(self, world: World) -> float | None:
        """See `Matching`."""
        return None

    def backend(self, part: Part) -> Any:
        """See `Cascade`."""
        return OpenVinoBackend(part.bundle)


class OurGraphs(OurExhaustive):
    """Our matcher for every image, with OpenVINO in ONNX Runtime's place."""

    name = "openvino-exhaustive"
    installs = ("itr-deploy", "openvino")

    def backend(self, part: Part) -> Any:
        """See `Cascade`."""
        return OpenVinoBackend(part.bundle)
