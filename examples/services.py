"""Several services on one server: one for REQUEST, one for each application type, and a call's context."""

from __future__ import annotations

import sys

from framelet import HandlerError
from framelet_server import CallContext, Server

COUNT, STORE, WHO = 0xC0, 0xC1, 0xC2  # application types, 0xC0 to 0xFF, as the two ends agree on
NO_SUCH_KEY = 460  # codes 460 to 499 are the application's, too


def shout(text: str) -> str:
    """REQUEST: the text in capitals."""
    return text.upper()


def count_words(text: str) -> str:
    """COUNT: how many words a text has."""
    return str(len(text.split()))


class Store:
    """STORE: "key=value" keeps a value, "key" asks for it."""

    def __init__(self) -> None:
        """Keep nothing yet."""
        self._values: dict[
            str, str
        ] = {}  # one operation on a dict at a time: handlers run in several threads

    def __call__(self, text: str) -> str:
        """Answer one frame, by an ERROR where the key is unknown."""
        key, is_to_be_kept, value = text.partition("=")
        if is_to_be_kept:
            self._values[key] = value
            return value
        try:
            return self._values[key]
        except KeyError:
            raise HandlerError(NO_SUCH_KEY, f"no such key: {key}") from None


def who(text: str, context: CallContext) -> str:
    """WHO: greets the client, whose address and roles the context has."""
    roles = ", ".join(sorted(context.roles)) or "nobody in particular"
    return f"{text}, {context.peer.name} ({roles})"


def make_server(port: int) -> Server:
    """The server with all four."""
    return Server(("127.0.0.1", port), shout, handlers={COUNT: count_words, STORE: Store(), WHO: who})


if __name__ == "__main__":
    with make_server(int(sys.argv[1]) if sys.argv[1:] else 6666) as server:
        print(f"listening on {server.address}; end it with: framelet stop", flush=True)
        server.wait()
