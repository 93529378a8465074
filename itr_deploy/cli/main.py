"""The command ``itr-deploy``: its verbs, loaded when they are called, and its exit codes."""

from __future__ import annotations

import signal
import sys
from importlib import import_module

import click

from itr_deploy.errors import ItrDeployError, UsageError

VERBS = {
    "export": "Turn a trained checkpoint into a bundle.",
    "ensemble": "Join several bundles into one that scores with all of them.",
    "verify": "Compare a bundle with its checkpoint in PyTorch.",
    "check": "Check a bundle for what TensorRT would refuse.",
    "build-engine": "Build TensorRT engines out of a bundle.",
    "doctor": "Look at what this machine has and what truly loads.",
    "index": "Encode a split's images or captions into a gallery.",
    "search": "Search a gallery.",
    "profile-routes": "Count how much a model uses its routes on a split.",
    "evaluate": "Measure Recall@K on a split.",
    "tune": "Choose the shortlist's width by what it must keep.",
    "bench": "Measure how fast a bundle searches, and where the time goes.",
    "inspect": "Show what is in a bundle or a gallery.",
}
INTERRUPTED = 130


class _Verbs(click.Group):
    """Knows its verbs by name and imports one only to run it: ``--help`` stays quick."""

    def list_commands(self, context: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in VERBS:
            return None
        module = import_module(f"itr_deploy.cli.{name.replace('-', '_')}")
        command: click.Command = module.command
        return command

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(VERBS.items()))


def _print_version(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted and not context.resilient_parsing:
        from itr_deploy import __version__

        click.echo(f"itr-deploy {__version__}")
        context.exit()


@click.command(cls=_Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Show the version and exit.",
)
def cli() -> None:
    """Deploy trained image-text matchers: export, verify, index, search.

    Exit codes: 0 done, 1 bad input, 2 wrong usage, 3 parity missed, 4 environment.
    """


def main() -> None:
    """Run the command line and end the process with its exit code."""
    # Ended by a service manager, clean up as for Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        code = cli.main(standalone_mode=False)
    except click.exceptions.Abort:
        _fail("interrupted; nothing half-written was left behind")
        code = INTERRUPTED
    except click.ClickException as error:
        error.show()
        code = UsageError.exit_code
    except ItrDeployError as error:
        _fail(str(error))
        code = error.exit_code
    except BrokenPipeError:
        sys.stderr.close()
        code = 0
    sys.exit(code)


def _fail(message: str) -> None:
    click.echo(f"error: {' '.join(message.split())}", err=True)
