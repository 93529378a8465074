"""A detector's two graphs: the picture's, and that of its proposals, which runs in chunks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from itr_deploy.bundle.detector import DetectorManifest
from itr_deploy.errors import BundleError
from itr_deploy.runtime.backends import Backend
from itr_deploy.runtime.detector.geometry import Boxes
from itr_deploy.runtime.detector.proposals import Candidates
from itr_deploy.runtime.detector.selection import Judged
from itr_deploy.runtime.encoding.checks import NotFiniteError

PICTURES = 4
"""Pictures of one shape a call on a GPU; on a CPU they would only take memory."""


class Seen(NamedTuple):
    """What the first graph gives for a picture.

    Attributes:
        res4: ``float32 [1, C, h, w]``, the map that regions are cut out of.
        candidates: The boxes of all anchors.
    """

    res4: NDArray[np.float32]
    candidates: Candidates


class Networks:
    """The graphs of a detector's bundle."""

    def __init__(self, backend: Backend, manifest: DetectorManifest) -> None:
        """Take the graphs; none is loaded yet."""
        self._backend, self._chunk = backend, manifest.chunk
        self._anchors = len(manifest.anchors)

    @property
    def together(self) -> int:
        """How many pictures of one shape the first graph takes at once."""
        if self._backend.device == "cpu":
            return 1
        return min(self._backend.max_size("detector", "batch") or PICTURES, PICTURES)

    @property
    def window(self) -> int:
        """How many pictures are taken at a time: those of one shape need not be neighbours."""
        return 1 if self.together == 1 else 2 * self.together

    def seen(self, images: Sequence[NDArray[np.float32]]) -> Iterator[Seen]:
        """Run the first graph on pictures ``float32 [3, H, W]`` of one shape.

        Raises:
            BundleError: The graph is of other anchors than the manifest.
        """
        found = self._backend.run("detector", {"image": np.stack(images)})
        maps = found["res4"]
        grid = maps.shape[2], maps.shape[3]
        wanted = grid[0] * grid[1] * self._anchors
        for name in ("scores", "deltas"):
            if found[name].shape[1] != wanted:
                raise BundleError(
                    f"the detector's graph gives {name} of {found[name].shape[1]} anchors on a map "
                    f"of {grid[0]} x {grid[1]} cells, of which the manifest has {self._anchors} "
                    "each; export the bundle again"
                )
        for place in range(len(images)):
            candidates = Candidates(found["scores"][place], found["deltas"][place], grid)
            yield Seen(np.ascontiguousarray(maps[place : place + 1]), candidates)

    def judged(self, res4: NDArray[np.float32], boxes: Boxes) -> Judged:
        """Run the second graph on a picture's proposals.

        Args:
            res4: ``float32 [1, C, h, w]``, the picture's map.
            boxes: ``float32 [P, 4]``, at least one, in pixels of the resized picture.
        """
        most = min(self._chunk, self._backend.max_size("regions", "regions") or self._chunk)
        if len(boxes) > most:
            self._backend.pin([res4])
        parts = [
            self._backend.run("regions", {"res4": res4, "boxes": boxes[start : start + most]})
            for start in range(0, len(boxes), most)
        ]
        whole = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        return Judged(
            whole["features"],
            whole["class_probabilities"],
            whole.get("attribute_probabilities"),
            whole.get("deltas"),
        )


def check_finite(arrays: Sequence[NDArray[np.float32] | None], name: str) -> None:
    """Refuse what cannot be ranked: half precision may overflow.

    Raises:
        NotFiniteError: A value is NaN or infinite.
    """
    if not all(array is None or np.isfinite(array).all() for array in arrays):
        raise NotFiniteError(
            f"{name}: the detector gives NaN or infinity; its bundle is damaged, or its precision "
            "too low: export it in float32"
        )
