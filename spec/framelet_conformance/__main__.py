"""``python -m framelet_conformance`` and the console script ``framelet-conformance``."""

from __future__ import annotations

import sys


def main() -> int:
    """Run the command line, or say what is missing for it."""
    try:
        from framelet_conformance.cli.command import main as run  # noqa: PLC0415 - the suite's libraries are an extra
    except ModuleNotFoundError as error:
        if error.name not in {"click", "hypothesis", "jinja2", "pytest", "rich"}:
            raise
        print(
            'framelet-conformance: the suite needs the extra "conformance": '
            "pip install 'framelet[conformance]'",
            file=sys.stderr,
        )
        return 2
    return run()


if __name__ == "__main__":
    sys.exit(main())
