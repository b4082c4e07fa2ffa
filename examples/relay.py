"""A relay: what clients ask is asked of another server, and its answers go back, whatever their ERRORs mean.

python examples/relay.py PORT ADDRESS
"""

from __future__ import annotations

import functools
import sys
import threading
from typing import TYPE_CHECKING

from framelet import HandlerError
from framelet_client import AnswerError, Client, ClientError, FatalAnswerError
from framelet_server import Server

if TYPE_CHECKING:
    from collections.abc import Callable

UNREACHABLE = 460  # codes from 460 to 499 are the application's: this relay's word for a server that is gone


class Relay:
    """A connection to the other server for each thread that calls handlers."""

    def __init__(self, address: str) -> None:
        """Nothing is opened yet."""
        self._address = address
        self._own = threading.local()

    def ask(self, asked: Callable[[Client], str]) -> str:
        """Ask the other server; what it refuses is refused by the same code, known here or not."""
        try:
            client: Client | None = getattr(self._own, "client", None)
            if client is None or client.closed:
                client = self._own.client = Client(self._address)
            return asked(client)
        except AnswerError as error:
            raise HandlerError(error.code, error.text) from error
        except (ClientError, FatalAnswerError) as error:
            self._own.client = None
            raise HandlerError(UNREACHABLE, "the server behind this relay cannot be asked") from error

    def request(self, text: str) -> str:
        """Pass a REQUEST on."""
        return self.ask(lambda client: client.request(text))

    def send(self, frame_type: int, text: str) -> str:
        """Pass an application frame on."""
        return self.ask(lambda client: client.send(frame_type, text))


def make_server(port: int, address: str) -> Server:
    """A relay to the server at this address, not started yet."""
    relay = Relay(address)
    handlers = {number: functools.partial(relay.send, number) for number in range(0xC0, 0x100)}
    return Server(("127.0.0.1", port), relay.request, handlers=handlers, blocking=True)


if __name__ == "__main__":
    with make_server(int(sys.argv[1]), sys.argv[2]) as server:
        print(f"listening on {server.address}", flush=True)
        server.wait()
