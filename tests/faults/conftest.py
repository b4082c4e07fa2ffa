"""The fixtures of the integration tests, for the tests in which something really fails."""

from tests.integration.conftest import (
    command,
    connect,
    connect_tls,
    gate,
    listen_on,
    poller,
    scripted_server,
    serve,
    until,
)

from .children import pool

__all__ = [
    "command",
    "connect",
    "connect_tls",
    "gate",
    "listen_on",
    "poller",
    "pool",
    "scripted_server",
    "serve",
    "until",
]
