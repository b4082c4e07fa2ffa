"""The server inside an asyncio loop as a command, for the suite.

With ``--await`` its handlers are ``async def``, and wait for one turn of the loop.
"""

import argparse
import asyncio
import pathlib
import signal
from collections.abc import Callable
from typing import Any

import framelet
from framelet_server import ServerLimits, StopKind, StopPolicy
from framelet_server.asyncio import serve


def _awaited(function: Callable[[str], str]) -> Callable[[str], Any]:
    async def handler(text: str) -> str:
        await asyncio.sleep(0)
        return function(text)

    return handler


async def main() -> None:
    """Serve until a drain has ended."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--stop", type=StopKind, default=StopKind.LOCAL)
    parser.add_argument("--stop-token-file", type=pathlib.Path)
    parser.add_argument("--application", default="")
    parser.add_argument("--await", dest="awaited", action="store_true")
    for info in ServerLimits.describe():
        parser.add_argument(info.option, type=info.kind, default=info.default)
    given = vars(parser.parse_args())
    function = _awaited if given["awaited"] else lambda function: function
    token = given["stop_token_file"].read_text().strip() if given["stop_token_file"] else ""
    names = range(0xC0, 0x100) if given["application"] else ()
    async with serve(
        function(framelet.reverse),
        ("127.0.0.1", given["port"]),
        handlers={number: function(getattr(framelet, given["application"])) for number in names},
        limits=ServerLimits(**{info.name: given[info.name] for info in ServerLimits.describe()}),
        stop_policy=StopPolicy(given["stop"], token),
    ) as server:
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, server.begin_drain)
        await server.wait()


if __name__ == "__main__":
    asyncio.run(main())
