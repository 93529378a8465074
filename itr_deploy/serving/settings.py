"""What a service is told: where it listens, how much it takes on, who may ask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from itr_deploy.errors import InputError, UsageError

MOST_KEY_BYTES = 1 << 16
"""Of a file of keys."""


@dataclass(frozen=True)
class Settings:
    """What a service is told.

    Attributes:
        max_batch: Queries that are searched in one call.
        max_wait: Seconds that a query waits for others to be searched with it, where others are
            on their way.
        max_queue: Requests that wait; a further one is refused with 429.
        request_timeout: Seconds until a request is given up, waiting included.
        max_body: Bytes of a request's body.
        max_texts: Texts, ids or documents of a request.
        max_k: Hits a query.
        keys: Whoever has one of these may ask; anybody if there are none.
        admin_keys: Whoever has one of these may administer; nobody if there are none.
        cors_origins: Web pages of these origins may ask from a browser.
        refresh: Seconds between looks at whether the gallery has changed; 0 for never.
        drain_delay: Seconds after SIGTERM in which new connections are still taken.
        drain_timeout: Seconds that requests in flight have then.
        pictures: Directory of the gallery's pictures, None if they are not to be shown.
        picture_names: The gallery's column with the pictures' names; None if these are the ids.
    """

    max_batch: int = 8
    max_wait: float = 0.002
    max_queue: int = 64
    request_timeout: float = 10.0
    max_body: int = 8 << 20
    max_texts: int = 64
    max_k: int = 1000
    keys: tuple[str, ...] = ()
    admin_keys: tuple[str, ...] = ()
    cors_origins: tuple[str, ...] = ()
    refresh: float = 30.0
    drain_delay: float = 5.0
    drain_timeout: float = 30.0
    pictures: Path | None = None
    picture_names: str | None = None


def read_keys(path: str | Path, argument: str) -> tuple[str, ...]:
    """The keys of a file, one a line; blank lines and those from ``#`` on are left out.

    Args:
        path: The file.
        argument: What it was given as, for messages.

    Raises:
        InputError: It cannot be read, has no key, or one that a header cannot hold.
    """
    try:
        with Path(path).open("rb") as file:
            content = file.read(MOST_KEY_BYTES + 1)
    except OSError as error:
        raise InputError(f"{argument}: {path}: {(error.strerror or str(error)).lower()}") from error
    if len(content) > MOST_KEY_BYTES:
        raise InputError(f"{argument}: {path}: larger than {MOST_KEY_BYTES} bytes; give keys only")
    lines = [line.strip() for line in content.decode("utf-8", "replace").splitlines()]
    keys = [line for line in lines if line and not line.startswith("#")]
    if not keys:
        raise InputError(f"{argument}: {path}: has no key; write one a line")
    for number, key in enumerate(keys, 1):
        if not all("!" <= character <= "~" for character in key):
            raise InputError(
                f"{argument}: {path}: key {number} has characters that a header cannot hold; use "
                "letters, digits and punctuation of ASCII"
            )
    return tuple(keys)


def check_origins(origins: Sequence[str]) -> tuple[str, ...]:
    """Origins as browsers send them: scheme, host and port, or ``*`` for any.

    Raises:
        UsageError: One is not of this form.
    """
    for origin in origins:
        scheme, _, host = origin.partition("://")
        if origin != "*" and (scheme not in ("http", "https") or not host or "/" in host):
            raise UsageError(
                f"cors_origin={origin!r} (--cors-origin) is no origin; give for example "
                "https://shop.example or *"
            )
    return tuple(origins)
