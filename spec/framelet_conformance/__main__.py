"""``python -m framelet_conformance`` and the console script ``framelet-conformance``."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

from framelet.__main__ import end_by_interrupt, open_standard_descriptors
from framelet.errors import install_command

_INTERRUPTED = 130  # the status for an end by SIGINT, as shells show it


def main() -> int:
    """Run the command line, or say what is missing for it; an interruption ends the process by SIGINT."""
    open_standard_descriptors()
    try:
        status = _run()
    except KeyboardInterrupt:
        status = _INTERRUPTED
    except OSError as error:  # of standard output: all others are met where they happen
        with Path(os.devnull).open("wb") as nowhere:  # for what is kept, which would fail again at the exit
            os.dup2(nowhere.fileno(), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):
            print("framelet-conformance: error: standard output failed:", error.strerror, file=sys.stderr)
        status = 2
    if status == _INTERRUPTED:  # any status would have a shell go on with its loop
        with contextlib.suppress(OSError):
            sys.stdout.flush()
        end_by_interrupt()
    return status


def _run() -> int:
    try:
        from framelet_conformance.cli.command import main as run  # noqa: PLC0415 - the suite's libraries are an extra
    except ModuleNotFoundError as error:
        if error.name not in {"click", "hypothesis", "jinja2", "pytest", "rich"}:
            raise
        print(
            'framelet-conformance: the suite needs the extra "conformance":',
            install_command("conformance"),
            file=sys.stderr,
        )
        return 2
    return run()


if __name__ == "__main__":
    if not sys.flags.safe_path:
        del sys.path[0]  # the current folder: what is imported from here on does not come from there
    sys.exit(main())
