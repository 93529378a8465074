"""The command ``itr-deploy``: signals are handled before anything slow is imported."""

from __future__ import annotations

import gc
import sys


def main() -> None:
    """Run the command line and end the process with its exit code."""
    try:
        from itr_deploy.cli.interrupts import end_at_once, exit_code_of
        from itr_deploy.cli.logs import shown_logs
    except KeyboardInterrupt:
        print("error: interrupted; nothing half-written was left behind", file=sys.stderr)
        sys.exit(130)
    if sys.argv[1:2] == ["export"]:
        gc.disable()  # the process ends with the export, see exporters/garbage.py
    with shown_logs():
        code = exit_code_of(_run)
    end_at_once()
    gc.freeze()  # or Python looks for garbage once more as it ends
    sys.exit(code)


def _run() -> int:
    from itr_deploy.runtime.cpus import keep_to_quota

    keep_to_quota()
    from itr_deploy.cli.app import run
    from itr_deploy.cli.output import print_any_character

    print_any_character()
    return run()
