"""The ``framelet`` command; also ``python -m framelet_client``."""

from __future__ import annotations

import sys

from framelet.errors import MissingExtraError, importing_extra


def main() -> int:
    """Run the command line, and return its exit code."""
    try:
        with importing_extra("cli", "click", "the command line needs"):
            from framelet_client.cli.command import run  # noqa: PLC0415 - needs click, which is an extra
    except MissingExtraError as error:
        from framelet_client.cli.terminal import complain  # noqa: PLC0415 - as a rule it is not needed here

        complain(f"framelet: {error}")
        return 2
    except KeyboardInterrupt:
        return 130
    return run()


if __name__ == "__main__":
    sys.exit(main())
