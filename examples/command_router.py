"""Commands by their first word, each a function; the rest of the text is its argument.

python examples/command_router.py [PORT]
framelet send 127.0.0.1 6666 'upper hello'
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from framelet import HandlerError, reverse
from framelet_server import Server

if TYPE_CHECKING:
    from collections.abc import Callable

    from framelet_server import Handler

NO_SUCH_COMMAND = 460  # codes from 460 to 499 are the application's


class Router:
    """A handler that calls others."""

    def __init__(self) -> None:
        """Know no command."""
        self._commands: dict[str, Callable[[str], str]] = {}

    def command(self, function: Callable[[str], str]) -> Callable[[str], str]:
        """Make a function a command of its name: a decorator."""
        self._commands[function.__name__] = function
        return function

    def __call__(self, text: str) -> str:
        """Answer one REQUEST."""
        name, _, argument = text.partition(" ")
        function = self._commands.get(name)
        if function is None:
            known = ", ".join(sorted(self._commands))
            raise HandlerError(NO_SUCH_COMMAND, f"no such command: {name[:40]}; there are {known}")
        return function(argument)


router = Router()
router.command(reverse)


@router.command
def upper(text: str) -> str:
    """The text in capitals."""
    return text.upper()


@router.command
def count(text: str) -> str:
    """How many words a text has."""
    return str(len(text.split()))


def make_server(port: int, handler: Handler = router) -> Server:
    """A server with these commands, not started yet."""
    return Server(("127.0.0.1", port), handler)


if __name__ == "__main__":
    with make_server(int(sys.argv[1]) if sys.argv[1:] else 6666) as server:
        print(f"listening on {server.address}", flush=True)
        server.wait()
