"""The retriever of a service: loaded beside the one in use, then put in its place."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from time import monotonic
from typing import Literal

from itr_deploy.runtime.retriever import Retriever
from itr_deploy.runtime.search.searcher import Searched
from itr_deploy.serving.refusals import unavailable

log = logging.getLogger(__name__)

State = Literal["loading", "ready", "draining", "dead"]


def searched_by(retriever: Retriever) -> Searched:
    """What a loaded retriever searches."""
    found = retriever.searched
    assert found is not None, "a service loads before it searches"
    return found


class Held:
    """A retriever that may be replaced while it is used. Safe to use from several threads."""

    def __init__(self, load: Callable[[], Retriever], refresh: float) -> None:
        """Nothing is loaded yet.

        Args:
            load: Makes a retriever, ready to search.
            refresh: Seconds between looks at whether the gallery has changed; 0 for never.
        """
        self._load, self._seconds = load, refresh
        self._retriever: Retriever | None = None
        self._reloading = threading.Lock()
        self._closed = threading.Event()

    @property
    def is_loaded(self) -> bool:
        """Whether there is a retriever."""
        return self._retriever is not None

    @property
    def retriever(self) -> Retriever:
        """The retriever in use.

        Raises:
            RefusalError: It is being loaded.
        """
        if self._retriever is None:
            raise unavailable("loading", "the bundle and the gallery are being loaded", 5)
        return self._retriever

    def load(self) -> float:
        """Load a retriever anew and put it in the place of the one in use, which is then freed.

        Calls that run go on with theirs. If loading fails, nothing changes.

        Returns:
            How many seconds it took.

        Raises:
            ItrDeployError: The bundle or the gallery cannot be used.
        """
        with self._reloading:
            begun = monotonic()
            made = self._load()
            made.warm_up()
            self._retriever = made
            taken = monotonic() - begun
        log.info(
            "%s: version %d, %d items, loaded in %.1f s",
            *(made.gallery.path, *searched_by(made), taken),
        )
        return taken

    def keep_fresh(self) -> None:
        """Look from now on, in a thread, whether the gallery has changed."""
        if self._seconds > 0:
            threading.Thread(target=self._keep_fresh, name="refresh", daemon=True).start()

    def close(self) -> None:
        """Look no longer."""
        self._closed.set()

    def _keep_fresh(self) -> None:
        while not self._closed.wait(self._seconds):
            # It leaves searches their cores, and logs what goes wrong.
            self.retriever.refresh(wait=False)
