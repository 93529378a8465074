"""Text that comes from files, such as ids and names, as a terminal may be given it."""

from __future__ import annotations

import re

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def visible(text: str) -> str:
    r"""A text with its control characters written as escapes, line breaks and tabs apart.

    A picture's name may hold what colours a terminal, clears it or types into it.

    >>> visible("a\x1b[2Jb")
    'a\\x1b[2Jb'
    """
    return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", text)
