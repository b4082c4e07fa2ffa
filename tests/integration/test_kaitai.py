"""spec/framelet.ksy, compiled by the Kaitai compiler and run over the vectors, finds what the grammar finds.

Needs node, and ``npm install --prefix build/kaitai kaitai-struct-compiler@0.11 js-yaml@4``.
"""

from __future__ import annotations

import importlib.util
import itertools
import json
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from construct import ConstructError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from framelet import ErrorCode, FrameType, TypeRange, encode, grammar
from framelet.grammar import Hello
from framelet.registry import type_kinds
from framelet_conformance.expectations import octets

kaitaistruct = pytest.importorskip("kaitaistruct", reason="the Python package kaitaistruct is not installed")

ROOT = Path(__file__).parents[2]
MODULES = ROOT / "build" / "kaitai" / "node_modules"
NODE = shutil.which("node") or ""
INSTALL = "npm install --prefix build/kaitai kaitai-struct-compiler@0.11 js-yaml@4"

COMPILE = """
const [modules, source] = process.argv.slice(1);
const compiler = require(modules + "/kaitai-struct-compiler");
const tree = require(modules + "/js-yaml").load(require("fs").readFileSync(source, "utf8"));
compiler.compile("python", tree, null, false).then(files => process.stdout.write(files["framelet.py"]));
"""

pytestmark = [
    pytest.mark.skipif(not NODE, reason="node is not installed"),
    pytest.mark.skipif(
        not (MODULES / "kaitai-struct-compiler").is_dir() or not (MODULES / "js-yaml").is_dir(),
        reason=f"the Kaitai compiler is not there: {INSTALL}",
    ),
]

REFUSALS = (EOFError, UnicodeDecodeError, kaitaistruct.KaitaiStructError)
"""What the compiled parser raises: for octets that are missing, for ill-formed text, for all else."""

UNSAID = ("a key stands twice", "is not a number from", "closed and cut are missing")
"""Faults that the grammar finds and a Kaitai file cannot express; framelet.ksy says so."""


@pytest.fixture(scope="module")
def parser(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The class that the compiler makes of framelet.ksy."""
    command = [NODE, "-e", COMPILE, str(MODULES), str(ROOT / "spec" / "framelet.ksy")]
    done = subprocess.run(command, capture_output=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr.decode()
    path = tmp_path_factory.mktemp("kaitai") / "framelet_kaitai.py"
    path.write_bytes(done.stdout)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Framelet


# What the vectors hold.


class Stream(NamedTuple):
    """The octets that one end of a vector sends, as whole frames, and what is left of a last one."""

    frames: tuple[bytes, ...]
    rest: bytes


def split(data: bytes) -> Stream:
    """Cut octets into frames with the grammar."""
    frames, start = [], 0
    while start < len(data):
        try:
            header: Any = grammar.FrameHeader.parse(data[start : start + 5])
        except ConstructError:
            break
        end = start + 5 + header.length
        if end > len(data):
            break
        frames.append(data[start:end])
        start = end
    return Stream(tuple(frames), data[start:])


@cache
def streams() -> dict[str, Stream]:
    """What is sent in each vector, by its id, and what is expected where the vector gives the octets."""
    found = {}
    for path in sorted((ROOT / "spec" / "vectors").glob("*.json")):
        for vector in json.loads(path.read_text(encoding="utf-8"))["vectors"]:
            found[vector["id"]] = split(octets(vector["send"]))
            expected = [
                encode(FrameType[item["type"]], octets(item["body"]))
                for item in (*vector.get("asked", ()), *vector["expect"])
                if "body" in item and item["type"] in FrameType.__members__
            ]
            found[vector["id"] + ", expected"] = Stream(tuple(expected), b"")
    return found


def frames_of_vectors() -> set[bytes]:
    return set(itertools.chain.from_iterable(stream.frames for stream in streams().values()))


# The two descriptions side by side.


def content(body: Any) -> object:
    """A body that the compiled parser has read, as the grammar gives it."""
    if isinstance(body, bytes):
        return body
    match type(body).__name__:
        case "ErrorBody":
            return body.code, body.text
        case "HelloBody":
            return Hello(body.version.number, {item.key.text: item.value.text for item in body.parameters})
        case "StoppedBody":
            return {item.key.text: item.value.text for item in body.parameters}
    return body.value


def normal(body: Any) -> object:
    """The same of a body that the grammar has read."""
    return (body.code, body.text) if hasattr(body, "code") else body


def fault_of(frame: bytes) -> str | None:
    """Why the body of a frame is not of its form, as the grammar says it; None where it is."""
    form = grammar.BODIES.get(type_kinds[frame[0]])
    try:
        if form is not None:
            grammar.parse_body(form, frame[5:])
    except ValueError as fault:
        return str(fault)
    return None


def read(parser: Any, octets_of_frame: bytes) -> Any:
    """The frame as the compiled parser reads it, or None where it refuses the body."""
    try:
        (frame,) = parser.from_bytes(octets_of_frame).frames
    except REFUSALS:
        return None
    return frame


def compare(parser: Any, octets_of_frame: bytes) -> None:
    """Fail unless both read the same from a frame, or both refuse its body."""
    fault = fault_of(octets_of_frame)
    frame = read(parser, octets_of_frame)
    if frame is None:
        assert fault is not None, f"framelet.ksy alone refuses {octets_of_frame!r}"
        return
    assert fault is None or any(words in fault for words in UNSAID), f"framelet.ksy does not refuse: {fault}"
    raw: Any = grammar.RawFrame.parse(octets_of_frame)
    kind = type_kinds[raw.type]
    name = kind.name if isinstance(kind, FrameType) else kind.value
    assert (frame.type, frame.length) == (raw.type, raw.length)
    assert getattr(frame, "_raw_body", frame.body) == raw.body
    assert frame.kind.name == name.lower().replace(" ", "_")
    if fault is None and kind in grammar.BODIES:
        parsed: Any = grammar.Frame.parse(octets_of_frame)
        assert content(frame.body) == normal(parsed.body)


@pytest.mark.req("REQ-FRAME-1", "REQ-FRAME-2", "REQ-FRAME-3", "REQ-TEXT-1", "REQ-ERROR-1", "REQ-STOP-9")
def test_each_frame_of_the_vectors_is_read_as_the_grammar_reads_it(parser: Any) -> None:
    frames = frames_of_vectors()
    assert len(frames) > 500
    assert {type_kinds[frame[0]] for frame in frames} == {*FrameType, *TypeRange}
    for frame in frames:
        compare(parser, frame)


def test_each_stream_of_the_vectors_falls_into_the_same_frames(parser: Any) -> None:
    compared = 0
    for name, stream in streams().items():
        if not any(map(fault_of, stream.frames)):
            found = parser.from_bytes(b"".join(stream.frames)).frames
            assert [(frame.type, frame.length) for frame in found] == [
                (frame[0], len(frame) - 5) for frame in stream.frames
            ], name
            compared += 1
    assert compared > 500


def test_a_frame_cut_short_is_refused(parser: Any) -> None:
    cut = [stream for stream in streams().values() if stream.rest]
    assert len(cut) > 50
    for stream in cut:
        with pytest.raises(EOFError):
            parser.from_bytes(stream.rest)


def test_each_error_code_has_its_name_and_class(parser: Any) -> None:
    for code in ErrorCode:
        (frame,) = parser.from_bytes(encode(FrameType.ERROR, b"%d text" % code)).frames
        assert (frame.body.name.name.upper(), frame.body.is_fatal) == (code.name, code.fatal)


def test_each_type_is_read_as_the_grammar_reads_it(parser: Any) -> None:
    for octet in range(256):
        for body in (b"", b"text", b"\xff", b"503 text", b"framelet/1 key=value", b"closed=1 cut=0"):
            compare(parser, encode(octet, body))


WORDS = [
    "framelet/",
    "1",
    "65535",
    "0",
    " ",
    "k",
    "key",
    "K",
    "=",
    "-",
    "max-body=65536",
    "closed=1",
    "cut=2",
    "é",
]
bodies = st.one_of(
    st.lists(st.sampled_from(WORDS), max_size=8).map("".join),
    st.sampled_from([63, 64, 65, 1_023, 1_024, 1_025]).flatmap(
        lambda size: st.sampled_from(["", "503 ", "framelet/1 k=", "closed=1 cut=2 " + "k" * 31 + "="]).map(
            lambda start: start + "x" * (size - len(start))
        )
    ),
    st.integers(30, 34).map(lambda size: f"framelet/1 {'k' * size}=v"),
    st.text(max_size=20),
)


@given(kind=st.sampled_from(FrameType), body=bodies)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=1_000)
def test_bodies_that_are_nearly_right_are_judged_as_the_grammar_judges_them(
    parser: Any, kind: FrameType, body: str
) -> None:
    compare(parser, encode(kind, body.encode()))
