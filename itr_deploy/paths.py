"""Addresses that users give: which are local paths, and which are refused."""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

from itr_deploy.errors import UsageError

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
_URL_AS_PATH = re.compile(r"(abfss?|az|file|ftp|gs|hdfs|hf|https?|oss|s3a?|s3\+ddb|db):/")
"""What is left of a URL in a `Path`, which makes one slash of two."""


SHOWN = 60
"""Most characters of a path in a message."""


def local_path(given: str | os.PathLike[str]) -> Path:
    """The local path that an address means.

    ``~`` and ``~user`` at the beginning are home directories, also where no shell expands them: in
    compose files, systemd units and Python. A ``file://`` URL is the path in it. A folder that is
    really called ``~`` is ``./~``.

    Raises:
        UsageError: The address is empty, a URL of another kind, or no file can have this name.
    """
    text = os.fspath(given)
    if not text:
        raise UsageError("a path is empty; name a file or directory (is a variable unset?)")
    if "\0" in text:
        raise UsageError(f"path {text!r} contains a NUL character; no file can have this name")
    if _URL.match(text) or _URL_AS_PATH.match(text):
        text = _path_of_url(text)
    path = Path(text)
    if text.startswith("~"):
        try:
            path = path.expanduser()
        except RuntimeError as error:
            raise UsageError(
                f"path {text!r} names the home of an unknown user; write ./{text} for a folder of "
                "this name"
            ) from error
    elif path.parts and path.parts[0].startswith("~"):
        # It was ./~, and a `Path` drops the ./; whoever asks again must not get the home directory.
        path = path.absolute()
    try:
        path.lstat()
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise UsageError(f"path {shown(text)} is too long for the file system") from error
    except ValueError as error:  # lone surrogates
        raise UsageError(f"path {text!r} is not a name that files can have: {error}") from error
    return path


def _path_of_url(text: str) -> str:
    """The path of a ``file://`` URL.

    Raises:
        UsageError: It is a URL of another kind, or of another machine.
    """
    scheme, _, rest = text.partition(":")
    if scheme.lower() != "file":
        raise UsageError(
            f"{text!r} is not a local path: itr-deploy reads and writes local files only; mount "
            "or copy what the address names, and give its path"
        )
    url = urlsplit("file:" + (rest if rest.startswith("//") else "//" + rest))
    if url.netloc not in ("", "localhost") or not url.path:
        raise UsageError(f"{text!r} names no file of this machine; write file:///path or the path")
    return unquote(url.path)


def shown(text: str) -> str:
    """A path for a message: one line, and short."""
    return repr(text if len(text) <= SHOWN else f"{text[:40]}…{text[-15:]}")
