"""The verbs by name and purpose; the module of a verb is imported only to run it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from itr_deploy.errors import UsageError


@dataclass(frozen=True)
class Verb:
    """A verb in the list of them; its module has its name and holds a Typer ``app``."""

    panel: str
    help: str


MAKE, SEARCH, MEASURE, LOOK = "Make a bundle", "Search", "Measure and tune", "Look"

VERBS = {
    "export": Verb(MAKE, "Turn a trained checkpoint into a bundle."),
    "ensemble": Verb(MAKE, "Join several bundles into one that scores with all of them."),
    "cascade": Verb(MAKE, "Put a dual encoder in front of a matcher."),
    "verify": Verb(MAKE, "Compare a bundle with its checkpoint in PyTorch."),
    "check": Verb(MAKE, "Check a bundle for what TensorRT would refuse."),
    "build-engine": Verb(MAKE, "Build TensorRT engines out of a bundle."),
    "convert": Verb(SEARCH, "Turn an extractor's files into a data directory."),
    "index": Verb(SEARCH, "Encode a split's images or captions into a gallery."),
    "index-bank": Verb(SEARCH, "Keep with a gallery what re-ranking it with a bank needs."),
    "index-coarse": Verb(SEARCH, "Build the coarse index of a large gallery."),
    "compact": Verb(SEARCH, "Rewrite a gallery without what was deleted from it."),
    "shard": Verb(SEARCH, "Split a gallery into shards, for several machines."),
    "search": Verb(SEARCH, "Search a gallery."),
    "serve": Verb(SEARCH, "Search a gallery over HTTP, with a page to search it."),
    "up": Verb(SEARCH, "Index what is new in a folder, and serve it."),
    "triton": Verb(SEARCH, "Write a model repository for Triton Inference Server."),
    "evaluate": Verb(MEASURE, "Measure Recall@K on a split."),
    "tune": Verb(MEASURE, "Choose the shortlist's width by what it must keep."),
    "bench": Verb(MEASURE, "Measure how fast a bundle searches, and where the time goes."),
    "profile-routes": Verb(MEASURE, "Count how much a model uses its routes on a split."),
    "inspect": Verb(LOOK, "Show what is in a bundle or a gallery."),
    "doctor": Verb(LOOK, "Look at what this machine has and what truly loads."),
}


class Verbs(TyperGroup):
    """Lists its verbs by purpose and imports one only to run or complete it."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        for name, verb in VERBS.items():
            self.add_command(TyperCommand(name, help=verb.help, rich_help_panel=verb.panel))

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """The verb itself in place of its entry in the list."""
        name, command, rest = super().resolve_command(ctx, args)
        refuse_empty_values(rest)
        if name is not None and command is not None:
            module = import_module(f"itr_deploy.cli.{name.replace('-', '_')}")
            command = typer.main.get_command(module.app)
            hide_types_of_flags(command)
        return name, command, rest


def refuse_empty_values(args: Sequence[str]) -> None:
    """Refuse an option with an empty value, as `--pictures "$FOLDER"` has where it is unset.

    A `Path` of nothing is the current directory, whose pictures nobody meant. No option takes an
    empty value.

    Raises:
        UsageError: There is one; names it.
    """
    for place, option in enumerate(args):
        if option == "--":
            return
        following = args[place + 1 : place + 2]
        if option.startswith("--") and (option.find("=") == len(option) - 1 or "" in following):
            raise UsageError(f"{option.rstrip('=')} is empty; give a value (is a variable unset?)")


def hide_types_of_flags(command: Any) -> None:
    """A flag takes no value, so that help must not show the type of one."""
    for parameter in command.params:
        if getattr(parameter, "is_flag", False) and parameter.metavar is None:
            parameter.metavar = ""
    for inner in getattr(command, "commands", {}).values():
        hide_types_of_flags(inner)
