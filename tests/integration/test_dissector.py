"""spec/framelet.lua, run by tshark over written traffic, shows the frames that were sent."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from framelet import ErrorCode, FrameType, Role
from framelet.registry import type_kinds
from framelet_conformance.expectations import octets

from .dissecting import (
    GET,
    PORT,
    ROOT,
    TOO_LARGE,
    Packet,
    assert_same,
    by_client,
    by_server,
    dissect,
    needs_tshark,
    run_tshark,
    sent_stream,
    shown_frame,
    shown_stream,
    text,
    write_pcap,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from .dissecting import Segment

    Dissect = Callable[..., list[Packet]]

pytestmark = needs_tshark


@pytest.fixture
def show(tmp_path: Path) -> Callable[..., list[Packet]]:
    """``show(stream, ..., options=(), port=..., snaplen=...)`` writes streams into a file and dissects it."""

    def write_and_dissect(
        *streams: Sequence[Segment], options: Sequence[str] = (), **keywords: int
    ) -> list[Packet]:
        write_pcap(tmp_path / "written.pcap", streams, **keywords)
        return dissect(tmp_path / "written.pcap", *options)

    return write_and_dissect


# The vectors.

MOST_OCTETS = 200_000


def vectors() -> Iterator[tuple[str, Role, bytes]]:
    """The id of each vector, who sends, and the octets; without a few that are very long."""
    for path in sorted((ROOT / "spec" / "vectors").glob("*.json")):
        for vector in json.loads(path.read_text(encoding="utf-8"))["vectors"]:
            data = octets(vector["send"])
            if data and len(data) <= MOST_OCTETS:
                yield vector["id"], Role.CLIENT if vector["role"] == "server" else Role.SERVER, data


def cut(data: bytes, sizes: int) -> list[bytes]:
    return [data[start : start + sizes] for start in range(0, len(data), sizes)]


@pytest.mark.parametrize(
    ("longest", "piece"),
    [pytest.param(MOST_OCTETS, 60_000, marks=pytest.mark.slow), (300, 7), (60, 1)],
)
@pytest.mark.req("REQ-FRAME-1", "REQ-FRAME-2", "REQ-FRAME-3", "REQ-FRAME-4", "REQ-TEXT-1", "REQ-ERROR-1")
def test_the_vectors_are_shown_as_the_grammar_reads_them(show: Dissect, longest: int, piece: int) -> None:
    chosen = [item for item in vectors() if len(item[2]) <= longest]
    assert len(chosen) > 800
    packets = show(*([(sender, part) for part in cut(data, piece)] for _, sender, data in chosen))
    for number, (name, sender, data) in enumerate(chosen):
        ports = [20_000 + number, PORT]
        source, target = ports if sender is Role.CLIENT else reversed(ports)
        assert_same(shown_stream(packets, source, target), sent_stream(data, sender), name)


NEARLY_RIGHT = [
    *(text(5, f"50{'3 ' + 'x' * size}") for size in (1_018, 1_019, 1_020, 1_021)),
    *(text(5, words) for words in ("400", "400 ", "4oo x", "300 x", "600 x", "4000 x", " 400 x", "")),
    *(text(4, words) for words in ("closed=1", "cut=1", "cut=1 closed=2", "closed=1 cut=2 k=v", "")),
    *(
        text(4, words)
        for words in ("closed=1 cut=2 cut=2", "closed=01 cut=2", "closed=1  cut=2", "closed=1 cut=")
    ),
    *(text(7, "x" * size) for size in (64, 65)),
    *(text(8, words) for words in ("framelet/2 k=v", "framelet/1 k=v ", "framelet/01", "Framelet/1", "")),
]


@pytest.mark.req("REQ-ERROR-1", "REQ-ERROR-14", "REQ-STOP-9")
def test_answers_that_are_nearly_right_are_judged_as_the_grammar_judges_them(show: Dissect) -> None:
    packets = show(*(by_server(frame) for frame in NEARLY_RIGHT))
    for number, frame in enumerate(NEARLY_RIGHT):
        assert_same(shown_stream(packets, PORT, 20_000 + number), sent_stream(frame, Role.SERVER), frame)


# Refusals, order, summaries, options.


REFUSED = [
    [GET[:3], GET[3:9], GET[9:]],
    [text(1, "ab") + TOO_LARGE + text(6, "x"), text(6, "y")],
    [text(1, "ab") + TOO_LARGE[:2], TOO_LARGE[2:] + text(6, "x"), text(6, "y")],
    [text(1, "ab")[:6], text(1, "ab")[6:] + bytes([0x7F, 0, 0, 0, 0]) + text(6, "x")],
]


@pytest.mark.parametrize("passes", [[], ["-2"]])
@pytest.mark.req("REQ-TYPE-1", "REQ-SIZE-4", "REQ-ERROR-7")
def test_what_follows_a_refused_header_is_not_decoded(show: Dissect, passes: list[str]) -> None:
    others = by_client(text(1, "fine")), by_server(text(2, "enif"))
    packets = show(*others, *(by_client(*pieces) for pieces in REFUSED), options=passes)
    assert_same(shown_stream(packets, 20_000, PORT), sent_stream(text(1, "fine"), Role.CLIENT))
    assert_same(shown_stream(packets, PORT, 20_001), sent_stream(text(2, "enif"), Role.SERVER))
    for number, pieces in enumerate(REFUSED, 20_002):
        sent = sent_stream(b"".join(pieces), Role.CLIENT)
        assert_same(shown_stream(packets, number, PORT), sent)
        assert sent[-1].discarded


@pytest.mark.req("REQ-ORDER-2", "REQ-ORDER-6", "REQ-ERROR-12", "REQ-TYPE-3")
def test_each_answer_is_linked_with_the_frame_that_it_answers(show: Dissect) -> None:
    first = [
        *by_client(text(1, "ab") + text(0x80) + text(6, "c")),  # packet 1
        *by_server(text(2, "ba")),  # 2
        *by_client(text(0xC0)),  # 3
        *by_server(text(0x81) + text(7, "c") + text(5, "404 none")),  # 4
        *by_client(text(8, "framelet/1") + text(3)),  # 5
        *by_server(text(8, "framelet/1") + text(5, "500 failed")),  # 6
    ]
    second = [*by_client(text(1, "x")), *by_server(text(2, "x"))]  # 7, 8
    packets = show(first, second, options=["-2"])
    links = {
        packet.number: [
            (
                int(layer["framelet.type"], 16),
                layer.get("framelet.answered_in"),
                layer.get("framelet.answers"),
            )
            for layer in packet.layers
        ]
        for packet in packets
    }
    assert links == {
        1: [(1, "2", None), (0x80, None, None), (6, "4", None)],
        2: [(2, None, "1")],
        3: [(0xC0, "4", None)],
        4: [(0x81, None, None), (7, None, "1"), (5, None, "3")],
        5: [(8, "6", None), (3, None, None)],
        6: [(8, None, "5"), (5, None, None)],  # a fatal ERROR answers nothing
        7: [(1, "8", None)],
        8: [(2, None, "7")],
    }
    times = [layer.get("framelet.time") for packet in packets for layer in packet.layers]
    assert [time for time in times if time] == [f"0.00{ms}000000" for ms in (1, 3, 1, 1, 1)]


def test_the_summary_names_each_frame_of_a_packet(tmp_path: Path) -> None:
    asked = by_client(text(1, "ab")[:6], text(1, "ab")[6:] + text(6, "c") + text(0x80, "xyz"), GET, GET)
    answered = by_server(text(5, "503 too large") + text(5, "499 later"))
    write_pcap(tmp_path / "written.pcap", [asked, answered])
    output = run_tshark(
        tmp_path / "written.pcap", "-T", "fields", "-e", "_ws.col.Protocol", "-e", "_ws.col.Info"
    )
    summaries = [line.split("\t") for line in output.splitlines()]
    assert [[word.strip() for word in line] for line in summaries if line[0] == "Framelet"] == [
        ["Framelet", "REQUEST(2) PING(1) ignorable(3)"],
        ["Framelet", "never assigned(refused)"],
        ["Framelet", "behind a refused header"],
        ["Framelet", "ERROR(503 frame-too-large) ERROR(499 application)"],
    ]


def test_each_error_code_has_its_name_and_class(tmp_path: Path) -> None:
    path = tmp_path / "written.pcap"
    write_pcap(path, [by_server(text(5, f"{code:d} words")) for code in ErrorCode])
    for fatal, severity in ((True, "framelet.error.fatal"), (False, "framelet.error.recoverable")):
        lines = [line.strip() for line in run_tshark(path, "-O", "framelet", "-Y", severity).splitlines()]
        assert [line for line in lines if line.startswith("Code: ")] == [
            f"Code: {code.title} ({code:d})" for code in ErrorCode if code.fatal is fatal
        ]


def test_each_type_has_its_name(tmp_path: Path) -> None:
    path = tmp_path / "written.pcap"
    write_pcap(path, [by_client(text(octet)) for octet in range(256)])
    lines = [line.strip() for line in run_tshark(path, "-O", "framelet").splitlines()]
    assert [line for line in lines if line.startswith("Type: ")] == [
        f"Type: {kind.name if isinstance(kind, FrameType) else kind.value} (0x{octet:02x})"
        for octet, kind in sorted(type_kinds.items())
    ]


def test_ports_are_a_preference_and_decode_as_takes_any(show: Dissect) -> None:
    stream = by_client(text(1, "ab"))
    assert len(show(stream)) == 1
    assert show(stream, port=7_000) == []
    assert len(show(stream, port=7_000, options=["-d", "tcp.port==7000,framelet"])) == 1
    preference = ["-o", "framelet.ports:6000,7000-7010"]
    assert len(show(stream, port=7_000, options=preference)) == 1
    assert show(stream, options=preference) == []


@pytest.mark.req("REQ-SIZE-2")
def test_the_maximum_body_size_is_a_preference(show: Dissect) -> None:
    (packet,) = show(by_client(text(1, "abc") + text(1, "abcd")), options=["-o", "framelet.max_body:3"])
    assert [shown_frame(layer).faults for layer in packet.layers] == [set(), {ErrorCode.FRAME_TOO_LARGE}]


def test_a_packet_that_was_not_captured_whole_does_no_harm(show: Dissect) -> None:
    packets = show(by_client(text(1, "a" * 100), text(1, "b"), text(1, "c") + text(1, "d" * 100)), snaplen=80)
    found = shown_stream(packets, 20_000, PORT)
    assert [(frame.length, frame.text) for frame in found] == [(100, None), (1, "b"), (1, "c"), (100, None)]
