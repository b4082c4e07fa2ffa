"""The servers under test: the one that was named, and those launched for cases that need another setup."""

from __future__ import annotations

import dataclasses
import signal
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from framelet.registry import FrameType, TypeRange
from framelet_conformance.expectations import pong, reply
from framelet_conformance.judging.judge import judge
from framelet_conformance.verdicts import Endless, Failed, SetupFailed, Skipped
from framelet_conformance.wire import frames
from framelet_conformance.wire.conversation import Silence
from framelet_conformance.wire.log import Ending

from . import launch
from .discovery import learn
from .setup import ServerUnderTest, Setup

if TYPE_CHECKING:
    from framelet_conformance.options import RunOptions
    from framelet_conformance.play import Play
    from framelet_conformance.replay import Replay
    from framelet_conformance.wire.times import Times

_ANSWERS = {
    bytes([octet])
    for octet in {*FrameType, *TypeRange.APPLICATION.types}
    - {FrameType.REQUEST, FrameType.STOP, FrameType.PING}
}
"""How what a server sends may begin, if it speaks some Framelet."""


class Servers:
    """All servers of a run: the one named, and those launched for cases that need another setup."""

    def __init__(self, options: RunOptions) -> None:
        """Reach or launch the main server; raises SetupFailed."""
        self.options = options
        self.times: Times = options.times
        self._lock = threading.Lock()
        self._locks: dict[Setup, threading.Lock] = {}
        self._launched: dict[Setup, ServerUnderTest] = {}
        self._all: list[ServerUnderTest] = []
        self._files: list[Path] = []
        self._spent = False
        self._ended: list[int] = []
        self.odd: str | None = None
        self._templates = launch.places(options.launch or "")
        try:
            self.main: ServerUnderTest = (
                ServerUnderTest(options.address) if options.address is not None else self._launch(self._plain)
            )
            self.sanity()
            learn(self.main, self.times)
        except BaseException:
            self.close()
            raise

    @property
    def _plain(self) -> Setup:
        """How the main server is launched: nothing that looks like a STOP shall end it in passing."""
        return Setup(stop="off") if "stop" in self._templates else Setup()

    # Which server for which setup.

    def server(self, **needs: Any) -> ServerUnderTest:  # noqa: ANN401 - the fields of Setup
        """A server that is set up so; raises Skipped with the missing precondition."""
        setup = Setup(**needs)
        reason = self._unsuited(setup)
        if reason is None:
            return self._revived(self.main)
        if setup.fresh and self.options.launch is None and self.options.allow_stop:
            return self._last_resort(setup)
        if self.options.launch is None:
            message = f"{reason} (--launch with the right placeholders lets the suite set that up)"
            raise Skipped(message)
        missing = sorted(setup.values().keys() - self._templates - {"stop_token"})
        if missing:
            names = ", ".join(f"{{{name}}}" for name in missing)
            message = f"{reason}, and the launch command has no {names}"
            raise Skipped(message)
        if setup.fresh:
            server = self._launch(setup)
            if setup.max_body is None and "max-body" in self.main.parameters:
                server.parameters = {"max-body": self.main.parameters["max-body"]}  # it was not asked itself
            return server
        with self._lock:
            lock = self._locks.setdefault(setup, threading.Lock())
        with lock:
            if setup not in self._launched:
                server = self._launch(setup)
                learn(server, self.times)
                self._launched[setup] = server
        return self._revived(self._launched[setup])

    def _revived(self, server: ServerUnderTest) -> ServerUnderTest:
        """The same server; launched again where it has ended, so that later cases learn something, too."""
        with self._lock:
            if server.process is not None and (status := server.process.status) is not None:
                self._ended.append(status)
                server.process.end()  # what it may have left behind
                again = self._start(server.setup)
                server.address, server.process, server.spare = again.address, again.process, again.spare
        return server

    def _last_resort(self, setup: Setup) -> ServerUnderTest:
        """The main server for the one case that may end it; raises Skipped for any other."""
        reason = self._unsuited(dataclasses.replace(setup, fresh=False))
        with self._lock:
            if reason is None and self._spent:
                reason = "the server was stopped by an earlier case; only --launch gives each one of its own"
            if reason is not None:
                raise Skipped(reason)
            self._spent = True
        return self.main

    def _unsuited(self, setup: Setup) -> str | None:  # noqa: PLR0911 - a reason each
        """Why the main server will not do, None where it will."""
        main, options = self.main, self.options
        if setup.fresh:
            return "the case ends the server"
        if setup.max_body is not None and setup.max_body != main.max_body:
            return f"needs a maximum body of {setup.max_body:,} octets, and the server states {main.max_body}"
        if setup.application is not None:
            others = sorted({kind for kind in main.application.values() if kind != setup.application})
            if others or not main.application:
                seen = ", ".join(others) or "unknown"
                return (
                    f"needs the handler {setup.application} for application types, and the server has {seen}"
                )
        if setup.stop is not None and not self._stop_suits(setup.stop):
            return f"needs the STOP policy {setup.stop.partition(':')[0]} ({_stated(options)})"
        for name in ("frame_timeout", "idle_timeout", "linger_timeout", "write_timeout", "drain_timeout"):
            if getattr(setup, name) is not None:
                return f"needs a {name.replace('_', ' ')} of {getattr(setup, name):g} s"
        if setup.max_connections is not None:
            return f"needs a limit of {setup.max_connections} connections"
        return None

    def _stop_suits(self, stop: str) -> bool:
        policy, _, token = stop.partition(":")
        if policy != (self.options.stop_policy or ("local" if self.options.allow_stop else None)):
            return False
        return policy != "token" or token == self.options.stop_token

    # What a server can do.

    def sanity(self) -> None:
        """Hold a plain conversation with the main server; raises SetupFailed where it fails.

        A server that gets it wrong from the first, but speaks some Framelet, shall learn from the cases which
        requirement it breaks; ``odd`` says what was wrong.
        """
        with self._revived(self.main).connect(self.times) as conversation:
            conversation.allow(4 * self.times.answer)
            try:
                conversation.send(frames.frame(frames.REQUEST, "abc") + frames.frame(frames.PING, "end"))
                judge(conversation, [reply("abc"), pong("end")], "open")
            except Failed as error:
                speaks = conversation.log.stream("received")[:1] in _ANSWERS
                if speaks and not isinstance(error, Endless):
                    self.odd = self.odd or error.reason
                    return
                status = self.main.process.status if self.main.process is not None else None
                ended = f" (the server ended with status {status})" if status is not None else ""
                message = f'REQUEST "abc" and PING "end": {error.reason}{ended}'
                raise SetupFailed(message) from None
        self.odd = self.odd or ""

    def replay(self, play: Play, replay: Replay) -> None:
        """Say again what a replay file says, octet for octet; raises CaseEnded where it fails again."""
        with play.dial(**replay.setup) as conversation:
            for step in replay.steps:
                if "pause" in step:
                    conversation.pause(step["pause"])
                elif "send" in step:
                    conversation.send(bytes.fromhex(step["send"]))
                elif "fin" in step:
                    conversation.send_fin()
                elif "rst" in step:
                    conversation.reset()
                    return
            if replay.expect is not None and replay.then is not None:
                judge(conversation, replay.expect, replay.then, play=play)
                return
            observed = bytes.fromhex(replay.observed)
            try:
                while len(conversation.waiting) < len(observed) and conversation.ending is Ending.OPEN:
                    conversation.read_more()
            except Silence:
                pass
            if conversation.waiting[: len(observed)] == observed:
                message = f"the peer sent the same octets again; then the case failed: {replay.reason}"
                raise Failed(message)

    def facts(self) -> dict[str, str]:
        """What was found out, for the reports."""
        kinds = sorted(set(self.main.application.values()))
        facts = {"HELLO states": " ".join(f"{k}={v}" for k, v in self.main.parameters.items()) or "nothing"}
        facts["application types"] = ", ".join(kinds) or "unknown"
        facts["STOP policy"] = _stated(self.options)
        facts["servers launched"] = f"{sum(server.process is not None for server in self._all)}"
        if self._ended:
            facts["servers that ended by themselves"] = f"{len(self._ended)}, with status {self._ended[0]}"
        return facts

    # Launching.

    def _launch(self, setup: Setup) -> ServerUnderTest:
        server = self._start(setup)
        with self._lock:
            self._all.append(server)
        if setup.stop == "local" and launch.listens_everywhere(server.address[1]):
            raise Skipped(
                "the launched server listens on all addresses, where the STOP policy local allows no client: "
                "have it listen on {host}"
            )
        return server

    def _start(self, setup: Setup) -> ServerUnderTest:
        assert self.options.launch is not None  # noqa: S101 - callers looked
        port = launch.free_port()
        values = {"port": port, "host": "127.0.0.1", **setup.values()}
        token = str(values["stop_token"]) if "stop_token" in values else None
        if token is not None and "stop_token_file" in self._templates:
            values["stop_token_file"] = self._token_file(token)
        process = launch.Process(launch.fill(self.options.launch, values), token)
        return ServerUnderTest(
            ("127.0.0.1", port), process, setup, spare=[process.await_port(port, self.times.launch)]
        )

    def _token_file(self, token: str) -> Path:
        with tempfile.NamedTemporaryFile(
            "w", prefix="framelet-token-", delete=False, encoding="utf-8"
        ) as file:
            file.write(token + "\n")  # as editors leave it; it is not part of the token (REQ-SEC-4)
        self._files.append(Path(file.name))
        return Path(file.name)

    def close(self) -> None:
        """End all servers that were launched."""
        running = [server.process for server in self._all if server.process is not None]
        for process in running:
            process.send_signal(signal.SIGTERM)  # all at once, as each may take its time
        for server in self._all:
            for sock in server.spare:
                sock.close()
        for process in running:
            process.end()
        for path in self._files:
            path.unlink(missing_ok=True)


def _stated(options: RunOptions) -> str:
    if options.stop_policy is not None:
        return f"{options.stop_policy}, as stated"
    return "not stated"
