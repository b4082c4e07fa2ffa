"""What spec/framelet.lua, run by tshark, shows of a capture, and what was sent, as the grammar has it.

Needs tshark (``apt-get install tshark``).
"""

from __future__ import annotations

import json
import shutil
import struct
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from framelet import ErrorCode, FrameType, Role, TypeRange, encode, grammar
from framelet.limits import DEFAULT_MAX_BODY
from framelet.registry import type_kinds

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

ROOT = Path(__file__).parents[2]
TSHARK = shutil.which("tshark") or ""
PATIENCE = 20.0
PORT = 6666

needs_tshark = pytest.mark.skipif(not TSHARK, reason="tshark is not installed: apt-get install tshark")

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


def by_client(*pieces: bytes) -> list[Segment]:
    return [(Role.CLIENT, piece) for piece in pieces]


def by_server(*pieces: bytes) -> list[Segment]:
    return [(Role.SERVER, piece) for piece in pieces]


def text(kind: int, words: str = "") -> bytes:
    return encode(kind, words.encode())


GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
TOO_LARGE = bytes([FrameType.REQUEST]) + b"\xff\xff\xff\xff"
