"""Several processes on one port: one is killed, stuck, or stopped, or the supervisor is."""

from __future__ import annotations

import errno
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

from framelet import Frame, FrameType, TcpAddress, encode, parse_address

from .children import HANDLER, Pool, lives

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.integration.conftest import Command, Peer

    Start = Callable[..., Command]
    Connect = Callable[..., Peer]

STOP = encode(FrameType.STOP)


def stopped(closed: int, cut: int = 0) -> Frame:
    return Frame(FrameType.STOPPED, f"closed={closed} cut={cut}".encode())


def refuses_connections(address: str) -> bool:
    where = parse_address(address)
    assert isinstance(where, TcpAddress)
    with socket.socket(socket.AF_INET) as probe:
        return probe.connect_ex(where) == errno.ECONNREFUSED


class TestCrashes:
    """A child that is gone or stuck is replaced, and the others serve on."""

    def test_a_killed_child_is_replaced_while_the_other_serves(
        self, pool: Callable[..., Pool], until: Any
    ) -> None:
        children = pool()
        first, second = children.peers
        # Load on the one that stays: its client sees nothing of it all.
        served: list[int] = []
        ended = threading.Event()

        def load() -> None:
            while not ended.is_set():
                served.append(int(children.peers[second].ask("pid")))

        thread = threading.Thread(target=load)
        thread.start()
        try:
            for _ in range(2):
                os.kill(first, signal.SIGKILL)
                until(lambda pid=first: not lives(pid))
                before = len(served)
                for _ in range(20):
                    assert children.connect().ask("ab") == "ba"
                until(lambda count=before: len(served) > count + 100)
                peer = children.peers.pop(first)
                with pytest.raises((AssertionError, ConnectionError)):
                    peer.ask("ab")
                children.find_all()
                (first,) = children.peers.keys() - {second}
        finally:
            ended.set()
            thread.join(20)
        assert set(served) == {second}
        children.server.process.terminate()
        status, log = children.server.finish()
        assert status == 0
        pauses = re.findall(r"child \d+ ended, killed by SIGKILL; replaced in ([0-9.]+) seconds", log)
        assert pauses == ["0.1", "0.2"]  # longer each time

    def test_a_child_without_progress_is_killed_and_replaced(
        self, pool: Callable[..., Pool], until: Any
    ) -> None:
        children = pool(env={"WATCHDOG_USEC": "1000000"})
        first = next(iter(children.peers))
        os.kill(first, signal.SIGSTOP)
        until(lambda: not lives(first))
        children.find_all()
        children.server.process.terminate()
        status, log = children.server.finish()
        assert status == 0
        assert f"child {first} makes no progress and is killed" in log

    def test_one_child_can_be_drained_and_is_replaced(self, pool: Callable[..., Pool], until: Any) -> None:
        children = pool()
        first, second = children.peers
        os.kill(first, signal.SIGTERM)
        assert children.peers[first].receive() is None
        children.peers[first].close()
        until(lambda: not lives(first))
        assert children.peers[second].ask("ab") == "ba"
        children.find_all()
        children.server.process.terminate()
        status, log = children.server.finish()
        assert status == 0
        assert f"child {first} has drained and is replaced" in log

    def test_children_drain_when_the_supervisor_is_killed(
        self, pool: Callable[..., Pool], tmp_path: Path, until: Any
    ) -> None:
        children = pool()
        first = next(iter(children.peers))
        children.peers[first].request("block")
        until((tmp_path / "blocked").exists)
        # STOPPED waits for a sum that nobody will make any more.
        children.server.process.kill()
        until(lambda: refuses_connections(children.address))
        (tmp_path / "opened").touch()
        assert children.peers[first].replies(1) == ["kcolb"]
        for peer in children.peers.values():
            assert peer.receive() is None
        children.close()
        until(lambda: not any(lives(pid) for pid in children.peers))

    def test_a_supervisor_that_is_killed_in_a_drain_leaves_nobody_waiting(
        self, pool: Callable[..., Pool], tmp_path: Path, until: Any
    ) -> None:
        children = pool()
        first, second = children.peers
        children.peers[first].request("block")
        until((tmp_path / "blocked").exists)
        children.peers[second].send(STOP)
        until(children.is_draining)
        children.server.process.kill()
        (frame,) = children.peers[second].rest()
        assert frame.type == FrameType.STOPPED  # with the numbers of its own process alone
        (tmp_path / "opened").touch()
        assert children.peers[first].replies(1) == ["kcolb"]
        children.close()
        until(lambda: not any(lives(pid) for pid in children.peers))


class TestStop:
    """One STOP ends all, and STOPPED speaks for all."""

    @pytest.mark.req("REQ-STOP-6", "REQ-STOP-7", "REQ-STOP-8")
    def test_stopped_comes_when_the_clients_of_all_children_are_gone(
        self, pool: Callable[..., Pool], tmp_path: Path, until: Any
    ) -> None:
        children = pool()
        first, second = children.peers
        children.peers[first].request("block")
        until((tmp_path / "blocked").exists)
        stopper = children.peers[second]
        stopper.send(STOP)
        until(children.is_draining)
        stopper.sock.settimeout(0.2)
        with pytest.raises(TimeoutError):
            stopper.receive()  # the other child still has an answer to give
        stopper.sock.settimeout(20)
        (tmp_path / "opened").touch()
        assert children.peers[first].replies(1) == ["kcolb"]
        assert children.peers[first].receive() is None
        assert stopper.rest() == [stopped(children.clients - 1)]
        children.close()
        status, log = children.server.finish()
        assert status == 0
        assert f"drained all children: {children.clients - 1} connections closed, 0 cut off" in log

    @pytest.mark.req("REQ-STOP-8", "REQ-STOP-11", "REQ-STOP-12")
    def test_what_is_cut_off_in_one_child_is_counted_for_the_stopper_in_another(
        self, pool: Callable[..., Pool], tmp_path: Path, until: Any
    ) -> None:
        children = pool("--drain-timeout", "0.3")
        first, second = children.peers
        children.peers[first].request("block")
        until((tmp_path / "blocked").exists)
        children.peers[second].send(STOP)
        assert children.peers[second].rest() == [stopped(children.clients - 2, 1)]
        children.close()
        assert children.server.finish()[0] == 0  # although the handler never returns

    @pytest.mark.req("REQ-STOP-8")
    def test_a_child_that_is_killed_in_the_drain_holds_nothing_up(
        self, pool: Callable[..., Pool], tmp_path: Path, until: Any
    ) -> None:
        children = pool("--drain-timeout", "1000")
        first, second = children.peers
        children.peers[first].request("block")
        until((tmp_path / "blocked").exists)
        children.peers[second].send(STOP)
        until(children.is_draining)
        os.kill(first, signal.SIGKILL)
        (frame,) = children.peers[second].rest()
        assert frame.type == FrameType.STOPPED
        children.close()
        status, log = children.server.finish()
        assert status == 0
        assert f"child {first} ended in the drain, killed by SIGKILL; its clients are not counted" in log


class TestSignals:
    """SIGTERM and SIGINT, to the supervisor alone."""

    @pytest.mark.req("REQ-STOP-6", "REQ-STOP-7")
    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    def test_everything_received_is_answered(self, pool: Callable[..., Pool], number: signal.Signals) -> None:
        children = pool()
        texts = [f"request {number}" for number in range(1_000)]
        peers = [*children.peers.values(), *(children.connect() for _ in range(6))]
        for peer in peers:
            assert peer.ask("ab") == "ba"
        for peer in peers:
            peer.request(*texts)
            peer.await_receipt()
        children.server.process.send_signal(number)
        for peer in peers:
            assert peer.replies(1_000) == [text[::-1] for text in texts]
            assert peer.receive() is None
            peer.close()
        children.close()
        assert children.server.finish()[0] == 0

    def test_clients_that_wait_to_be_accepted_are_let_in(
        self, pool: Callable[..., Pool], until: Any, tmp_path: Path
    ) -> None:
        running = pool("--threads", "1")
        for peer in running.peers.values():
            peer.request("block")
            until((tmp_path / "blocked").exists)
            (tmp_path / "blocked").unlink()
        waiting = [running.connect() for _ in range(200)]
        for peer in waiting:
            peer.request("ab")
            peer.await_receipt()
        running.server.process.terminate()
        until(lambda: refuses_connections(running.address))
        (tmp_path / "opened").touch()
        for peer in waiting:
            assert peer.replies(1) == ["ba"]
            assert peer.receive() is None
            peer.close()
        running.close()
        assert running.server.finish()[0] == 0

    def test_a_second_signal_hastens(self, pool: Callable[..., Pool], tmp_path: Path, until: Any) -> None:
        children = pool("--drain-timeout", "1000")
        for peer in children.peers.values():
            peer.request("block")
            until((tmp_path / "blocked").exists)
            (tmp_path / "blocked").unlink()
        children.server.process.terminate()
        until(children.is_draining)
        until(lambda: refuses_connections(children.address))
        children.server.process.terminate()
        status, log = children.server.finish()
        assert status == 0
        assert log.count("1 handlers have not returned") == 2

    def test_a_child_that_does_not_end_in_time_is_killed(self, tmp_path: Path, connect: Connect) -> None:
        program = (
            "import sys\nfrom framelet_server.cli import command as cli\n"
            "from framelet_server.process import supervisor\n"
            "supervisor._LAST = 0.5  # seconds; 5 by default, which a test has not\n"
            "sys.exit(cli.main())"
        )
        (tmp_path / "several.py").write_text(HANDLER)
        with subprocess.Popen(
            [
                *(sys.executable, "-c", program, "--workers", "2", "--unix", "s"),
                *("--handler", "several:handler", "--drain-timeout", "0.1", "--linger-timeout", "0.1"),
            ],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            try:
                assert process.stdout is not None
                assert process.stdout.readline()
                stuck = int(connect(f"unix:{tmp_path / 's'}").ask("pid"))
                os.kill(stuck, signal.SIGSTOP)
                process.terminate()
                _, log = process.communicate(timeout=20)
            finally:
                process.kill()
        assert process.returncode == 0
        assert f"child {stuck} has not ended in time and is killed" in log
        assert not lives(stuck)


class TestStarting:
    """Children that cannot start, or whose start fails half-way."""

    @pytest.mark.parametrize(
        ("arguments", "status", "words"),
        [
            (("--handler", "no_such_module:f"), 2, "no_such_module"),
            (("--handler", "leaving:f"), 1, "a child ended before all were ready: status 9"),
            (("--unix", "no/such/folder/x"), 1, "No such file or directory"),
            (("--max-body", "1"), 2, "'--max-body': it is 1: expected"),
        ],
    )
    def test_what_is_wrong_with_all_is_said_once(
        self, command: Start, tmp_path: Path, arguments: tuple[str, ...], status: int, words: str
    ) -> None:
        (tmp_path / "leaving.py").write_text("import os; os._exit(9)")
        server = command("--workers", "3", *arguments)
        assert server.line() == ""
        ended, log = server.finish()
        assert ended == status
        assert words in log
        assert log.count("\n") == 1

    def test_a_standard_output_that_fails_ends_all(self, command: Start, tmp_path: Path) -> None:
        with open("/dev/full", "w") as full:  # noqa: PTH123 - a device, no path of ours
            server = command("--workers", "2", "--unix", str(tmp_path / "s"), stdout=full)
        status, log = server.finish()
        assert status == 1
        assert log.splitlines()[-1].endswith("cannot write to standard output: No space left on device")
        assert not (tmp_path / "s").exists()

    def test_a_unix_socket_is_removed_at_the_end(
        self, command: Start, connect: Connect, tmp_path: Path
    ) -> None:
        path = tmp_path / "several.sock"
        server = command("--workers", "2", "--unix", str(path))
        peer = connect(server.address())
        peer.send(STOP)
        assert peer.rest() == [stopped(0)]
        peer.close()
        assert server.finish() == (0, "")
        assert not path.exists()

    def test_the_option_of_the_supervisor_is_for_it_alone(self, command: Start) -> None:
        for value in ("x", "0,1", "999"):  # an empty one is refused as that of any option
            server = command("--worker", value)
            status, log = server.finish()
            assert status == 2
            assert "--worker" in log
            assert log.count("\n") == 1
