"""Many tasks ask over one connection, each with its own time-out.

python examples/asyncio_client.py [ADDRESS [TEXT...]]
"""

from __future__ import annotations

import asyncio
import sys

from framelet_client import AnswerError
from framelet_client.asyncio import Client, connect


async def ask(client: Client, text: str) -> str:
    """Ask for one reply; what is late costs the others nothing."""
    try:
        async with asyncio.timeout(5.0):
            return await client.request(text)
    except TimeoutError:
        return "no answer in time"
    except AnswerError as error:
        return f"refused: {error.code}"


async def main(address: str, texts: list[str]) -> None:
    """Ask for all texts together."""
    async with connect(address) as client:
        for reply in await asyncio.gather(*(ask(client, text) for text in texts)):
            print(reply)


if __name__ == "__main__":
    asyncio.run(
        main(sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:6666", sys.argv[2:] or ["hello", "world"])
    )
