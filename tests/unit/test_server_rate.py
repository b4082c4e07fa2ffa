"""The minimum rate of a frame under way."""

from __future__ import annotations

import pytest

from framelet import ConnectionLimits, ErrorCode, FrameRefused, FrameTimeoutError, ServerConnection
from framelet.limits import RATE_GRACE

HEADER = b"\x01\x00\x00\x27\x10"  # a REQUEST with 10,000 octets


def slow(**limits: float) -> ServerConnection:
    return ServerConnection(ConnectionLimits(frame_timeout=100.0).replace(**limits), now=0.0)


@pytest.mark.req("REQ-TIME-7")
def test_a_frame_has_the_grace_and_then_the_time_that_its_octets_earn() -> None:
    connection = slow(min_rate=100)
    connection.receive_data(HEADER, 10.0)
    assert connection.next_deadline() == pytest.approx(10.0 + RATE_GRACE + 5 / 100)
    connection.receive_data(bytes(1_000), 12.0)
    assert connection.next_deadline() == pytest.approx(10.0 + RATE_GRACE + 1_005 / 100)
    connection.check_deadlines(25.0)
    assert connection.next_event() is None
    connection.check_deadlines(25.06)
    event = connection.next_event()
    assert isinstance(event, FrameRefused)
    assert isinstance(event.error, FrameTimeoutError)
    assert connection.data_to_send(25.06)[5:] == b"504 the frame came more slowly than 100 octets per second"


@pytest.mark.req("REQ-TIME-7", "REQ-TIME-1")
def test_a_rate_does_not_extend_the_frame_timeout() -> None:
    connection = slow(min_rate=1, frame_timeout=6.0)
    connection.receive_data(HEADER + bytes(1_000), 0.0)
    assert connection.next_deadline() == pytest.approx(6.0)
    connection.check_deadlines(6.0)
    assert connection.data_to_send(6.0)[5:] == b"504 the frame was not complete within 6 seconds"


@pytest.mark.req("REQ-TIME-7")
def test_without_a_rate_the_frame_timeout_holds_alone() -> None:
    connection = slow()
    connection.receive_data(HEADER, 0.0)
    assert connection.next_deadline() == pytest.approx(100.0)


def test_what_is_received_is_counted_until_it_is_taken() -> None:
    connection = slow()
    connection.receive_data(b"\x01\0\0\0\2ab\x01\0\0", 0.0)
    assert connection.input_size == 10
    connection.next_event()
    assert connection.input_size == 3
    connection.receive_data(b"\0\5abc", 0.0)
    assert connection.input_size == 8


@pytest.mark.req("REQ-FLOW-7")
def test_a_connection_that_is_given_up_holds_nothing_of_its_input() -> None:
    connection = slow()
    connection.receive_data(b"\x01\0\0\0\2ab" + HEADER + bytes(5_000), 0.0)
    connection.fail(ErrorCode.OVERLOADED)
    assert connection.input_size == 0
    assert connection.next_event() is None
    assert connection.data_to_send(0.0)[5:8] == b"509"
    connection.receive_data(bytes(5_000), 1.0)
    assert connection.input_size == 0
