"""The same in Azure's Blob Storage, where its emulator is installed."""

from __future__ import annotations

from pathlib import Path

import pytest

from itr_deploy import Gallery, Matcher, Retriever
from itr_deploy.errors import GalleryBusyError, GalleryError
from itr_deploy.runtime.gallery.stores.lease import leased
from tests.support.azurite import CONTAINER, azurite
from tests.support.items import images, names
from tests.support.retrieval import assert_same, search


def test_a_gallery_is_changed_searched_and_locked(
    matcher: Matcher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with azurite(tmp_path / "azurite") as variables:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        url = f"az://{CONTAINER}/gallery"
        with pytest.raises(GalleryError, match="no such gallery"):
            Gallery.open(url)
        with pytest.raises(GalleryError, match="there is no bucket 'none'"):
            Gallery.open("az://none/gallery")
        here, there = (Gallery.create(place, matcher) for place in (tmp_path / "gallery", url))
        for gallery in (here, there):
            gallery.add(names(30), images(30))
            gallery.delete(names(2))
            gallery.upsert(["item0005", "new"], images(2, seed=3))
        for form in ({"resident": True}, {"resident": False, "memory_budget": 1_000}):
            one, other = (Retriever(matcher, gallery, **form) for gallery in (here, there))
            assert_same(search(other), search(one))
        late = Gallery.open(url, matcher, lock_timeout=0.2)
        with leased(there.opened.location._client, 1.0), pytest.raises(GalleryBusyError):
            late.delete(["new"])
        late.delete(["new"])
        other.refresh()
        assert "new" not in search(other, k=100)[0].ids
        monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", "AAAA")
        with pytest.raises(GalleryError, match="access is denied"):
            Gallery.open(url)
