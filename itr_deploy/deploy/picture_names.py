"""The gallery's column with the names of the items' pictures, if these are not the ids."""

from __future__ import annotations

from itr_deploy.errors import UsageError
from itr_deploy.runtime.retriever import AnyGallery


def check_picture_names(gallery: AnyGallery, names: str | None) -> None:
    """Refuse a column that a gallery does not have.

    Args:
        gallery: The gallery.
        names: The column, None for the ids.

    Raises:
        UsageError: There is no such column.
    """
    known = gallery.metadata_columns
    if names is not None and names not in known:
        raise UsageError(
            f"picture_names={names!r} (--picture-names): {gallery.path} has "
            f"{', '.join(known) or 'no columns of yours'}"
        )
