"""What may be a query of a service, and what is said of what may not."""

from __future__ import annotations

from itr_deploy.runtime.retriever import Retriever


def takes_texts(retriever: Retriever) -> bool:
    """Whether texts may be queries."""
    return retriever.gallery.modality == "image" or retriever.compares_alike


def takes_regions(retriever: Retriever) -> bool:
    """Whether the regions of an image may be a query."""
    about = retriever.matcher.bundle.manifest.images
    return _takes_images(retriever) and not about.pictures and not about.boxes


def why_no_picture(retriever: Retriever) -> str | None:
    """Why a picture cannot be a query, None if it can."""
    if not _takes_images(retriever):
        return "the gallery holds images, and this model compares them with texts alone"
    if not retriever.takes_pictures:
        return (
            "the model takes features of regions, and the service was started without a detector "
            "(--detector)"
        )
    return None


def _takes_images(retriever: Retriever) -> bool:
    return retriever.gallery.modality == "text" or retriever.compares_alike
