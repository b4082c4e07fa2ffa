"""What a service manager says by environment variables: read once, checked, and taken away."""

from __future__ import annotations

import contextlib
import math
import os
import socket
import time
from typing import TYPE_CHECKING

import pytest

from framelet import ConfigurationError
from framelet_server.process.inherited import inherited_sockets
from framelet_server.process.notify import Notifier

if TYPE_CHECKING:
    from pathlib import Path

PID = str(os.getpid())


def test_without_variables_nothing_is_inherited_and_nobody_notified() -> None:
    assert inherited_sockets({}) == []
    notifier = Notifier.from_environment({})
    assert notifier.watchdog == math.inf
    notifier.ready("nobody hears this")


@pytest.mark.parametrize("pid", ["1", "", "x", f"{PID}0"], ids=["init", "none", "word", "longer"])
def test_sockets_for_another_process_are_left_alone(pid: str) -> None:
    environment = {"LISTEN_PID": pid, "LISTEN_FDS": "1", "LISTEN_FDNAMES": "a", "OTHER": "stays"}
    assert inherited_sockets(environment) == []
    assert environment == {"OTHER": "stays"}


@pytest.mark.parametrize("count", ["x", "-1", "1.5", "²"])
def test_a_count_that_is_none_is_refused(count: str) -> None:
    with pytest.raises(ConfigurationError, match="LISTEN_FDS is"):
        inherited_sockets({"LISTEN_PID": PID, "LISTEN_FDS": count})


@pytest.mark.parametrize(
    ("variables", "seconds"),
    [
        ({"WATCHDOG_USEC": "1500000"}, 1.5),
        ({"WATCHDOG_USEC": "1500000", "WATCHDOG_PID": PID}, 1.5),
        ({"WATCHDOG_USEC": "1500000", "WATCHDOG_PID": "1"}, math.inf),
        ({"WATCHDOG_PID": PID}, math.inf),
    ],
)
def test_the_watchdog_is_for_the_process_that_is_named(variables: dict[str, str], seconds: float) -> None:
    environment = {"NOTIFY_SOCKET": "/run/notify", **variables}
    assert Notifier.from_environment(environment).watchdog == seconds
    assert environment == {}


@pytest.mark.parametrize(
    "environment",
    [
        {"NOTIFY_SOCKET": "run/notify"},
        {"NOTIFY_SOCKET": "vsock:2:1234"},
        {"WATCHDOG_USEC": "0"},
        {"WATCHDOG_USEC": "soon"},
        {"WATCHDOG_USEC": "-5"},
    ],
)
def test_variables_of_another_form_are_refused_by_name(environment: dict[str, str]) -> None:
    (name,) = environment
    with pytest.raises(ConfigurationError, match=f"{name} is"):
        Notifier.from_environment(dict(environment))


def test_a_manager_that_does_not_listen_is_not_waited_for_to_tell_it_of_life(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other, contextlib.suppress(BlockingIOError):
            while other.sendto(b"x", socket.MSG_DONTWAIT, str(tmp_path / "notify")):
                pass
        notifier = Notifier(str(tmp_path / "notify"))
        began, spent = time.monotonic(), time.thread_time()
        for _ in range(100):
            notifier.alive()
        assert time.monotonic() - began < 50
        notifier.status("this one may take a second")
        assert time.thread_time() - spent < 0.5


def test_a_manager_that_is_gone_costs_one_warning(caplog: pytest.LogCaptureFixture) -> None:
    notifier = Notifier("/no/such/socket")
    notifier.ready("nobody hears this")
    notifier.alive()
    assert [record.message for record in caplog.records] == [
        "cannot notify the service manager: No such file or directory"
    ]
