"""The codec, without sockets: beside the grammar that it is derived from, and by the size of a body."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from benchmarks.peers import FRAMELET
from benchmarks.processes import CORES, BenchmarkError, pinned
from benchmarks.suite import Row
from benchmarks.work import MEBI, ascii_text
from framelet import FrameDecoder, FrameType, encode, grammar

if TYPE_CHECKING:
    from benchmarks.suite import Bench

GROUP = "The codec alone"
FRAMES = 2_000
SEGMENT = 1448
"""Octets of body in a usual TCP segment."""


def implementations(bench: Bench) -> dict[str, str]:
    """Both, where Framelet is asked for."""
    if all(peer.name != FRAMELET for peer in bench.peers):
        return {}
    return {"codec": "codec", "grammar": "Construct grammar"}


def codec_only(bench: Bench) -> dict[str, str]:
    """The codec, where Framelet is asked for."""
    return {"codec": "codec"} if implementations(bench) else {}


def decoded(count: int, expected: int) -> None:
    """Check the work."""
    if count != expected:
        message = f"{count} frames were decoded instead of {expected}"
        raise BenchmarkError(message)


def decode_rate(_: Bench, name: str) -> float:
    """Frames for each second."""
    wire = encode(FrameType.REQUEST, ascii_text(64).encode()) * FRAMES
    with pinned(CORES.load):
        started = time.perf_counter()
        if name == "grammar":
            decoded(len(grammar.parse_body(grammar.RawFrame[FRAMES], wire)), FRAMES)
        else:
            decoder = FrameDecoder()
            decoder.receive_data(wire)
            decoded(len(decoder.take_frames()), FRAMES)
        return FRAMES / (time.perf_counter() - started)


def seconds_in_segments(size: int) -> float:
    """Seconds to take in one frame as the network brings it."""
    wire = encode(FrameType.REQUEST, bytes(size))
    decoder = FrameDecoder(max_body=size)
    started = time.perf_counter()
    for start in range(0, len(wire), SEGMENT):
        decoder.receive_data(wire[start : start + SEGMENT])
    decoded(len(decoder.take_frames()), 1)
    return time.perf_counter() - started


def growth(_: Bench, __: str) -> float:
    """The time of 64 MiB, over 64 times that of 1 MiB."""
    with pinned(CORES.load):
        return seconds_in_segments(64 * MEBI) / (64 * seconds_in_segments(MEBI))


CODEC_ROWS = (
    Row(
        "decode",
        GROUP,
        "frames of 64 octets",
        "frames/s",
        implementations,
        decode_rate,
        reference="grammar",
    ),
    Row(
        "decode-64m",
        GROUP,
        "64 MiB in segments: time over 64 times that of 1 MiB (linear: 1)",
        "ratio",
        codec_only,
        growth,
        less=True,
        rounds=3,
    ),
)
