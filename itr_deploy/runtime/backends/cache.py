"""The directory for what libraries derive from a bundle and can make again."""

from __future__ import annotations

import os
from pathlib import Path

from platformdirs import user_cache_path

VARIABLE = "ITR_DEPLOY_CACHE"


def cache_directory(*parts: str) -> Path:
    """The cache directory, or one below it; it is not created.

    This is ``$ITR_DEPLOY_CACHE`` if set, else the system's place for caches, on Linux
    ``$XDG_CACHE_HOME/itr-deploy`` or ``~/.cache/itr-deploy``.
    """
    chosen = os.environ.get(VARIABLE)
    root = Path(chosen) if chosen else user_cache_path("itr-deploy", appauthor=False)
    return root.joinpath(*parts).absolute()
