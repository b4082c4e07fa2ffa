"""What a fuzz input means: steps for the program's side, and the octets that the peer sends.

The first octet counts the steps, an octet each; the rest is the stream.  So a fuzzer that changes one octet
changes one thing, and any octets at all are an input.
"""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from construct import StreamError

from framelet import HEADER_SIZE, FrameType, grammar
from framelet_conformance.expectations import octets

if TYPE_CHECKING:
    from collections.abc import Iterator

MOST_STEPS = 255
LARGEST_SEED = 1_500
"""Octets of a vector above which it is no seed: a fuzzer gets nowhere with long inputs."""

CORPUS = Path(__file__).with_name("corpus")
"""The inputs that are kept: in a folder for each target, the fewest that reach everything reached so far."""

_VECTORS = Path(__file__).parents[2] / "spec" / "vectors"


class Input(NamedTuple):
    """One input, taken apart."""

    steps: bytes
    stream: bytes


def read(data: bytes) -> Input:
    """Take an input apart."""
    count = data[0] if data else 0
    return Input(data[1 : 1 + count], data[1 + count :])


def write(steps: bytes, stream: bytes) -> bytes:
    """Put an input together."""
    assert len(steps) <= MOST_STEPS
    return bytes([len(steps)]) + steps + stream


class Found(NamedTuple):
    """A header in a stream with its frame's body, or None where the stream ends before the body does."""

    start: int
    type: int
    length: int
    body: bytes | None

    @property
    def header_end(self) -> int:
        return self.start + HEADER_SIZE

    @property
    def end(self) -> int:
        return self.header_end + self.length


def frames_of(stream: bytes) -> Iterator[Found]:
    """All frames of a stream as the Construct grammar reads them; the last one may be without its body."""
    source = io.BytesIO(stream)
    while True:
        start = source.tell()
        try:
            header: Any = grammar.FrameHeader.parse_stream(source)
        except StreamError:
            return
        source.seek(start)
        try:
            frame: Any = grammar.RawFrame.parse_stream(source)
        except StreamError:
            yield Found(start, header.type, header.length, None)
            return
        yield Found(start, frame.type, frame.length, frame.body)


def kept(name: str) -> list[bytes]:
    """The inputs of a target that are kept."""
    return [path.read_bytes() for path in sorted((CORPUS / name).iterdir())]


class Vector(NamedTuple):
    """What a test vector of the specification is to a fuzzer."""

    id: str
    asked: list[tuple[int, str]]  # types, and texts where the vector has one
    stream: bytes


def vectors(role: str) -> Iterator[Vector]:
    """The small test vectors for an endpoint."""
    for path in sorted(_VECTORS.glob("*.json")):
        for vector in json.loads(path.read_text(encoding="utf-8"))["vectors"]:
            stream = octets(vector["send"])
            if vector["role"] == role and len(stream) <= LARGEST_SEED:
                asked = [_frame(frame) for frame in vector.get("asked", [])]
                yield Vector(vector["id"], asked, stream)


def _frame(frame: dict[str, Any]) -> tuple[int, str]:
    name = frame["type"]
    kind = int(FrameType[name]) if name in FrameType.__members__ else int(name, 16)
    return kind, octets(frame.get("body", "")).decode()
