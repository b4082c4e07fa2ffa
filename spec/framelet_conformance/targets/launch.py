"""Starting the peer under test from a command template, and ending it."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING

from framelet.registry import STOP_TOKEN_VARIABLE
from framelet_conformance.verdicts import SetupFailed, Skipped

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_OPTIONAL = re.compile(r"\[([^\[\]]*)\]")
_TICK = 0.01  # seconds between two looks at a process that is to end
_PLACE = re.compile(r"\{([a-z_]+)\}")


def places(template: str) -> set[str]:
    """The names of the placeholders in a template."""
    return set(_PLACE.findall(template))


def fill(template: str, values: Mapping[str, object]) -> list[str]:
    """The words of a command.

    ``{name}`` stands for a value.  A part in brackets is left out unless all its values are given:
    ``serve --port {port} [--max-body {max_body}]``.
    """

    def optional(match: re.Match[str]) -> str:
        return match[1] if places(match[1]) <= values.keys() else ""

    text = _OPTIONAL.sub(optional, template)
    return [_PLACE.sub(lambda match: str(values.get(match[1], match[0])), word) for word in shlex.split(text)]


def free_port() -> int:
    """A port on the loopback interface that is free now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def listens_everywhere(port: object) -> bool:
    """Whether somebody listens on this port of every address, as far as /proc tells."""
    sought = {f"{'0' * digits}:{port:04X} {'0' * digits}:0000 0A" for digits in (8, 32)}
    return any(
        " ".join(line.split()[1:4]) in sought
        for path in (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
        if path.exists()
        for line in path.read_text(encoding="ascii").splitlines()
    )


def memory(session: int) -> int:
    """The data segments of all processes of a session, in octets; raises Skipped where they cannot be read.

    All of them, because the command may be a script that starts the peer.
    """
    total = 0
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            # After the name of the program, which may hold anything: state, parent, group, session.
            if int((folder / "stat").read_text(errors="replace").rpartition(")")[2].split()[3]) == session:
                found = re.search(
                    r"^VmData:\s*(\d+) kB", (folder / "status").read_text(errors="replace"), re.MULTILINE
                )
                total += int(found[1]) * 1024 if found else 0
    if not total:
        raise Skipped("needs /proc, to see the peer's memory")
    return total


def status_of(process: subprocess.Popen[bytes]) -> int | None:
    """Its exit status, None while it runs; with its end, all ends that it started.

    That is done before the system gives its number to somebody else's processes.
    """
    if process.returncode is None:
        with contextlib.suppress(ChildProcessError):  # another thread was quicker
            if os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
                return None
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
    return process.poll()


class Process:
    """A launched peer."""

    def __init__(self, words: list[str], token: str | None = None) -> None:
        """Start it; raises SetupFailed where that is impossible."""
        environment = dict(os.environ)
        if token is not None:
            environment[STOP_TOKEN_VARIABLE] = token
        self._output: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - read after the process ended
        try:
            self._process = subprocess.Popen(  # noqa: S603 - the command that the user gave
                words,
                stdin=subprocess.DEVNULL,
                stdout=self._output,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,
            )
        except OSError as error:
            message = f"cannot start {words[0]!r}: {error.strerror}"
            raise SetupFailed(message) from None
        self.words = words

    @property
    def pid(self) -> int:
        """The process, as the system numbers it."""
        return self._process.pid

    @property
    def status(self) -> int | None:
        """The exit status, None while it runs."""
        return status_of(self._process)

    def send_signal(self, number: signal.Signals) -> None:
        """Send it a signal, if it runs."""
        if self.status is None:
            self._process.send_signal(number)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Have it, and all that it started, stand still meanwhile."""
        self._signal_all(signal.SIGSTOP)
        try:
            yield
        finally:
            self._signal_all(signal.SIGCONT)

    def _signal_all(self, number: signal.Signals) -> None:
        if self.status is None:
            os.killpg(self.pid, number)

    def wait(self, seconds: float) -> int | None:
        """Wait for it to end; the exit status, None where it did not."""
        end = time.monotonic() + seconds
        while (status := self.status) is None and time.monotonic() < end:
            time.sleep(_TICK)
        return status

    def await_port(self, port: int, seconds: float) -> socket.socket:
        """Wait until it listens; raises SetupFailed where it ends or takes too long.

        Returns the connection that shows it, to be used for the first conversation: one more would count
        in a STOPPED.
        """
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.status is not None:
                message = f"{shlex.join(self.words)} ended with status {self.status}:\n{self.output()}"
                raise SetupFailed(message)
            try:
                sock = socket.create_connection(("127.0.0.1", port), 1.0)
            except OSError:
                self.wait(0.02)
            else:
                return sock
        self.end()
        message = f"{shlex.join(self.words)} does not listen on port {port} after {seconds:.3g} s"
        raise SetupFailed(message)

    def output(self) -> str:
        """The last of what it wrote, stdout and stderr together."""
        self._output.seek(0)
        return self._output.read()[-2_000:].decode(errors="replace").strip()

    def end(self) -> None:
        """Ask it to end, and make it."""
        if self._output.closed:
            return
        self.send_signal(signal.SIGTERM)
        if self.wait(2.0) is None:
            self._signal_all(signal.SIGKILL)
            self._process.wait()
        self._output.close()
