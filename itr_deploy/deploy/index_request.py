"""What `index` is asked for: plain values that another process can be told, and what they mean."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from itr_deploy.bundle.manifest import StorageType
from itr_deploy.bundle.modality import Modality
from itr_deploy.deploy.to_index import ToIndex, extracted_items, picture_items, split_items
from itr_deploy.errors import UsageError
from itr_deploy.evaluation.data.metadata import metadata_columns
from itr_deploy.runtime.detector.detector import Detector
from itr_deploy.runtime.matcher import Matcher

SPLIT = "test"
"""The split that is indexed by default."""


@dataclass(frozen=True)
class IndexRequest:
    """The arguments of `index` that say which items are encoded, and how."""

    bundle: Path
    data: Path | None
    pictures: Path | None
    detector: Path | None
    proposals: int | None
    features: Path | None
    ids: Path | None
    split: str
    modality: Modality
    storage: StorageType | None
    metadata: Path | None
    device: str
    backend: str

    def check(self) -> None:
        """Refuse what does not go together.

        Raises:
            UsageError: Says what.
        """
        if [self.data, self.pictures, self.features].count(None) != 2:
            raise UsageError(
                "give data= (--data), pictures= (--pictures) or features= (--features), one of them"
            )
        if self.ids is not None and self.features is None:
            raise UsageError("ids= (--ids) chooses images of features= (--features); give both")
        if self.data is None and self.split != SPLIT:
            given_as = "features= (--features)" if self.features else "pictures= (--pictures)"
            raise UsageError(
                f"{given_as} have no splits; leave split={self.split!r} (--split) out, or give "
                "data= (--data)"
            )
        if self.detector is not None and self.pictures is None:
            raise UsageError("detector= (--detector) is for pictures; give pictures= (--pictures)")
        if self.proposals is not None and self.detector is None:
            raise UsageError(
                "proposals= (--proposals) are a detector's; give detector= (--detector)"
            )

    def load(self) -> Matcher:
        """The matcher, with its detector."""
        finder = None
        if self.detector is not None:
            finder = Detector.load(self.detector, device=self.device, proposals=self.proposals)
        return Matcher.load(self.bundle, device=self.device, backend=self.backend, detector=finder)

    def items(
        self,
        matcher: Matcher,
        looking: Callable[[str, int, int], object],
        *,
        any_number: bool = True,
    ) -> ToIndex:
        """The items with their columns.

        Args:
            matcher: Encodes them.
            looking: Called while ``features`` are looked through.
            any_number: Whether the gallery takes images of any number of regions. What a new
                gallery holds, its first images decide.
        """
        if self.features is not None:
            given = extracted_items(matcher, self.features, self.ids, self.modality, looking)
        elif self.pictures is not None:
            given = picture_items(matcher, self.pictures, self.modality, any_number=any_number)
        else:
            assert self.data is not None
            given = split_items(matcher, self.data, self.split, self.modality)
        if self.metadata is not None:
            # They become the items' own columns, and so a part of what a run is gone on with by.
            own = metadata_columns(self.metadata, given.ids, taken=list(given.columns))
            given.columns.update(own)
        return given

    def made_with(self, matcher: Matcher) -> dict[str, str | None]:
        """What else the stored items depend on besides the bundle and what they are read from."""
        made_with = {"device": self.device, "backend": self.backend}
        if matcher.detector is not None:
            assert isinstance(matcher.detector, Detector)
            about = matcher.detector.bundle.manifest
            made_with |= {
                "detector": about.encoding_id,
                "detector_precision": about.precision,
                "proposals": str(matcher.detector.proposals),
            }
        return {**made_with}
