"""The main job, from end to end: a server, clients, texts there and back, and a STOP."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from framelet_client import Client
from framelet_server import Server, ServerLimits


def main() -> None:
    """Serve, send, show."""
    with Server(("127.0.0.1", 0), limits=ServerLimits(threads=4)) as server:
        host = str(server.address)
        print(f"server    listening on {host}")
        with Client(host) as client:
            print("client    Hello CPHBusiness")
            print(f"server    {client.request('Hello CPHBusiness')}")

        def ask(number: int) -> bool:
            texts = [f"client {number}, text {index}: åß∂ 🙂" for index in range(100)]
            with Client(host) as client:
                return list(client.pipeline(texts)) == [text[::-1] for text in texts]

        with ThreadPoolExecutor(50) as clients:
            right = sum(clients.map(ask, range(50)))
        print(f"clients   {right} of 50 at once got 100 right replies each, in order")

        with Client(host) as client:
            stopped = client.stop()
        print(f"client    STOP: the server drained, {stopped.closed} closed, {stopped.cut} cut off")


if __name__ == "__main__":
    main()
