"""What a request is refused with: a status, a code, one line, and what to do."""

from __future__ import annotations

import logging
import re

from itr_deploy.errors import (
    BundleError,
    GalleryError,
    GalleryUnreadableError,
    InputError,
    ItrDeployError,
    OutputError,
    ShardUnavailableError,
    UsageError,
)

log = logging.getLogger(__name__)

OPTION = re.compile(r" \(--[a-z-]+\)")
"""What a message says to users of the command line alone."""

RETRY_SOON = 1
"""Seconds after which to try again where nothing better is known."""

RETRY_GALLERY = 5
"""Seconds after which a gallery that is being replaced may be there again."""


RETRY_SHARDS = 2
"""Seconds after which a shard whose process ended may have loaded again."""


class RefusalError(Exception):
    """A request is refused."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        hint: str | None = None,
        retry_after: int | None = None,
    ) -> None:
        """What is answered.

        Args:
            status: The HTTP status.
            code: A word for programs.
            message: What was wrong.
            hint: What to do.
            retry_after: Seconds after which another try may succeed.
        """
        super().__init__(message)
        self.status, self.code, self.message, self.hint = status, code, message, hint
        self.retry_after = retry_after


def queue_full(waiting: int, seconds: int) -> RefusalError:
    """The queue holds as many requests as it may."""
    return RefusalError(
        429,
        "queue_full",
        f"{waiting} requests are waiting, the most that this service lets wait",
        f"try again in {seconds} s, as Retry-After says",
        seconds,
    )


def deadline_passed(seconds: float) -> RefusalError:
    """The request was given up."""
    return RefusalError(
        504,
        "deadline",
        f"not answered within {seconds:g} s, the service's request timeout",
        "ask for fewer candidates, or try again when there is less load",
    )


def unavailable(code: str, message: str, seconds: int = RETRY_SOON) -> RefusalError:
    """The service cannot search now: loading, draining, dead, or its gallery or shards are gone."""
    return RefusalError(503, code, message, f"try again in {seconds} s", seconds)


def dead() -> RefusalError:
    """Nothing is computed any more, and the service ends."""
    return unavailable("dead", "the service's computing thread has ended")


def invalid(message: str, hint: str | None = None) -> RefusalError:
    """The request is understood, and cannot be done."""
    return RefusalError(422, "invalid_request", message, hint)


def not_found(message: str, hint: str | None = None) -> RefusalError:
    """There is no such thing."""
    return RefusalError(404, "not_found", message, hint)


def fault() -> RefusalError:
    """The service has a fault; what it is stands in the log."""
    return RefusalError(500, "internal", "a fault of the service; its log has this request's id")


def refusal_of(error: ItrDeployError, names: dict[str, str]) -> RefusalError:
    """What an error of the library is answered with.

    Args:
        error: The error.
        names: What to say in place of the server's paths, which are no client's business.

    Returns:
        The refusal: 422 for what the client can do otherwise, 503 where the gallery cannot be read
        now, 500 for what else is the service's fault; the latter two are logged.
    """
    if isinstance(error, GalleryUnreadableError):
        # Nothing that was asked: it is being replaced, or gone. What to do is for who keeps it.
        log.error("%s", error)
        return unavailable("gallery", "the gallery cannot be read now", RETRY_GALLERY)
    if isinstance(error, ShardUnavailableError):
        log.error("%s", error)
        return unavailable("shards", "a part of the gallery does not answer now", RETRY_SHARDS)
    if isinstance(error, OutputError) or not isinstance(error, (InputError, UsageError)):
        log.error("%s", error)
        return fault()
    message = OPTION.sub("", str(error))
    for path, name in names.items():
        message = message.replace(path, name)
    is_own = not isinstance(error, (BundleError, GalleryError))
    what, _, hint = message.partition("; ") if is_own else (message, "", "")
    return invalid(what, hint or None)
