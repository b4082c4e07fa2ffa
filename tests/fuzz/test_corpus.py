"""The fuzzers' checks on everything that they have kept, and on their seeds; without atheris."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from framelet import ClientConnection, Frame, FrameDecoder, ServerConnection

from . import client_check, codec_check, inputs, server_check

TARGETS: dict[str, Any] = {"codec": codec_check, "server": server_check, "client": client_check}
LARGEST_CORPUS = 300_000

each_target = pytest.mark.parametrize("name", TARGETS)


@each_target
@pytest.mark.req("REQ-FRAME-4", "REQ-SIZE-4", "REQ-SIZE-5", "REQ-ORDER-1", "REQ-ORDER-2", "REQ-ERROR-6")
def test_everything_that_was_kept_is_handled(name: str) -> None:
    for data in inputs.kept(name):
        run(name, data)


@each_target
def test_the_vectors_are_handled_at_once_and_in_pieces(name: str) -> None:
    for data in TARGETS[name].seeds():
        run(name, data)


def run(name: str, data: bytes) -> None:
    try:
        TARGETS[name].check(data)
    except BaseException as fault:
        fault.add_note(f"target {name}, input {data.hex()}")
        raise


def test_the_kept_corpus_is_there_and_small() -> None:
    sizes = {name: [len(data) for data in inputs.kept(name)] for name in TARGETS}
    assert all(len(found) > 20 for found in sizes.values())
    assert sum(map(sum, sizes.values())) < LARGEST_CORPUS


# The checks see what is wrong.


class LosesAnOctet(FrameDecoder):
    """Loses the last octet of the longer bodies."""

    __slots__ = ()

    def take_frames(self) -> list[Frame]:
        return [Frame(kind, body[: max(8, len(body) - 1)]) for kind, body in super().take_frames()]


class AnswersTwice(ServerConnection):
    """Sends each answer of more than ten octets twice."""

    __slots__ = ()

    def data_to_send(self, now: float) -> bytes:
        data = super().data_to_send(now)
        return data if len(data) < 15 else data + data


class ForgetsTime(ServerConnection):
    """Never asks for a look at the clock."""

    __slots__ = ()

    def next_deadline(self) -> None:
        return None


class ForgetsPings(ClientConnection):
    """Takes any PONG for the right one."""

    __slots__ = ()

    def _event(self, frame_type: int, body: bytes) -> Any:
        if self._pings:
            self._pings[0] = body
        return super()._event(frame_type, body)


@pytest.mark.parametrize(
    ("name", "broken"),
    [
        ("codec", LosesAnOctet),
        ("server", AnswersTwice),
        ("server", ForgetsTime),
        ("client", ForgetsPings),
    ],
)
def test_a_bug_is_found_by_what_was_kept(name: str, broken: type, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TARGETS[name], broken.__mro__[1].__name__, broken)
    with pytest.raises(AssertionError):
        check_all(name)


def check_all(name: str) -> None:
    for data in inputs.kept(name):
        TARGETS[name].check(data)


def test_an_input_is_steps_and_a_stream() -> None:
    assert inputs.read(inputs.write(b"abc", b"stream")) == (b"abc", b"stream")
    assert inputs.read(b"") == (b"", b"")
    assert inputs.read(b"\xffabc") == (b"abc", b"")


def test_without_atheris_one_line_says_so() -> None:
    script = "import runpy, sys; sys.modules['atheris'] = None; runpy.run_module('tests.fuzz.fuzz_codec')"
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("fuzzing needs atheris (pip install 'framelet[fuzz]')")
    assert done.stderr.count("\n") == 1
