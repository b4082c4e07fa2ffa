"""A server with handlers of its own: REQUEST in capitals, application type C0 counts words."""

from __future__ import annotations

from framelet_server import Server


def shout(text: str) -> str:
    """Answer a REQUEST."""
    return text.upper()


def count_words(text: str) -> str:
    """Answer an application frame."""
    return str(len(text.split()))


if __name__ == "__main__":
    with Server(("127.0.0.1", 6666), shout, handlers={0xC0: count_words}) as server:
        print(f"listening on {server.address}; end it with: framelet stop")
        server.wait()
