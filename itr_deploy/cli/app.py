"""The command ``itr-deploy`` with its verbs, and what its errors look like."""

from __future__ import annotations

import logging
from typing import Annotated

import typer

from itr_deploy.cli.interrupts import was_interrupted
from itr_deploy.cli.output import drop_output
from itr_deploy.cli.usage import explain
from itr_deploy.cli.verbs import Verbs
from itr_deploy.errors import InterruptedWorkError, ItrDeployError, OutputError, UsageError

NAME = "itr-deploy"
log = logging.getLogger(__name__)


def _print_version(wanted: bool) -> None:
    if wanted:
        from itr_deploy import __version__

        typer.echo(f"{NAME} {__version__}")
        raise typer.Exit


app = typer.Typer(
    cls=Verbs,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 done, 1 bad input, 2 wrong usage, 3 parity missed, 4 environment, "
    "130 interrupted.",
    pretty_exceptions_enable=False,
)


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option(
            "--version", is_eager=True, callback=_print_version, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """Deploy trained image-text matchers: export, verify, index, search."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
        raise typer.Exit(UsageError.exit_code)


def run() -> int:
    """Run the command that was given; the exit code.

    Raises:
        KeyboardInterrupt: It was interrupted.
    """
    try:
        # Ctrl-C comes back as the exit code 130, typer.Exit as its own, a finished verb as None.
        code = int(app(prog_name=NAME, standalone_mode=False) or 0)
    except typer.Abort:
        raise KeyboardInterrupt from None
    except typer.TyperException as error:
        log.error("%s", explain(error))
        return error.exit_code
    except ItrDeployError as error:
        if was_interrupted() and not isinstance(error, InterruptedWorkError):
            # A library turned the interruption into an error of its own, and that became this.
            raise KeyboardInterrupt from error
        log.error("%s", error)
        return error.exit_code
    except (BrokenPipeError, SystemExit) as error:
        # Typer and Rich end the process themselves, with the exit code of bad input.
        if isinstance(error, SystemExit) and not isinstance(error.__context__, BrokenPipeError):
            raise
        # Who reads the output has had enough of it, as `head` has.
        drop_output()
        return 0
    except OSError as error:
        # Verbs turn the errors of files into the package's own: this is standard output's.
        log.error("cannot write the result: %s", error.strerror or error)
        drop_output()
        return OutputError.exit_code
    if code == InterruptedWorkError.exit_code:
        raise KeyboardInterrupt
    return code
