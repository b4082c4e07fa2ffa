"""The simulated sockets and their poller do as the real ones: one script for both, and the same is seen."""

from __future__ import annotations

import fcntl
import socket
import struct
import termios
from typing import TYPE_CHECKING, Any

import pytest
from tests.simulation.machine import Machine
from tests.simulation.sockets import Net, SimulatedPoller, ioctl

from framelet_server.net.epoll import EpollPoller

if TYPE_CHECKING:
    from collections.abc import Callable

SCRIPTS = {
    "input": ["add", "poll", "send", "poll", "poll", "arm read", "poll", "recv", "recv"],
    "none": ["add", "recv 0", "send", "recv 0", "recv"],
    "kept": ["add", "send", "keep", "poll", "poll", "recv", "poll", "arm none", "send", "poll"],
    "output": ["add", "arm write", "poll", "poll", "arm both", "send", "poll"],
    "half-close": ["add", "fin", "poll", "recv", "arm read", "poll", "answer", "our fin", "arm none", "poll"],
    "both ends": ["add", "send", "fin", "peek", "unread", "recv", "recv", "our fin", "answer"],
    "shut": ["add", "shut", "arm none", "poll", "recv", "answer"],
    "closed": ["add", "send", "gone", "arm read", "poll", "recv", "recv", "answer"],
    "discarded": ["add", "send", "discard", "poll"],
}


def play(
    script: list[str], ours: Any, theirs: Any, poller: Any, unread: Callable[[Any], int]
) -> list[object]:
    """What is seen at each step."""
    number = ours.fileno()
    steps: dict[str, Callable[[], object]] = {
        "add": lambda: poller.add(ours, ours, read=True, write=False),
        "poll": lambda: [mask for found, mask in poller.poll(0, 9) if found == number],
        "arm read": lambda: poller.arm(ours, read=True, write=False),
        "arm write": lambda: poller.arm(ours, read=False, write=True),
        "arm both": lambda: poller.arm(ours, read=True, write=True),
        "arm none": lambda: poller.arm(ours, read=False, write=False),
        "keep": lambda: poller.keep(ours),
        "send": lambda: theirs.send(b"abc"),
        "answer": lambda: ours.send(b"xyz"),
        "recv": lambda: ours.recv(2),
        "recv 0": lambda: ours.recv(0),
        "peek": lambda: ours.recv(1, socket.MSG_PEEK),
        "unread": lambda: unread(ours),
        "fin": lambda: theirs.shutdown(socket.SHUT_WR),
        "our fin": lambda: ours.shutdown(socket.SHUT_WR),
        "shut": lambda: ours.shutdown(socket.SHUT_RDWR),
        "gone": theirs.close,
        "discard": lambda: poller.discard(ours),
    }
    seen: list[object] = []
    for step in script:
        try:
            seen.append((step, steps[step]()))
        except OSError as error:
            seen.append((step, type(error).__name__))
    return seen


@pytest.mark.parametrize("name", SCRIPTS)
def test_the_simulated_ones_do_as_the_real_ones(name: str) -> None:
    real_poller = EpollPoller()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        theirs = socket.create_connection(listener.getsockname())
        ours, _ = listener.accept()
    ours.settimeout(0)
    try:
        real = play(
            SCRIPTS[name],
            ours,
            theirs,
            real_poller,
            lambda sock: int(struct.unpack("i", fcntl.ioctl(sock, termios.FIONREAD, bytes(4)))[0]),
        )
    finally:
        ours.close()
        theirs.close()
        real_poller.release()
    machine = Machine(lambda _machine, _able: 0, {})
    one, two = Net(machine).pair()
    simulated = play(
        SCRIPTS[name],
        one,
        two,
        SimulatedPoller(machine),
        lambda sock: int(struct.unpack("i", ioctl(sock, termios.FIONREAD, bytes(4)))[0]),
    )
    assert simulated == real
