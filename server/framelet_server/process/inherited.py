"""Sockets that another process has opened: a service manager (sd_listen_fds(3)), or our supervisor."""

from __future__ import annotations

import logging
import os
import socket
from typing import TYPE_CHECKING

from framelet import ConfigurationError
from framelet_server.net.sockets import check_listening

if TYPE_CHECKING:
    from collections.abc import MutableMapping, Sequence

_log = logging.getLogger("framelet_server")

_FIRST = 3
"""The first descriptor that a service manager hands over (SD_LISTEN_FDS_START)."""


def inherited_sockets(environment: MutableMapping[str, str] = os.environ) -> list[socket.socket]:
    """The listening sockets that a service manager handed to this process; none if it has handed over none.

    The variables are taken out of the environment, so that no process started later takes them for its own.
    Raises ConfigurationError that names the descriptor that is not a listening stream socket.
    """
    for_process = environment.pop("LISTEN_PID", "")
    count = environment.pop("LISTEN_FDS", "")
    names = environment.pop("LISTEN_FDNAMES", "").split(":")
    if not count:
        return []
    if for_process != str(os.getpid()):
        _log.info("LISTEN_FDS is ignored: it is meant for process %s", for_process or "of no number")
        return []
    if not (count.isascii() and count.isdigit()):
        message = f"LISTEN_FDS is {count!r}: expected a number of descriptors"
        raise ConfigurationError(message)
    sockets: list[socket.socket] = []
    try:
        for index in range(int(count)):
            name = names[index] if index < len(names) else ""
            sockets.append(_take_socket(_FIRST + index, f" ({name})" if name else ""))
    except ConfigurationError:
        for sock in sockets:
            sock.close()
        raise
    _log.info("%d sockets were handed over by LISTEN_FDS", len(sockets))
    return sockets


def _take_socket(number: int, called: str = "") -> socket.socket:
    """The listening socket of a descriptor, not to be inherited further; raises ConfigurationError."""
    try:
        os.set_inheritable(number, False)  # noqa: FBT003 - the function takes nothing else
        sock = socket.socket(fileno=number)
    except OSError as error:
        message = f"file descriptor {number}{called} was handed over, but is not a socket: {error.strerror}"
        raise ConfigurationError(message) from None
    try:
        check_listening(sock)
    except ConfigurationError:
        sock.detach()  # not ours to close
        raise
    return sock


def inheritance_of(
    control: socket.socket, listening: Sequence[socket.socket], files: Sequence[int]
) -> tuple[str, list[int]]:
    """What a supervisor tells a child of its descriptors, and the descriptors to pass on."""
    numbers = [sock.fileno() for sock in (control, *listening)]
    text = "+".join(",".join(map(str, some)) for some in (numbers, files))
    return text, [*numbers, *files]


def take_inheritance(inheritance: str) -> tuple[socket.socket, list[socket.socket], list[int]]:
    """The control socket, listening sockets and files of a child, from what ``inheritance_of`` has said.

    Raises ConfigurationError where it is not what a supervisor would have passed on.
    """
    try:
        (number, *listening), files = (
            [int(number) for number in some.split(",") if number] for some in inheritance.split("+")
        )
        control = socket.socket(fileno=number)
        control.set_inheritable(False)
    except (ValueError, OSError):
        message = f"{inheritance!r} was not passed on by a supervisor: --worker is for its use alone"
        raise ConfigurationError(message) from None
    return control, [_take_socket(number) for number in listening], files
