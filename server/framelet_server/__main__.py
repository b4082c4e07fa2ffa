"""``python -m framelet_server`` and the console script ``framelet-server``."""

from __future__ import annotations

import sys

from framelet.errors import MissingExtraError, importing_extra


def main() -> int:
    """Run the command line, or say what is missing for it."""
    try:
        with importing_extra("cli", "click", "the command line needs"):
            from framelet_server.cli.command import main as run  # noqa: PLC0415 - click is an extra
    except MissingExtraError as error:
        print(f"framelet-server: {error}", file=sys.stderr)  # noqa: T201 - the user's terminal
        return 2
    return run()


if __name__ == "__main__":
    sys.exit(main())
