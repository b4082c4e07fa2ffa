"""The vectors of spec/vectors, read and played against a peer that a command starts."""

import functools
import itertools
import json
import pathlib
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

ROOT = pathlib.Path(__file__).parents[2]
WAIT = 5.0  # seconds for what must come
SERVER = [sys.executable, "-m", "tests.mutants.reference_server"]
CLIENT = [sys.executable, "-m", "tests.mutants.reference_client"]
TYPES = {"REQUEST": 1, "REPLY": 2, "STOP": 3, "STOPPED": 4, "ERROR": 5, "PING": 6, "PONG": 7, "HELLO": 8}
PING = bytes.fromhex("0600000003656e64")
PONG = bytes.fromhex("0700000003656e64")

Vector = dict[str, Any]
Frame = tuple[int, bytes]


@functools.cache
def load(role: str) -> list[Vector]:
    """All vectors for a role."""
    files = sorted((ROOT / "spec" / "vectors").glob("*.json"))
    topics = [json.loads(path.read_text(encoding="utf-8"))["vectors"] for path in files]
    return [vector for vector in itertools.chain(*topics) if vector["role"] == role]


def octets(text: str | list[dict[str, Any]]) -> bytes:
    """The octets that a string of hexadecimal digits, or a list of pieces, stands for."""
    if isinstance(text, str):
        return bytes.fromhex(text)
    return b"".join(bytes.fromhex(p["hex"] if "hex" in p else p["repeat"] * p["times"]) for p in text)


def expanded(expect: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The list with each entry as often as its `times` says."""
    return [entry for entry in expect for _ in range(entry.get("times", 1))]


def type_of(name: str) -> int:
    """The type octet of a name, or of two hexadecimal digits."""
    return TYPES[name] if name in TYPES else int(name, 16)


def pack(kind: int, body: bytes = b"") -> bytes:
    """One frame."""
    return bytes([kind]) + len(body).to_bytes(4, "big") + body


def parameters(body: bytes) -> dict[str, str]:
    """The parameters of a HELLO or STOPPED."""
    return dict(word.split("=", 1) for word in body.decode().split() if "=" in word)


class Wire:
    """A plain connection; whole frames out of it, and how it ended."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._octets = b""

    def frame(self, wait: float = WAIT) -> Frame | None:
        """The next frame, or None at the end of the stream.  Raises TimeoutError, ConnectionError."""
        deadline = time.monotonic() + wait
        while len(self._octets) < 5 or len(self._octets) < 5 + int.from_bytes(self._octets[1:5], "big"):
            self.sock.settimeout(max(0.001, deadline - time.monotonic()))
            more = self.sock.recv(1 << 20)
            if not more:
                assert not self._octets, f"the stream ended inside a frame: {self._octets[:40]!r}"
                return None
            self._octets += more
        end = 5 + int.from_bytes(self._octets[1:5], "big")
        frame, self._octets = self._octets[:end], self._octets[end:]
        return frame[0], frame[5:]

    def frames(self, wait: float = WAIT) -> list[Frame]:
        """All frames until the end of the stream."""
        return list(iter(lambda: self.frame(wait), None))


@contextmanager
def server(*options: str, bug: str | None = None) -> Iterator[tuple[int, "subprocess.Popen[str]"]]:
    """A reference server of its own: its port and its process."""
    command = [*SERVER, *options, *(["--bug", bug] if bug else [])]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("listening on 127.0.0.1:"), f"the server did not start: {line!r}"
        yield int(line.rpartition(":")[2]), process
    finally:
        process.kill()
        process.communicate()


def server_options(needs: dict[str, Any]) -> tuple[str, ...]:
    """The options that set a server up as a vector needs it."""
    policy, _, token = needs.get("stop", "local").partition(":")
    return (
        f"--max-body={needs.get('max_body', 16_777_216)}",
        f"--stop={policy}",
        f"--stop-token={token}",
        f"--application={needs.get('application', 'none')}",
    )


def ends_server(vector: Vector) -> bool:
    """Whether the server ends, so that the vector needs one of its own."""
    return any(entry["type"] == "STOPPED" for entry in vector["expect"])


def play_to_server(vector: Vector, port: int, *, cut: int = 0, wait: float = WAIT) -> None:
    """Play a vector; AssertionError, TimeoutError or ConnectionError where the server does something else.

    Every `cut` octets begin a new segment; with 0 there is one.
    """
    send = octets(vector["send"])
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.settimeout(wait)
        for start in range(0, len(send), cut or len(send) or 1):
            sock.sendall(send[start : start + (cut or len(send))])
        if vector["eof"]:
            sock.shutdown(socket.SHUT_WR)
        wire = Wire(sock)
        for entry in expanded(vector["expect"]):
            compare(entry, wire.frame(wait))
        if vector["then"] == "open":
            sock.sendall(PING)
            assert wire.frame(wait) == (TYPES["PONG"], b"end")
        else:
            assert wire.frame(wait) is None


def compare(entry: dict[str, Any], frame: Frame | None) -> None:
    """Hold a frame against an entry of `expect`."""
    assert frame is not None, f"the end of the stream in place of {entry}"
    kind, body = frame
    assert kind == type_of(entry["type"])
    if entry["type"] == "ERROR":
        assert re.match(rb"%d " % entry["code"], body)
        assert len(body) <= 1024
        body.decode()
    elif "parameters" in entry:
        assert entry["parameters"].items() <= parameters(body).items()
    else:
        assert body == octets(entry["body"])


@contextmanager
def client(
    order: dict[str, Any], *, bug: str | None = None
) -> Iterator[tuple[Wire, "subprocess.Popen[str]"]]:
    """A reference client at work on an order, and the server's end of its connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener, tempfile.TemporaryFile("w+") as stdin:
        json.dump(order, stdin)
        stdin.seek(0)
        listener.settimeout(WAIT)
        command = [*CLIENT, "127.0.0.1", str(listener.getsockname()[1]), *(["--bug", bug] if bug else [])]
        with subprocess.Popen(command, cwd=ROOT, stdin=stdin, stdout=subprocess.PIPE, text=True) as process:
            try:
                sock, _ = listener.accept()
                with sock:
                    yield Wire(sock), process
            finally:
                process.kill()


def report(
    process: "subprocess.Popen[str]", wait: float = WAIT
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """What the client printed: one outcome for each frame, and how it ended."""
    lines = [json.loads(line) for line in process.communicate(timeout=wait)[0].splitlines()]
    assert lines, "the client printed nothing"
    return lines[:-1], lines[-1]


def play_to_client(vector: Vector, *, bug: str | None = None, wait: float = WAIT) -> None:
    """Play a vector; the PING that tells whether the connection is open is asked for behind the others."""
    asked = expanded(vector["asked"])
    order = {
        "ask": [*asked, {"type": "PING", "body": "656e64"}],
        "pipeline": True,
        "max_body": vector.get("needs", {}).get("max_body"),
        "answer_timeout": 60,  # so that the client does not end before it is given up
    }
    with client(order, bug=bug) as (wire, process):
        for ask in asked:
            frame = wire.frame(wait)
            assert frame is not None
            assert frame[0] == type_of(ask["type"])
            assert ask["type"] == "HELLO" or frame[1] == octets(ask["body"])
        assert wire.frame(wait) == (TYPES["PING"], b"end")
        is_open = vector["then"] == "open"
        try:
            wire.sock.sendall(octets(vector["send"]) + (PONG if is_open else b""))
            if vector["eof"]:
                wire.sock.shutdown(socket.SHUT_WR)
            assert wire.frame(wait) is None
        except ConnectionError:
            assert not is_open
        wire.sock.close()
        outcomes, ending = report(process, wait)
    assert len(outcomes) == len(asked) + 1
    for entry, outcome in zip(expanded(vector["expect"]), outcomes, strict=False):
        compare_outcome(entry, outcome)
    assert outcomes[-1].get("answer") == ("656e64" if is_open else None)
    assert ending["fatal"] == vector.get("fatal")


def compare_outcome(entry: dict[str, Any], outcome: dict[str, Any]) -> None:
    """Hold what a client reports against an entry of `expect`."""
    if entry["type"] == "FAILED":
        assert "failed" in outcome
    elif entry["type"] == "ERROR":
        assert outcome == {"error": entry["code"]}
    elif "parameters" in entry:
        assert entry["parameters"].items() <= parameters(bytes.fromhex(outcome.get("answer", ""))).items()
    else:
        assert outcome == {"answer": octets(entry["body"]).hex()}
