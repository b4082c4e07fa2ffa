"""``python -m framelet_server`` and the console script ``framelet-server``."""

from __future__ import annotations

import sys

from framelet.__main__ import end_by_interrupt, open_standard_descriptors
from framelet.errors import MissingExtraError, importing_extra


def main() -> int:
    """Run the command line, or say what is missing for it."""
    open_standard_descriptors()
    try:
        with importing_extra("cli", "click", "the command line needs"):
            from framelet_server.cli import command  # noqa: PLC0415 - click is an extra
    except MissingExtraError as error:
        sys.stderr.write(f"framelet-server: {error}\n")
        return 2
    status = command.main()
    if status == command.INTERRUPTED:
        end_by_interrupt()
    return status


if __name__ == "__main__":
    if not sys.flags.safe_path:
        del sys.path[0]  # the current folder: what is imported from here on does not come from there
    sys.exit(main())
