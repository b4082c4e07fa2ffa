"""The ``framelet`` command; also ``python -m framelet`` and ``python -m framelet_client``."""

from __future__ import annotations

import sys

from framelet.__main__ import end_by_interrupt, open_standard_descriptors
from framelet.errors import MissingExtraError, importing_extra

from .exit_codes import ExitCode


def main() -> int:
    """Run the command line, and return its exit code; an interruption ends the process by SIGINT."""
    open_standard_descriptors()
    try:
        code = _run()
    except KeyboardInterrupt:
        code = ExitCode.INTERRUPTED
    if code == ExitCode.INTERRUPTED:  # an exit code would have a shell go on with its loop
        end_by_interrupt()
    return code


def _run() -> int:
    try:
        with importing_extra("cli", "click", "the command line needs"):
            from framelet_client.cli.command import run  # noqa: PLC0415 - needs click, which is an extra
    except MissingExtraError as error:
        from framelet_client.cli.terminal import complain  # noqa: PLC0415 - as a rule it is not needed here

        complain(f"framelet: {error}")
        return ExitCode.USAGE
    return run()


if __name__ == "__main__":
    if not sys.flags.safe_path:
        del sys.path[0]  # the current folder: what is imported from here on does not come from there
    sys.exit(main())
