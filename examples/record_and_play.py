"""Record what a client and a server say, and play the client's part again.

python examples/record_and_play.py record FILE PORT HOST:PORT   (one client, then it ends)
python examples/record_and_play.py play FILE HOST:PORT          (exit status 1 where the answers differ)

A line of the file is a frame: ``>`` to the server or ``<`` from it, type and body in hexadecimal.
"""

from __future__ import annotations

import socket
import sys
import threading
from pathlib import Path
from typing import TextIO

from framelet import Frame, FrameDecoder, encode, parse_address
from framelet.limits import DEFAULT_MAX_BODY


def connect(address: str) -> socket.socket:
    """A connection to a server."""
    host, port = str(parse_address(address)).removeprefix("framelet://").rsplit(":", 1)
    return socket.create_connection((host, int(port)))


def pump(source: socket.socket, target: socket.socket, arrow: str, file: TextIO) -> None:
    """Pass on all octets as they come, and write down the frames that they make."""
    decoder = FrameDecoder(DEFAULT_MAX_BODY)
    while data := source.recv(65_536):
        decoder.receive_data(data)
        file.writelines(f"{arrow} {frame.type:02x} {frame.body.hex()}\n" for frame in decoder.take_frames())
        target.sendall(data)  # only now, so that the file has what was asked before what was answered
    target.shutdown(socket.SHUT_WR)


def record(path: Path, port: int, address: str) -> None:
    """Stand between one client and a server."""
    with socket.create_server(("127.0.0.1", port)) as listener:
        print(f"listening on 127.0.0.1:{listener.getsockname()[1]}", flush=True)
        client, _ = listener.accept()
    with client, connect(address) as server, path.open("w", encoding="ascii", buffering=1) as file:
        answers = threading.Thread(target=pump, args=(server, client, "<", file))
        answers.start()
        pump(client, server, ">", file)
        answers.join()


def say(server: socket.socket, octets: bytes) -> None:
    """Send all, and the end."""
    server.sendall(octets)
    server.shutdown(socket.SHUT_WR)


def play(path: Path, address: str) -> bool:
    """Say to a server what the client said; whether it answers as it did."""
    lines = [line.split() for line in path.read_text(encoding="ascii").splitlines()]
    frames = [(way, Frame(int(kind, 16), bytes.fromhex("".join(body)))) for way, kind, *body in lines]
    got: list[Frame] = []
    decoder = FrameDecoder(DEFAULT_MAX_BODY)
    with connect(address) as server:
        asked = b"".join(encode(frame.type, frame.body) for way, frame in frames if way == ">")
        sender = threading.Thread(target=say, args=(server, asked))
        sender.start()
        while data := server.recv(65_536):
            decoder.receive_data(data)
            got += decoder.take_frames()
        sender.join()
    return got == [frame for way, frame in frames if way == "<"]


if __name__ == "__main__":
    if sys.argv[1] == "record":
        record(Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
    else:
        sys.exit(not play(Path(sys.argv[2]), sys.argv[3]))
