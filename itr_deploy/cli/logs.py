"""What the command line writes to standard error: log records, one per line, as text or JSON."""

from __future__ import annotations

import json
import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import Any, Literal

from itr_deploy.cli.visible import visible

LogFormat = Literal["text", "json"]

LIBRARY = logging.getLogger("itr_deploy")
log = logging.getLogger(__name__)
LEVELS = (logging.WARNING, logging.INFO, logging.DEBUG)
"""Levels shown without ``-v``, with ``-v`` and with ``-vv``."""


class StandardError(logging.Handler):
    """Writes records to whatever standard error is at that moment.

    Attributes:
        as_json: Whether a record is a JSON object: time, level, logger, message, and the fields
            that it has in ``extra={"fields": {...}}``.
        quiet: Whether progress is hidden.
    """

    as_json = False
    quiet = False

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record as one line."""
        try:
            line = _json_line(record) if self.as_json else _text_line(record)
            print(line, file=sys.stderr)
        except Exception:
            self.handleError(record)


SHOWN = StandardError()
"""The one handler of a process; the options of a verb set it."""


@contextmanager
def shown_logs() -> Iterator[None]:
    """Show the library's records on standard error, warnings and above.

    Python's own warnings become records for ``-vv``: they are about other packages' code, several
    lines each, and would break the lines of JSON.
    """
    SHOWN.as_json = SHOWN.quiet = False
    before, warnings.showwarning = warnings.showwarning, _log_warning
    LIBRARY.addHandler(SHOWN)
    LIBRARY.setLevel(LEVELS[0])
    try:
        yield
    finally:
        warnings.showwarning = before
        LIBRARY.removeHandler(SHOWN)
        LIBRARY.setLevel(logging.NOTSET)


def set_verbosity(count: int) -> int:
    """Show more the more often ``-v`` is given."""
    LIBRARY.setLevel(LEVELS[min(count, len(LEVELS) - 1)])
    return count


def set_quiet(quiet: bool) -> bool:
    """Hide progress."""
    SHOWN.quiet = quiet
    return quiet


def set_format(name: LogFormat) -> LogFormat:
    """Write records as text or as JSON."""
    SHOWN.as_json = name == "json"
    return name


def _log_warning(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
    """Take a warning of Python's; the file and the line that it names are not the user's."""
    log.debug("%s: %s", category.__name__, message)


def _text_line(record: logging.LogRecord) -> str:
    level, message = record.levelname.lower(), visible(" ".join(record.getMessage().split()))
    if record.levelno < logging.WARNING:
        return f"{level}: {record.name}: {message}"
    return f"{level}: {message}"


def _json_line(record: logging.LogRecord) -> str:
    time = datetime.fromtimestamp(record.created, timezone.utc).isoformat(timespec="milliseconds")
    message = record.getMessage()
    told = {"time": time, "level": record.levelname, "logger": record.name, "message": message}
    told |= getattr(record, "fields", {})
    return json.dumps(told, ensure_ascii=False)
