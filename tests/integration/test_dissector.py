"""spec/framelet.lua, run by tshark over captured and written traffic, shows the frames that were sent.

Needs tshark (``apt-get install tshark``); the tests of captured traffic also need to be allowed to capture.
"""

from __future__ import annotations

import json
import shutil
import signal
import struct
import subprocess
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from framelet import ErrorCode, FrameType, Role, TypeRange, encode, grammar
from framelet.limits import DEFAULT_MAX_BODY
from framelet.registry import type_kinds
from framelet_server import ListenError, Server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from tests.integration.conftest import Peer

    Connect = Callable[..., Peer]
    Dissect = Callable[..., "list[Packet]"]

ROOT = Path(__file__).parents[2]
TSHARK = shutil.which("tshark") or ""
PATIENCE = 20.0
PORT = 6666

pytestmark = pytest.mark.skipif(not TSHARK, reason="tshark is not installed: apt-get install tshark")

REFUSED_AT_HEADER = {ErrorCode.TYPE_UNKNOWN, ErrorCode.FRAME_TOO_LARGE}


# What tshark shows.


class Frame(NamedTuple):
    """A frame as it was sent or as it is shown: what an expert finds wrong is given by codes."""

    type: int
    length: int
    body: bytes = b""
    text: str | None = None
    code: int | None = None
    faults: frozenset[int] = frozenset()
    discarded: bytes = b""
    parameters: tuple[str, ...] = ()


class Packet(NamedTuple):
    """A segment: its number, the ports, the frames that are shown with it, and the summary."""

    number: int
    source: int
    target: int
    layers: list[dict[str, Any]]


def run_tshark(path: Path, *options: str) -> str:
    """What tshark with the dissector prints about a capture; a fault in the Lua code fails the test."""
    done = subprocess.run(
        [TSHARK, "-X", f"lua_script:{ROOT / 'spec' / 'framelet.lua'}", "-r", path, *options],
        capture_output=True,
        check=False,
        timeout=2 * PATIENCE,
    )
    assert done.returncode == 0, done.stderr.decode()
    output = done.stdout.decode()
    assert "Lua Error" not in output
    return output


def dissect(path: Path, *options: str) -> list[Packet]:
    """The packets that have frames, or octets behind a refused header."""
    shown = ["-Y", "framelet", "-T", "json", "--no-duplicate-keys", "-J", "frame tcp framelet"]
    packets = []
    for item in json.loads(run_tshark(path, *shown, *options)):
        layers = item["_source"]["layers"]
        found = layers["framelet"]
        packets.append(
            Packet(
                int(layers["frame"]["frame.number"]),
                int(layers["tcp"]["tcp.srcport"]),
                int(layers["tcp"]["tcp.dstport"]),
                found if isinstance(found, list) else [found],
            )
        )
    return packets


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def shown_frame(layer: dict[str, Any]) -> Frame:
    """A frame as tshark shows it."""
    fault_names = {f"framelet.fault.{code.name.lower()}": code for code in ErrorCode}
    experts = {name for expert in as_list(layer.get("_ws.expert", [])) for name in expert}
    text = layer.get("framelet.text", layer.get("framelet.error.text"))
    code = layer.get("framelet.error.code")
    return Frame(
        int(layer["framelet.type"], 16),
        int(layer["framelet.length"]),
        bytes.fromhex(layer.get("framelet.body", "").replace(":", "")),
        text,
        None if code is None else int(code),
        frozenset(fault_names[name] for name in experts & fault_names.keys()),
        bytes.fromhex(layer.get("framelet.discarded", "").replace(":", "")),
        tuple(as_list(layer.get("framelet.parameter", []))),
    )


def shown_stream(packets: Iterable[Packet], source: int, target: int) -> list[Frame]:
    """The frames from one port to another; octets behind a refused header are added to its frame."""
    frames: list[Frame] = []
    for packet in packets:
        if (packet.source, packet.target) == (source, target):
            for layer in packet.layers:
                if "framelet.type" in layer:
                    frames.append(shown_frame(layer))
                else:
                    rest = bytes.fromhex(layer["framelet.discarded"].replace(":", ""))
                    frames[-1] = frames[-1]._replace(discarded=frames[-1].discarded + rest)
    return frames


# What was sent, as the grammar has it.


def sent_stream(data: bytes, sender: Role) -> list[Frame]:
    """The frames of a stream up to the end of the last whole one."""
    frames: list[Frame] = []
    while len(data) >= grammar.FrameHeader.sizeof():
        header = grammar.FrameHeader.parse(data)
        rest = data[grammar.FrameHeader.sizeof() :]
        if type_kinds[header.type] in {TypeRange.NEVER, TypeRange.CRITICAL}:
            fault = ErrorCode.TYPE_UNKNOWN
            return [*frames, Frame(header.type, header.length, faults=frozenset({fault}), discarded=rest)]
        if header.length > DEFAULT_MAX_BODY:
            fault = ErrorCode.FRAME_TOO_LARGE
            return [*frames, Frame(header.type, header.length, faults=frozenset({fault}), discarded=rest)]
        if header.length > len(rest):
            break
        frames.append(sent_frame(header.type, rest[: header.length], sender))
        data = rest[header.length :]
    return frames


def sent_frame(octet: int, body: bytes, sender: Role) -> Frame:
    """A frame whose header no receiver refuses, with the first fault by the registry."""
    kind = type_kinds[octet]
    frame = Frame(octet, len(body), body)
    if kind is TypeRange.IGNORABLE:
        return frame
    fault, parsed = fault_of(kind, body, sender)
    if isinstance(kind, FrameType) and sender not in kind.senders:
        fault = ErrorCode.TYPE_UNEXPECTED
    frame = frame._replace(faults=frozenset({fault} if fault else ()))
    match kind:
        case _ if parsed is None:
            return frame
        case FrameType.ERROR:
            return frame._replace(code=parsed.code, text=shown(parsed.text))
        case FrameType.HELLO:
            return frame._replace(parameters=parameters_of(parsed.parameters))
        case FrameType.STOPPED:
            return frame._replace(parameters=parameters_of(parsed))
    return frame._replace(text=shown(parsed))


def fault_of(kind: Any, body: bytes, sender: Role) -> tuple[ErrorCode | None, Any]:
    """What the grammar finds wrong with a body, or the body as it parses it."""
    try:
        body.decode()
    except UnicodeDecodeError:
        return ErrorCode.ILL_FORMED_TEXT, None
    try:
        return None, grammar.parse_body(grammar.BODIES[kind], body)
    except ValueError:
        refusals = {FrameType.PING: ErrorCode.PING_TOO_LARGE, FrameType.HELLO: ErrorCode.HELLO_MALFORMED}
        return (refusals if sender is Role.CLIENT else {}).get(kind, ErrorCode.ANSWER_MALFORMED), None


def parameters_of(parameters: dict[str, str]) -> tuple[str, ...]:
    return tuple(f"{key}={value}" for key, value in parameters.items())


def shown(text: str) -> str:
    """Wireshark's strings end at U+0000, so that the dissector puts its picture there."""
    return text.replace("\0", "\N{SYMBOL FOR NULL}")


def comparable(frame: Frame) -> Frame:
    """Without what is shown of a faulty body: that depends on how far it could be read."""
    return frame._replace(parameters=(), text=None, code=None) if frame.faults else frame


def assert_same(shown_frames: list[Frame], sent_frames: list[Frame], name: object = None) -> None:
    assert list(map(comparable, shown_frames)) == list(map(comparable, sent_frames)), name


# Traffic written into a file, segment by segment.

Segment = tuple[Role, bytes]


def write_pcap(
    path: Path, streams: Iterable[Sequence[Segment]], *, port: int = PORT, snaplen: int = 1 << 18
) -> None:
    """Write a capture of raw IPv4 packets: stream n is between the server's port and port 20,000 + n."""
    packets = []
    for number, segments in enumerate(streams):
        sent = {Role.CLIENT: 1_000, Role.SERVER: 2_000}
        for sender, data in segments:
            receiver = Role.SERVER if sender is Role.CLIENT else Role.CLIENT
            ports = {Role.SERVER: port, Role.CLIENT: 20_000 + number}
            numbers = (ports[sender], ports[receiver], sent[sender], sent[receiver])
            tcp = struct.pack(">HHIIBBHHH", *numbers, 5 << 4, 0x18, 65_535, 0, 0)
            address = bytes([127, 0, 0, 1])
            total = 20 + len(tcp) + len(data)
            ip = struct.pack(">BBHHHBBH4s4s", 0x45, 0, total, 0, 0, 64, 6, 0, address, address)
            sent[sender] += len(data)
            packets.append(ip + tcp + data)
    with path.open("wb") as file:
        file.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, snaplen, 101))
        for time_in_ms, packet in enumerate(packets):
            seconds, rest = divmod(time_in_ms, 1_000)
            kept = packet[:snaplen]
            file.write(struct.pack("<IIII", seconds, rest * 1_000, len(kept), len(packet)) + kept)


@pytest.fixture
def show(tmp_path: Path) -> Callable[..., list[Packet]]:
    """``show(stream, ..., options=(), port=..., snaplen=...)`` writes streams into a file and dissects it."""

    def write_and_dissect(
        *streams: Sequence[Segment], options: Sequence[str] = (), **keywords: int
    ) -> list[Packet]:
        write_pcap(tmp_path / "written.pcap", streams, **keywords)
        return dissect(tmp_path / "written.pcap", *options)

    return write_and_dissect


def by_client(*pieces: bytes) -> list[Segment]:
    return [(Role.CLIENT, piece) for piece in pieces]


def by_server(*pieces: bytes) -> list[Segment]:
    return [(Role.SERVER, piece) for piece in pieces]


def text(kind: int, words: str = "") -> bytes:
    return encode(kind, words.encode())


# The vectors.

MOST_OCTETS = 200_000


def octets(value: str | list[dict[str, Any]]) -> bytes:
    if isinstance(value, str):
        return bytes.fromhex(value)
    return b"".join(
        bytes.fromhex(piece["hex"]) if "hex" in piece else bytes.fromhex(piece["repeat"]) * piece["times"]
        for piece in value
    )


def vectors() -> Iterator[tuple[str, Role, bytes]]:
    """The id of each vector, who sends, and the octets; without a few that are very long."""
    for path in sorted((ROOT / "spec" / "vectors").glob("*.json")):
        for vector in json.loads(path.read_text(encoding="utf-8"))["vectors"]:
            data = octets(vector["send"])
            if data and len(data) <= MOST_OCTETS:
                yield vector["id"], Role.CLIENT if vector["role"] == "server" else Role.SERVER, data


def cut(data: bytes, sizes: int) -> list[bytes]:
    return [data[start : start + sizes] for start in range(0, len(data), sizes)]


@pytest.mark.parametrize(("longest", "piece"), [(MOST_OCTETS, 60_000), (300, 7), (60, 1)])
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

GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
TOO_LARGE = bytes([FrameType.REQUEST]) + b"\xff\xff\xff\xff"


@pytest.mark.parametrize("passes", [[], ["-2"]])
@pytest.mark.parametrize(
    "pieces",
    [
        [GET[:3], GET[3:9], GET[9:]],
        [text(1, "ab") + TOO_LARGE + text(6, "x"), text(6, "y")],
        [text(1, "ab") + TOO_LARGE[:2], TOO_LARGE[2:] + text(6, "x"), text(6, "y")],
        [text(1, "ab")[:6], text(1, "ab")[6:] + bytes([0x7F, 0, 0, 0, 0]) + text(6, "x")],
    ],
)
@pytest.mark.req("REQ-TYPE-1", "REQ-SIZE-4", "REQ-ERROR-7")
def test_what_follows_a_refused_header_is_not_decoded(
    show: Dissect, pieces: list[bytes], passes: list[str]
) -> None:
    others = by_client(text(1, "fine")), by_server(text(2, "enif"))
    packets = show(by_client(*pieces), *others, options=passes)
    sent = sent_stream(b"".join(pieces), Role.CLIENT)
    assert_same(shown_stream(packets, 20_000, PORT), sent)
    assert sent[-1].discarded
    assert_same(shown_stream(packets, 20_001, PORT), sent_stream(text(1, "fine"), Role.CLIENT))
    assert_same(shown_stream(packets, PORT, 20_002), sent_stream(text(2, "enif"), Role.SERVER))


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
        ["Framelet", "ERROR(503 frame-too-large) ERROR(499 of a later version)"],
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


# Real traffic.


class Capture:
    """Captures what goes to and from a port of 127.0.0.1, between ``begin`` and ``end``."""

    def __init__(self, path: Path, port: int, probe: Peer) -> None:
        self.path = path
        self._probe = probe
        self._process = subprocess.Popen(
            [TSHARK, "-q", "-i", "lo", "-f", f"tcp port {port}", "-w", path],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )

    def begin(self) -> None:
        """Wait until what is sent is captured; skips the test where that is not allowed."""
        self._see(b"the capture has begun")

    def _see(self, mark: bytes) -> None:
        """Send a PING until both it and its PONG are in the file."""
        deadline = time.monotonic() + PATIENCE
        while not self.path.exists() or self.path.read_bytes().count(mark) < 2:
            if self._process.poll() is not None:
                _, errors = self._process.communicate()
                pytest.skip(f"tshark may not capture here: {' '.join(errors.decode().split())}")
            assert time.monotonic() < deadline, "nothing is captured"
            self._probe.send(encode(FrameType.PING, mark))
            self._probe.take(1)
            threading.Event().wait(0.02)  # the file is written every tenth of a second

    def end(self) -> Path:
        """Wait until all that was sent so far is in the file, and stop."""
        self._see(b"the capture ends")
        self.stop()
        return self.path

    def stop(self) -> None:
        self._process.send_signal(signal.SIGINT)
        self._process.communicate(timeout=PATIENCE)


@pytest.fixture
def served(serve: Callable[..., Server]) -> tuple[Server, int]:
    """A server and its port, below those that clients get: Wireshark looks up the lower port first."""
    for port in range(26_660, 26_760):
        try:
            return serve(address=("127.0.0.1", port)), port
        except ListenError:
            continue
    pytest.skip("no port between 26,660 and 26,759 is free")


@pytest.fixture
def capture(served: tuple[Server, int], connect: Connect, tmp_path: Path) -> Iterator[Capture]:
    server, port = served
    taken = Capture(tmp_path / "real.pcapng", port, connect(server))
    try:
        taken.begin()
        yield taken
    finally:
        taken.stop()


CONVERSATIONS: dict[str, list[bytes]] = {
    "text": [text(1, "h\N{LATIN SMALL LETTER E WITH ACUTE}\N{EURO SIGN}\N{GRINNING FACE}")],
    "empty, NUL, line ends": [text(1) + text(1, "a\0b\r\n\0")],
    "two frames in one segment": [text(1, "ab") + text(6, "c")],
    "one frame in many segments": [bytes([octet]) for octet in text(1, "hello")],
    "cut where no frame ends": [(text(1, "ab") + text(6, "c"))[:9], (text(1, "ab") + text(6, "c"))[9:]],
    "long": [text(1, "0123456789" * 30_000)],
    "ill-formed": [text(1, "ab") + encode(1, b"\xed\xa0\x80") + text(6, "end")],
    "HELLO": [text(8, "framelet/1 max-body=65536 name=x") + text(8, "framelet/1 ") + text(8, "framelet/2")],
    "application, ignorable": [text(0xC0, "x") + encode(0x80, b"\xff") + text(6, "end")],
    "PING too large": [text(6, "x" * 65)],
    "HTTP": [GET],
    "too large": [text(1, "ab") + TOO_LARGE],
    "wrong side": [text(1, "ab") + text(2, "ba")],
}


@pytest.mark.req("REQ-FRAME-1", "REQ-FRAME-4", "REQ-ORDER-1", "REQ-ERROR-1", "REQ-TYPE-1", "REQ-TEXT-2")
def test_captured_traffic_is_shown_as_it_was_sent(
    capture: Capture, served: tuple[Server, int], connect: Connect
) -> None:
    server, port = served
    conversations = {}
    for name, pieces in CONVERSATIONS.items():
        peer = connect(server)
        for piece in pieces:
            peer.send(piece)
            peer.await_receipt()  # so that each piece is a segment of its own
        peer.end()
        answers = b"".join(encode(*frame) for frame in peer.rest())
        conversations[name] = peer.sock.getsockname()[1], b"".join(pieces), answers
    packets = dissect(capture.end(), "-o", f"framelet.ports:{port}")
    for name, (source, asked, answers) in conversations.items():
        assert answers, name
        assert_same(shown_stream(packets, source, port), sent_stream(asked, Role.CLIENT), name)
        assert_same(shown_stream(packets, port, source), sent_stream(answers, Role.SERVER), name)

    def packets_of(name: str) -> list[int]:
        """How many frames each packet of the client has."""
        return [len(packet.layers) for packet in packets if packet.source == conversations[name][0]]

    assert packets_of("two frames in one segment") == [2]
    assert packets_of("one frame in many segments") == [1]
    assert packets_of("cut where no frame ends") == [1, 1]
