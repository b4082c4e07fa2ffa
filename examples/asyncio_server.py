"""A server inside an asyncio loop: its handlers wait together, and nothing else waits for them.

python examples/asyncio_server.py [PORT]; SIGTERM, SIGINT or `framelet stop` end it in order.
"""

from __future__ import annotations

import asyncio
import signal
import sys

from framelet_server.asyncio import serve


async def look_up(text: str) -> str:
    """Answer a REQUEST, after a while that a database may take."""
    await asyncio.sleep(0.1)
    return text.upper()


def count_words(text: str) -> str:
    """Answer an application frame: what need not wait may be a plain function."""
    return str(len(text.split()))


async def main(port: int) -> None:
    """Serve until the end is asked for."""
    async with serve(look_up, ("127.0.0.1", port), handlers={0xC0: count_words}) as server:
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, server.begin_drain)
        print(f"listening on {server.address}", flush=True)
        await server.wait()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 6666))
