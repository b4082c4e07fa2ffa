"""``python -m framelet_server`` and the console script ``framelet-server``."""

from __future__ import annotations

import sys


def main() -> int:
    """Run the command line, or say what is missing for it."""
    try:
        from framelet_server.cli.command import main as run  # noqa: PLC0415 - click is an extra
    except ModuleNotFoundError as error:
        if error.name != "click":
            raise
        print(  # noqa: T201 - the user's terminal
            "framelet-server: the command line needs the extra \"cli\": pip install 'framelet[cli]'",
            file=sys.stderr,
        )
        return 2
    return run()


if __name__ == "__main__":
    sys.exit(main())
