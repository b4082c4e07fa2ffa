"""Pipelines of the blocking client: in order, in bounds, and never out of step."""

from __future__ import annotations

import itertools
import os
import threading
import time
from typing import TYPE_CHECKING

import pytest

from framelet import ConnectionStateError, FrameTooLargeError, IllFormedTextError
from framelet_client import (
    Client,
)
from framelet_client.cli.line_source import LineSource
from framelet_server import Server

from .scripted import ASK, PATIENCE, connect, reply

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator

    from tests.integration.conftest import Script, Step


@pytest.mark.req("REQ-FLOW-4")
def test_a_server_that_writes_before_it_reads_on_is_no_deadlock(scripted_server: Script) -> None:
    text = "x" * 65_000
    count = 300  # far more than all buffers between the two ends
    one: tuple[Step, ...] = (5 + len(text), reply(text))
    server = scripted_server(*one * count)
    with connect(server) as client:
        assert sum(map(len, client.pipeline([text] * count))) == count * len(text)


@pytest.mark.req("REQ-ORDER-4", "REQ-ORDER-6")
def test_a_pipeline_keeps_its_window(scripted_server: Script) -> None:
    asked: list[int] = []
    ahead: list[int] = []

    def texts() -> Iterator[str]:
        for number in range(10):
            asked.append(number)
            yield "ab"

    def serve(sock: socket.socket) -> None:
        received = 0
        for answered in range(10):
            while received < min(answered + 4, 10) * ASK:
                received += len(sock.recv(ASK))
            ahead.append(len(asked) - answered)
            sock.sendall(reply(str(answered)))

    server = scripted_server(serve)
    with connect(server, window=4) as client:
        assert list(client.pipeline(texts())) == [str(number) for number in range(10)]
    assert max(ahead) == 4


@pytest.mark.parametrize(("limit", "value"), [("window", 1), ("window", 3), ("max_unsent", 1)])
def test_a_pipeline_works_with_the_smallest_limits(scripted_server: Script, limit: str, value: int) -> None:
    server = scripted_server(scripted_server.reverse_all)
    with connect(server, **{limit: value}) as client:
        assert list(client.pipeline(map(str, range(100)))) == [str(number)[::-1] for number in range(100)]


def test_a_pipeline_does_not_pile_up_what_the_server_does_not_read(scripted_server: Script) -> None:
    asked: list[int] = []
    ahead: list[int] = []

    def texts() -> Iterator[str]:
        for number in range(1_000):
            asked.append(number)
            yield "x" * 65_536

    def serve(sock: socket.socket) -> None:
        threading.Event().wait(0.2)  # a server that is busy with something else
        ahead.append(len(asked))
        scripted_server.reverse_all(sock)

    server = scripted_server(serve)
    with connect(server, max_unsent=65_536) as client:
        assert sum(map(len, client.pipeline(texts()))) == 65_536_000
    assert ahead[0] < 250  # what the system holds between the two ends, and a frame or two


def test_waiting_costs_no_time_of_the_processor(scripted_server: Script) -> None:
    server = scripted_server(ASK, lambda _: threading.Event().wait(0.5), reply("1"))
    read_end, write_end = os.pipe()
    timer = threading.Timer(0.5, os.close, (write_end,))
    with connect(server) as client:
        started = time.thread_time()
        assert client.request("ab") == "1"  # waits for the answer
        timer.start()
        assert list(client.exchange(LineSource(read_end, 65_536, print))) == []  # waits for the input
        assert time.thread_time() - started < 0.25
    os.close(read_end)
    timer.join()


def test_a_pipeline_is_lazy_and_takes_endless_input(scripted_server: Script) -> None:
    server = scripted_server(scripted_server.reverse_all)
    numbers = itertools.count()
    with connect(server, window=16) as client:
        replies = client.pipeline(map(str, numbers))
        assert next(numbers) == 0  # nothing is asked for before the first reply is
        assert list(itertools.islice(replies, 1_000)) == [str(number)[::-1] for number in range(1, 1_001)]
        assert next(numbers) <= 1_001 + 2 * 16


def test_a_slow_iterable_has_each_text_sent_at_once(scripted_server: Script) -> None:
    received = [threading.Event() for _ in range(3)]
    steps: list[Step] = [step for event in received for step in (ASK, event, reply("1"))]
    server = scripted_server(*steps)

    def texts() -> Iterator[str]:
        for event in received:
            time.sleep(0.01)
            yield "ab"
            assert event.wait(PATIENCE)  # the next text is ready only when this one has been received

    with connect(server) as client:
        assert list(client.pipeline(texts())) == ["1"] * 3


def test_no_frame_is_left_half_sent_while_the_iterable_takes_its_time() -> None:
    received = threading.Semaphore(0)
    served: list[bool] = []

    def count(text: str) -> str:
        received.release()
        return str(len(text))

    def texts() -> Iterator[str]:
        for _ in range(12):
            yield "x" * 2_000_000  # each one a batch of its own, and more than a socket takes at once
            served.append(received.acquire(timeout=PATIENCE))

    with Server(("127.0.0.1", 0), count) as server, Client(server.address) as client:
        assert list(client.pipeline(texts())) == ["2000000"] * 12
    assert served == [True] * 12


def test_an_empty_pipeline_ends_at_once(scripted_server: Script) -> None:
    with connect(scripted_server()) as client:
        assert list(client.pipeline([])) == []
        assert not client.closed


@pytest.mark.parametrize("bad", ["\ud800", "x" * 65_537])
def test_what_goes_wrong_with_a_text_comes_in_its_place(scripted_server: Script, bad: str) -> None:
    server = scripted_server(scripted_server.reverse_all)
    with connect(server, max_body=65_536) as client:
        replies = client.pipeline(["ab", "cd", bad, "ef"])
        assert [next(replies), next(replies)] == ["ba", "dc"]
        with pytest.raises((IllFormedTextError, FrameTooLargeError)):
            next(replies)
        assert client.request("gh") == "hg"


def test_what_an_iterable_raises_comes_in_its_place(scripted_server: Script) -> None:
    def texts() -> Iterator[str]:
        yield "ab"
        yield "cd"
        raise LookupError("out of texts")

    server = scripted_server(scripted_server.reverse_all)
    with connect(server) as client:
        replies = client.pipeline(texts())
        assert [next(replies), next(replies)] == ["ba", "dc"]
        with pytest.raises(LookupError, match="out of texts"):
            next(replies)
        assert client.request("gh") == "hg"


@pytest.mark.req("REQ-TIME-6")
def test_a_pipeline_left_with_answers_outstanding_closes_the_connection(scripted_server: Script) -> None:
    server = scripted_server(2 * ASK, reply("1"))
    with connect(server) as client:
        for received in client.pipeline(["ab"] * 2):
            assert received == "1"
            break
        assert client.closed
        with pytest.raises(ConnectionStateError, match="left with answers outstanding"):
            client.request("ab")


def test_a_pipeline_left_behind_its_last_answer_does_not(scripted_server: Script) -> None:
    server = scripted_server(2 * ASK, reply("1"), reply("2"), ASK, reply("3"))
    with connect(server) as client:
        texts = ["ab"] * 2
        assert list(zip(texts, client.pipeline(texts), strict=False)) == [("ab", "1"), ("ab", "2")]
        assert client.request("ab") == "3"
