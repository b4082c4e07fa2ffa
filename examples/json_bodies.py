"""Bodies in JSON: a function of a dictionary becomes a handler.

python examples/json_bodies.py [PORT]
framelet send 127.0.0.1 6666 '{"numbers": [1, 2, 3]}'
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from framelet import HandlerError
from framelet_server import Server

if TYPE_CHECKING:
    from collections.abc import Callable

NOT_JSON, WRONG_FIELDS = 460, 461  # codes from 460 to 499 are the application's


def in_json(function: Callable[..., Any]) -> Callable[[str], str]:
    """Call a function by the fields of an object, and answer with its result."""

    def handler(text: str) -> str:
        try:
            fields = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise HandlerError(NOT_JSON, f"the body is not JSON: {error}") from None
        if not isinstance(fields, dict):
            raise HandlerError(NOT_JSON, "the body is JSON, but no object")
        try:
            return json.dumps(function(**fields), ensure_ascii=False)
        except TypeError as error:
            raise HandlerError(WRONG_FIELDS, str(error)) from None

    return handler


def total(numbers: list[float], unit: str = "") -> dict[str, Any]:
    """Add numbers up."""
    return {"total": sum(numbers), "unit": unit}


def make_server(port: int) -> Server:
    """A server that adds up, not started yet."""
    return Server(("127.0.0.1", port), in_json(total))


if __name__ == "__main__":
    with make_server(int(sys.argv[1]) if sys.argv[1:] else 6666) as server:
        print(f"listening on {server.address}", flush=True)
        server.wait()
