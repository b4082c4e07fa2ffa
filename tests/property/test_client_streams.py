"""The client's own readers agree with the plain definitions, on every octet string and however it is cut."""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from framelet import (
    ClientConnection,
    ClientConnectionLimits,
    Frame,
    FrameDecoder,
    FrameTooLargeError,
    IllFormedTextError,
    TypeRange,
    decode_text,
    encode,
)
from framelet.registry import type_kinds
from framelet_client.cli.decoding.dissect import DissectedFrame, Fault, dissect
from framelet_client.cli.decoding.octets import HexReader
from framelet_client.cli.line_source import LineSource

if TYPE_CHECKING:
    import random

MAX = 65_536

line_pieces = st.lists(st.one_of(st.binary(max_size=20), st.sampled_from([b"\n", b"ab\n", "é\n".encode()])))


@given(line_pieces)
def test_lines_are_those_of_a_split(pieces: list[bytes]) -> None:
    whole = b"".join(pieces)
    lines = whole.split(b"\n")
    if not lines[-1]:
        lines.pop()
    good = []
    for number, line in enumerate(lines, 1):
        try:
            good.append((number, decode_text(line)))
        except IllFormedTextError:
            continue

    skipped: list[int] = []
    read_end, write_end = os.pipe()
    source = LineSource(read_end, MAX, lambda line, _: skipped.append(line))
    connection = ClientConnection(ClientConnectionLimits(max_body=MAX), now=0.0)
    try:
        for piece in filter(None, pieces):
            os.write(write_end, piece)
            source.feed(connection, 10**6, 10**9)
    finally:
        os.close(write_end)
    while not source.exhausted:
        source.feed(connection, 10**6, 10**9)
    os.close(read_end)

    decoder = FrameDecoder()
    decoder.receive_data(connection.data_to_send(0.0))
    sent = [decode_text(frame.body) for frame in decoder.take_frames()]
    assert list(zip(source.unanswered, sent, strict=True)) == good
    assert sorted([*source.unanswered, *skipped]) == list(range(1, len(lines) + 1))


frames = st.builds(
    encode,
    st.sampled_from([*range(0x0B), 0x16, 0x47, 0x80, 0xBF, 0xC0, 0xFF]),
    st.one_of(st.binary(max_size=70), st.text(max_size=20).map(str.encode)),
)
streams = st.builds(
    lambda whole, tail: b"".join(whole) + tail, st.lists(frames, max_size=5), st.binary(max_size=12)
)


@given(streams)
@pytest.mark.req("REQ-FRAME-1", "REQ-FRAME-3")
def test_the_frames_shown_are_those_that_the_codec_finds(stream: bytes) -> None:
    found = list(dissect(io.BytesIO(stream), MAX))
    fault = found.pop() if found and isinstance(found[-1], Fault) else None
    shown = [one for one in found if isinstance(one, DissectedFrame)]
    assert len(shown) == len(found)  # a fault only stands at the end

    decoder = FrameDecoder(MAX)
    decoder.receive_data(stream)
    decoded: list[Frame] = []
    try:
        while (frame := decoder.next_frame()) is not None:
            decoded.append(frame)
    except FrameTooLargeError:
        assert fault is not None
    if fault is None:
        assert [(one.header[0], one.body) for one in shown] == decoded
        assert not decoder.inside_frame
    else:
        good = shown[:-1]
        assert [(one.header[0], one.body) for one in good] == decoded[: len(good)]
        assert shown[-1].offset <= fault.offset <= len(stream)
        assert sum(len(one.header) + len(one.body) for one in good) == shown[-1].offset


@given(streams)
def test_a_stream_without_fault_holds_nothing_that_is_refused(stream: bytes) -> None:
    found = list(dissect(io.BytesIO(stream), MAX))
    if found and isinstance(found[-1], Fault):
        return
    for one in found:
        assert isinstance(one, DissectedFrame)
        assert type_kinds[one.header[0]] not in (TypeRange.NEVER, TypeRange.CRITICAL)
        assert (one.parsed is None) == (one.kind is TypeRange.IGNORABLE)


@given(st.binary(max_size=50), st.randoms(use_true_random=False), st.integers(1, 60))
def test_digits_are_read_as_their_octets(octets: bytes, chance: random.Random, size: int) -> None:
    digits = "".join(digit + chance.choice(["", "", " ", "\n", "\t"]) for digit in octets.hex())
    reader = HexReader(io.BufferedReader(io.BytesIO(digits.encode()), buffer_size=7))
    read = b""
    while piece := reader.read(size):
        read += piece
        assert len(piece) == size or read == octets
    assert read == octets
