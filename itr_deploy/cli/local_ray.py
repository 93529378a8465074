"""The option ``--ray``, whose address may be left out."""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand


class WithLocalRay(TyperCommand):
    """``--ray`` without an address is a cluster on this machine."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Give a bare ``--ray`` its address."""
        given = []
        for place, word in enumerate(args):
            given.append(word)
            following = args[place + 1 : place + 2]
            if word == "--ray" and (not following or following[0].startswith("-")):
                given.append("local")
        return super().parse_args(ctx, given)
