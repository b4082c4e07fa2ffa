"""The ``framelet`` command; also ``python -m framelet_client``."""

from __future__ import annotations

import sys

_NO_CLICK = """framelet: the command line needs the extra "cli": pip install 'framelet[cli]'"""


def main() -> int:
    """Run the command line, and return its exit code."""
    try:
        from framelet_client.cli.command import run  # noqa: PLC0415 - needs click, which the extra "cli" brings
    except ModuleNotFoundError as error:
        if error.name != "click":
            raise
        from framelet_client.cli.terminal import complain  # noqa: PLC0415 - see above

        complain(_NO_CLICK)
        return 2
    except KeyboardInterrupt:
        return 130
    return run()


if __name__ == "__main__":
    sys.exit(main())
