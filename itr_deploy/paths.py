"""Addresses that users give: which are local paths, and which are refused."""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

from itr_deploy.errors import UsageError

STORES = ("s3", "gs", "az")
"""Schemes of the object stores that galleries may lie in."""

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
_URL_AS_PATH = re.compile(r"(abfss?|az|file|ftp|gs|hdfs|hf|https?|oss|s3a?|s3\+ddb|db):/")
"""What is left of a URL in a `Path`, which makes one slash of two."""


SHOWN = 60
"""Most characters of a path in a message."""


class StoreUrl(str):
    """The URL of a place in an object store, ``s3://bucket/place`` without a slash at its end."""

    __slots__ = ()


def gallery_place(given: str | os.PathLike[str]) -> Path | StoreUrl:
    """Where a gallery is: a local path as of `local_path`, or a place in an object store.

    Raises:
        UsageError: As of `local_path`; or the URL names no place in a bucket, or has a user name, a
            password or a query, none of which is repeated.
    """
    text = os.fspath(given)
    # What a `Path` leaves of s3:// is s3:, which is meant as a URL too.
    scheme, _, rest = text.partition(":" if text.endswith(":") else ":/")
    if scheme.lower() not in STORES or "\0" in text:
        return local_path(given, but=", and galleries in " + ", ".join(f"{s}://" for s in STORES))
    # A `Path` makes one slash of several, and `.` and `..` are no names there.
    parts = [part for part in rest.split("/") if part]
    url = f"{scheme.lower()}://{'/'.join(parts)}"
    if "@" in parts[0] if parts else False:
        raise UsageError(
            f"a gallery's {scheme.lower()}:// URL has a user name or a password; give them as "
            "variables, such as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        )
    if "?" in text or "#" in text:
        raise UsageError(
            f"a gallery's {scheme.lower()}:// URL has a query or a fragment; give bucket and place "
            "alone, and the rest as variables"
        )
    plain = all(ord(sign) > 31 and not "\ud800" <= sign <= "\udfff" for sign in text)
    if len(parts) < 2 or {".", ".."} & set(parts) or not plain:
        raise UsageError(f"{shown(url)} names no place in a bucket; write s3://bucket/gallery")
    return StoreUrl(url)


def local_path(given: str | os.PathLike[str], but: str = "") -> Path:
    """The local path that an address means.

    ``~`` and ``~user`` at the beginning are home directories, also where no shell expands them: in
    compose files, systemd units and Python. A ``file://`` URL is the path in it. A folder that is
    really called ``~`` is ``./~``.

    Args:
        given: The address.
        but: What else is taken, for the message that refuses a URL.

    Raises:
        UsageError: The address is empty, a URL of another kind, or no file can have this name.
    """
    text = os.fspath(given)
    if not text:
        raise UsageError("a path is empty; name a file or directory (is a variable unset?)")
    if "\0" in text:
        raise UsageError(f"path {text!r} contains a NUL character; no file can have this name")
    if _URL.match(text) or _URL_AS_PATH.match(text):
        text = _path_of_url(text, but)
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


def _path_of_url(text: str, but: str) -> str:
    """The path of a ``file://`` URL.

    Raises:
        UsageError: It is a URL of another kind, or of another machine.
    """
    scheme, _, rest = text.partition(":")
    if scheme.lower() != "file":
        raise UsageError(
            f"{shown(_without_secrets(text))} is not a local path: itr-deploy reads and writes "
            f"local files only{but}; mount or copy what the address names, and give its path"
        )
    url = urlsplit("file:" + (rest if rest.startswith("//") else "//" + rest))
    if url.netloc not in ("", "localhost") or not url.path:
        raise UsageError(f"{text!r} names no file of this machine; write file:///path or the path")
    return unquote(url.path)


def _without_secrets(url: str) -> str:
    """A URL without user, password and query, which may be secret."""
    scheme, _, rest = url.partition(":/")
    host, slash, path = rest.lstrip("/").partition("/")
    own = host.rpartition("@")[2] + slash + path
    return f"{scheme}://{re.split('[?#]', own)[0]}"


def shown(text: str) -> str:
    """A path for a message: one line, and short."""
    return repr(text if len(text) <= SHOWN else f"{text[:40]}…{text[-15:]}")
