"""Reference servers that the tests share, one for each way to set a server up."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from .vectors import server, server_options


@pytest.fixture(scope="session")
def shared_server() -> Iterator[Callable[[dict[str, Any]], int]]:
    """Gives the port of a correct server that is set up as a vector needs it."""
    ports: dict[tuple[str, ...], int] = {}
    with ExitStack() as stack:

        def port(needs: dict[str, Any]) -> int:
            options = server_options(needs)
            if options not in ports:
                ports[options] = stack.enter_context(server(*options))[0]
            return ports[options]

        yield port
