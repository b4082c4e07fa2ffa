"""What programs that embed the protocol tripped over: equal events, reads of nothing, refusals unseen."""

from __future__ import annotations

from typing import Any

import pytest

from framelet import (
    ClientConnection,
    ConfigurationError,
    FrameDecoder,
    FrameTooLargeError,
    PongReceived,
    RequestReceived,
    ServerConnection,
    encode,
)


def test_an_event_equals_those_of_its_own_class_alone() -> None:
    event: Any = RequestReceived("a")
    assert event == RequestReceived("a")
    assert event not in (PongReceived("a"), ("a",), RequestReceived("b"))
    assert len({event, RequestReceived("a"), PongReceived("a")}) == 2


@pytest.mark.parametrize("end", [ServerConnection, ClientConnection])
def test_a_read_of_nothing_is_no_data(end: type[ServerConnection | ClientConnection]) -> None:
    with pytest.raises(ConfigurationError, match=r"at the end of the stream call receive_eof\(\)"):
        end(now=0.0).receive_data(b"", 0.0)


def test_a_refusal_is_seen_beside_the_frames_before_it_and_can_be_forgotten() -> None:
    decoder = FrameDecoder(10)
    decoder.receive_data(encode(1, b"ok") + encode(1, b"x" * 11))
    assert [frame.body for frame in decoder.take_frames()] == [b"ok"]
    assert isinstance(decoder.refused, FrameTooLargeError)
    decoder.clear()
    decoder.receive_data(encode(1, b"new"))
    assert [frame.body for frame in decoder.take_frames()] == [b"new"]
