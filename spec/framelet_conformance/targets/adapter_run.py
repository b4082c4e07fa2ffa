"""One process of an adapter: starting it, conversing with it, and judging what it prints and how it ends."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import select
import shlex
import signal
import socket
import subprocess
import tempfile
import time
from typing import TYPE_CHECKING, Any

from framelet_conformance.judging.client_reports import check_report, read_reports
from framelet_conformance.replay import Replay
from framelet_conformance.verdicts import Failed, SetupFailed, Skipped
from framelet_conformance.wire.log import Ending

from . import launch
from .scripted_server import ServerEnd

if TYPE_CHECKING:
    import threading

    from framelet_conformance.play import Play
    from framelet_conformance.scenario import Scenario

UNSUPPORTED = 127
_HOST = "127.0.0.1"
_TICK = 0.02
_OUTPUT_LIMIT = 1 << 26  # octets that an adapter may print
_SHOWN = 2_000
_PATIENT = 20.0  # seconds that a client is told to wait for an answer where time is not the question


class AdapterRun:
    """One process of the adapter, and the conversations that it holds."""

    def __init__(
        self, command: str, starting: threading.BoundedSemaphore, play: Play, scenarios: list[Scenario]
    ) -> None:
        """``command`` is the launch command; ``starting`` bounds how many processes start at once."""
        self.scenarios = scenarios
        self._command = command
        self._starting = starting
        self._play = play
        self._times = play.times
        self._done = 0
        self._ends: list[ServerEnd] = []
        self._words: list[str] = []
        self._process: subprocess.Popen[bytes] | None = None

    def play_all(self) -> int:
        """How many of the scenarios were played; raises CaseEnded."""
        with contextlib.ExitStack() as stack:
            listener = stack.enter_context(socket.create_server((_HOST, 0), backlog=16))
            if any(step.do in {"write", "serve", "deaf", "sip"} for step in self.scenarios[0].steps):
                # A small buffer, so that a client notices when it is not read; each socket inherits it.
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 16)
            self._stdout = stack.enter_context(tempfile.TemporaryFile())
            self._stderr = stack.enter_context(tempfile.TemporaryFile())
            stack.callback(self._end)
            with self._starting:
                self._start(listener.getsockname()[1])
                sock = self._accept(listener)
            for scenario in self.scenarios:
                if self._done:
                    sock = self._accept(listener)
                if sock is None:
                    break
                self._converse(sock, scenario)
                self._done += 1
            self._judge_output()
        return self._done

    def _start(self, port: int) -> None:
        scenario = self.scenarios[0]
        job = scenario.job(_PATIENT * self._times.scale, len(self.scenarios))
        words = self._words = launch.fill(self._command, {"host": _HOST, "port": port})
        with tempfile.TemporaryFile() as stdin:
            stdin.write(json.dumps(job).encode() + b"\n")
            stdin.seek(0)
            try:
                self._process = subprocess.Popen(  # noqa: S603 - the command that the user gave
                    words, stdin=stdin, stdout=self._stdout, stderr=self._stderr, start_new_session=True
                )
            except (OSError, ValueError) as error:
                message = f"cannot start {words[0]!r}: {getattr(error, 'strerror', None) or error}"
                raise SetupFailed(message) from None
        if hasattr(resource, "prlimit"):
            with contextlib.suppress(OSError):  # it may be gone already
                resource.prlimit(self._process.pid, resource.RLIMIT_FSIZE, (_OUTPUT_LIMIT, _OUTPUT_LIMIT))

    # The conversations.

    def _accept(self, listener: socket.socket) -> socket.socket | None:
        """The next connection; None where the adapter held fewer conversations than it was asked for."""
        end = time.monotonic() + self._times.launch
        poll = select.poll()
        poll.register(listener, select.POLLIN)
        while True:
            status = self._status()  # before the poll: what it did before it ended is still to be seen
            if poll.poll(_TICK * 1000):
                sock, _ = listener.accept()
                return sock
            if status is not None:
                self._check_status(status)
                if self._done:
                    return None
                raise SetupFailed(self._say("ended without connecting"))
            self._check_output()
            if time.monotonic() > end:
                raise SetupFailed(self._say(f"did not connect within {self._times.launch:.3g} s"))

    def _converse(self, sock: socket.socket, scenario: Scenario) -> None:
        play = self._play
        self._note(scenario)
        name = f"{self._done + 1} of {len(self.scenarios)}" if len(self.scenarios) > 1 else ""
        conversation = ServerEnd(sock, self._times, scenario, name, self._memory)
        play.attach(conversation)
        self._ends.append(conversation)
        try:
            conversation.perform(play)
        except Failed as error:
            self._explain(conversation)
            play.ended(conversation.ending, play.close_verdict or error.verdict)
            error.place = self._done
            raise
        finally:
            conversation.close()

    def _note(self, scenario: Scenario) -> None:
        """Have the scenario written down, should it fail."""
        play = self._play
        expect: list[Any] = list(scenario.expect)
        play.replay = Replay(
            play.case.id,
            "client",
            list(play.case.requirements),
            "",
            [step.as_document() for step in scenario.steps],
            expect,
            scenario.then,
            setup=scenario.as_setup(),
        )

    def _explain(self, conversation: ServerEnd) -> None:
        """Where the client's stream ended early, see whether the adapter gave up rather than the client."""
        if conversation.ending is not Ending.OPEN and (status := self._await_exit()) is not None:
            self._check_status(status)

    # The process.

    def _memory(self) -> int:
        assert self._process is not None  # noqa: S101 - started first
        return launch.memory(self._process.pid)

    def _status(self) -> int | None:
        assert self._process is not None  # noqa: S101 - started first
        return launch.status_of(self._process)

    def _await_exit(self) -> int | None:
        """The exit status, None where it does not end in time."""
        end = time.monotonic() + self._times.launch
        while (status := self._status()) is None and time.monotonic() < end:
            self._check_output()
            time.sleep(_TICK)
        return status

    def _check_output(self) -> None:
        """Raise where it prints and prints."""
        if max(os.fstat(file.fileno()).st_size for file in (self._stdout, self._stderr)) >= _OUTPUT_LIMIT:
            raise SetupFailed(self._say(f"prints more than {_OUTPUT_LIMIT:,} octets"))

    def _check_status(self, status: int) -> None:
        """Raise where an exit status says that the adapter did not run."""
        if status == UNSUPPORTED:
            said = self._said()
            message = f"the adapter does not support this{': ' + said if said else ''}"
            raise Skipped(message)
        if status < 0:
            name = signal.Signals(-status).name if -status in set(signal.Signals) else str(-status)
            raise SetupFailed(self._say(f"was ended by the signal {name}"))
        if status:
            raise SetupFailed(self._say(f"ended with status {status}"))

    def _judge_output(self) -> None:
        status = self._await_exit()
        if status is None:
            waited = f"{self._times.launch:.3g} s"
            raise SetupFailed(self._say(f"did not end within {waited} after its last conversation"))
        self._check_status(status)
        self._stdout.seek(0)
        played = self.scenarios[: self._done]
        try:
            reports = read_reports(self._stdout.read(), [len(scenario.ask) for scenario in played])
        except ValueError as error:
            raise SetupFailed(self._say(f"broke its contract: {error}")) from None
        for place, (scenario, report, end) in enumerate(zip(played, reports, self._ends, strict=True)):
            try:
                check_report(scenario, report)
            except Failed as error:
                error.place = place
                self._note(scenario)
                self._play.conversations.append(end)  # the log to look at is the last one
                raise

    def _say(self, what: str) -> str:
        command = shlex.join(self._words)
        said = self._said()
        return f"the adapter {what}: {command}{chr(10) + said if said else ''}"

    def _said(self) -> str:
        """The last of what it wrote on stderr."""
        size = os.fstat(self._stderr.fileno()).st_size
        return os.pread(self._stderr.fileno(), _SHOWN, max(0, size - _SHOWN)).decode(errors="replace").strip()

    def _end(self) -> None:
        """Leave nothing of it running."""
        if self._process is None:
            return
        if self._status() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
