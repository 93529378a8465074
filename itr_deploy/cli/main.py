"""The command ``itr-deploy``: signals are handled before anything slow is imported."""

from __future__ import annotations

import atexit
import gc
import os
import sys


def main() -> None:
    """Run the command line and end the process with its exit code."""
    try:
        from itr_deploy.cli.interrupts import end_at_once, exit_code_of
        from itr_deploy.cli.logs import shown_logs
    except KeyboardInterrupt:
        print("error: interrupted; nothing half-written was left behind", file=sys.stderr)
        sys.exit(130)
    exports = sys.argv[1:2] == ["export"]
    if exports:
        from itr_deploy.exporters.importing import never_compiles

        # The process ends with the export.
        gc.disable()
        never_compiles()
    with shown_logs():
        code = exit_code_of(_run)
    end_at_once()
    gc.freeze()  # or Python looks for garbage once more as it ends
    if exports and code == 0:
        _leave()
    sys.exit(code)


def _leave() -> None:
    """End a process whose work is done, without taking apart the thousands of modules loaded.

    Comes back where standard output cannot be written, which Python tells of.
    """
    atexit._run_exitfuncs()
    try:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
    except (OSError, ValueError):
        return
    os._exit(0)


def _run() -> int:
    from itr_deploy.runtime.cpus import keep_to_quota

    keep_to_quota()
    from itr_deploy.cli.app import run
    from itr_deploy.cli.output import print_any_character

    print_any_character()
    return run()
