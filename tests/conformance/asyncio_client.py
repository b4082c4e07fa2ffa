"""The adapter by which the suite drives ``framelet_client.asyncio``: each frame is asked by a task."""

import asyncio
import json
import sys
from typing import Any

from examples.conformance_adapter import report

from framelet import FrameletError
from framelet_client import AnswerError, ClientLimits, ConnectError, FatalAnswerError
from framelet_client.asyncio import Client


async def ask(client: Client, asked: dict[str, str]) -> dict[str, Any]:
    """Ask for one frame; what to print for its answer."""
    name, text = asked["type"], bytes.fromhex(asked["body"]).decode(errors="surrogateescape")
    try:
        if name == "HELLO":
            return report(await client.hello())
        if name == "PING":
            await client.ping(text)
            return report(text)
        if name in {"REQUEST", "STOP"}:
            return report(await getattr(client, name.lower())(text))
        return report(await client.send(int(name, 16), text))
    except AnswerError as error:
        return {"error": int(error.code)}


async def converse(host: str, port: int, job: dict[str, Any]) -> None:
    """Hold one conversation and print what came of it."""
    limits = ClientLimits(answer_timeout=job["answer_timeout"])
    if job["max_body"] is not None:
        limits = limits.replace(max_body=job["max_body"])
    fatal = None
    client = Client(host, port, limits=limits)
    try:
        await client.open()
    except ConnectError as error:  # a server may reset what it has just accepted
        for _ in job["ask"]:
            print(json.dumps({"failed": str(error)}))  # noqa: T201 - the report
        print(json.dumps({"fatal": None, "closed": True}))  # noqa: T201 - the report
        return
    for turn in [job["ask"]] if job["pipeline"] else [[asked] for asked in job["ask"]]:
        for found in await asyncio.gather(*(ask(client, asked) for asked in turn), return_exceptions=True):
            if isinstance(found, FatalAnswerError):
                fatal = found.code
            if isinstance(found, FrameletError):
                found = {"failed": str(found)}  # noqa: PLW2901 - what there is to print
            elif isinstance(found, BaseException):
                raise found
            print(json.dumps(found))  # noqa: T201 - the report
    await client.close()
    print(json.dumps({"fatal": fatal, "closed": client.closed}))  # noqa: T201 - the report


async def main() -> None:
    """Read what is asked, and hold as many conversations."""
    job = json.load(sys.stdin)
    for _ in range(job.get("repeat", 1)):
        await converse(sys.argv[1], int(sys.argv[2]), job)


if __name__ == "__main__":
    asyncio.run(main())
