"""``framelet shell``: send lines to one server from a terminal.  Needs click and prompt-toolkit.

The prompt runs on the main thread.  Another thread sends PINGs, which keep the connection alive between
lines.  ``_lock`` guards the client and is held for each call, because a client takes one call at a time.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
import termios
import threading
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click
from prompt_toolkit import PromptSession
from prompt_toolkit.auto_suggest import AutoSuggestFromHistory
from prompt_toolkit.completion import WordCompleter
from prompt_toolkit.history import FileHistory, History, InMemoryHistory

from framelet import ConnectionStateError, FrameletError
from framelet_client.errors import AnswerError
from framelet_client.exit_codes import ExitCode

from .bench import bench
from .explain import explain
from .send import ApplicationType, stop_token
from .send_lines import limits_of
from .target import usage_error
from .terminal import tidied

if TYPE_CHECKING:
    from collections.abc import Callable

    from framelet_client.client import Client

    from .target import Target

_T = TypeVar("_T")

_COMMANDS = {
    "/ping": "[TEXT]: measure a round trip",
    "/hello": "show the server's version and limits",
    "/send": "TYPE TEXT: send an application frame, as in /send 0xC0 text",
    "/stop": "stop the server, with the token in FRAMELET_STOP_TOKEN if that is set",
    "/bench": "[OPTIONS]: measure the server, as in /bench --duration 2",
    "/help": "show this",
    "/quit": "leave, as Ctrl-D does",
}


class Shell:
    """Sends what is typed, and shows what comes back; connects again where the connection has ended."""

    def __init__(self, target: Target) -> None:
        """Connect; raises as ``Client`` does."""
        self._target = target
        self._results = target.results
        self._output = target.results.output
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._client = self._connect()

    def run(self) -> ExitCode:
        """Serve the terminal until its user leaves."""
        self._say(f"connected to {self._client.address}; /help shows the commands, Ctrl-D leaves")
        prompt: PromptSession[str] = PromptSession(
            "> ",
            history=_history(),
            auto_suggest=AutoSuggestFromHistory(),
            completer=WordCompleter([*_COMMANDS], sentence=True),
            complete_while_typing=False,
            enable_open_in_editor=True,
        )
        alive = threading.Thread(target=self._keep_alive, name="framelet-keep-alive", daemon=True)
        alive.start()
        try:
            while True:
                with contextlib.suppress(KeyboardInterrupt):  # ends the line, or the wait for an answer
                    if not self._do(prompt.prompt()):
                        break
        except EOFError:
            pass
        finally:
            self._ended.set()
            self._client.close()
            alive.join()
        return ExitCode.SUCCESS

    def _do(self, typed: str) -> bool:
        """Do what was typed: requests, or a command; False to leave."""
        word, _, rest = typed.partition(" ")
        try:
            if word in {"/quit", "/exit"}:
                return False
            if word.startswith("/") and not word.startswith("//"):
                self._command(word, rest.strip())
            elif typed:
                lines = [
                    line.removeprefix("/") if line.startswith("//") else line for line in typed.split("\n")
                ]
                self._ask(lambda client: self._request(client, lines))
        except click.ClickException as error:
            self._say(error.format_message())
        except AnswerError as error:
            self._say(str(error))
        except FrameletError as error:
            for words in explain(error, self._target.host, self._target.address).lines:
                self._say(words)
        return True

    def _request(self, client: Client, lines: list[str]) -> None:
        for answer in client.pipeline(lines, return_errors=True):
            self._output.write_lines([str(answer)])

    def _command(self, word: str, rest: str) -> None:
        if word == "/ping":
            seconds = self._ask(lambda client: client.ping(rest))
            self._say(f"answered in {seconds * 1000:.3f} ms")
        elif word == "/hello":
            self._results.show_hello(self._ask(lambda client: client.hello()))
        elif word == "/send":
            kind, _, text = rest.partition(" ")
            frame_type = ApplicationType()(kind)
            self._output.write_lines([self._ask(lambda client: client.send(frame_type, text))])
        elif word == "/stop":
            self._results.show_stopped(self._ask(lambda client: client.stop(stop_token())))
        elif word == "/bench":
            target = self._target
            where = [target.host, *([] if target.port is None else [str(target.port)])]
            for name, value in (target.tls_options or {}).items():
                where += [] if value is None else ["--" + name.replace("_", "-"), os.fspath(value)]
            bench.main([*where, *shlex.split(rest)], prog_name="/bench", standalone_mode=False)
        elif word == "/help":
            self._say(
                "A line is sent as a REQUEST, a pasted text line by line; // sends a line that begins with /."
            )
            for name, words in _COMMANDS.items():
                self._say(f"  {name:<7} {words}")
        else:
            known = ", ".join(_COMMANDS)
            message = f"unknown command {word}: expected one of {known}; // sends a line that begins with /"
            raise click.UsageError(message)

    def _ask(self, ask: Callable[[Client], _T]) -> _T:
        """Make one call, on a new connection if the last one has ended."""
        with self._lock:
            if self._client.closed:
                self._client = self._connect()
                self._say(f"reconnected to {self._client.address}")
            return ask(self._client)

    def _connect(self) -> Client:
        """Open a connection, and note its idle timeout."""
        client = self._target.connect()
        try:
            _, self._idle = limits_of(client)
        except BaseException:
            client.close()
            raise
        return client

    def _keep_alive(self) -> None:
        """Send a PING three times in each idle timeout, so that the server does not end the connection."""
        while not self._ended.wait(self._idle / 3):
            with self._lock, contextlib.suppress(FrameletError, ConnectionStateError):
                if not self._client.closed:
                    self._client.ping()

    def _say(self, words: str) -> None:
        self._output.write_lines([words])


def run(target: Target) -> ExitCode:
    """Talk to the server until the user leaves; raises as ``Client`` does."""
    if not (sys.stdin and sys.stdin.isatty() and target.results.output.is_terminal):
        raise usage_error("the shell needs a terminal: framelet send HOST PORT - reads a file or a pipe")
    before = termios.tcgetattr(sys.stdin)
    with tidied(lambda: termios.tcsetattr(sys.stdin, termios.TCSANOW, before)):
        return Shell(target).run()


def _history() -> History:
    """The lines of earlier shells, in a file that only the user can read, in XDG_STATE_HOME."""
    folder = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "framelet"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        file = folder / "history"
        file.touch(mode=0o600)
    except OSError:
        return InMemoryHistory()
    return FileHistory(file)
