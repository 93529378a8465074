"""What a manifest says of its parts must fit together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from itr_deploy.bundle.consistency import check_consistent
from itr_deploy.bundle.manifest import GraphInfo, ImageItems, Manifest, StoredTensor, TensorInfo
from itr_deploy.bundle.store import Bundle
from itr_deploy.errors import BundleError
from tests.bundle.conftest import manifest_of


def encoder(modality: str, given: TensorInfo) -> GraphInfo:
    made = TensorInfo(name=f"{modality}_embedding", dtype="float32", shape=("batch", 24))
    return GraphInfo(
        role=f"{modality}_encoder",  # type: ignore[arg-type]
        file=f"graphs/{modality}_encoder.onnx",
        opset=20,
        inputs=(given,),
        outputs=(made,),
    )


def dual_encoder_of_pictures(root: Path, **images: Any) -> Manifest:
    pixels = TensorInfo(name="pictures", dtype="uint8", shape=("batch", "height", "width", 3))
    words = TensorInfo(name="tokens", dtype="int64", shape=("batch", "words"))
    given = {"feature_dim": 32, "regions": None, "tensors": (), "pictures": True, **images}
    before = manifest_of(root)
    return before.model_copy(
        update={
            "images": ImageItems.model_validate(given),
            "texts": before.texts.model_copy(update={"tensors": ()}),
            "graphs": {
                "image_encoder": encoder("image", pixels),
                "text_encoder": encoder("text", words),
            },
        }
    )


def test_a_dual_encoder_of_pictures_is_consistent(small: Path) -> None:
    check_consistent(Bundle(small, dual_encoder_of_pictures(small)))


@pytest.mark.parametrize(
    ("images", "line"),
    [
        ({"boxes": True}, "images are pictures, and have boxes=True"),
        ({"regions": 36}, "images are pictures, and have regions=36"),
        ({"max_regions": 512}, "images are pictures, and have max_regions=512"),
        ({"tensors": (StoredTensor(name="grid", width=24),)}, "image_grid is stored"),
    ],
)
def test_pictures_have_no_regions(images: dict[str, Any], line: str, small: Path) -> None:
    bundle = Bundle(small, dual_encoder_of_pictures(small, **images))
    with pytest.raises(BundleError, match=f"{line}.*; export the bundle again"):
        check_consistent(bundle)
