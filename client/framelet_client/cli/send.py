"""``framelet send``, for one text or each line of standard input, and ``framelet stop``.  Needs click."""

from __future__ import annotations

import os
import select
import stat
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from framelet import IllFormedTextError, decode_text, encode_text
from framelet.registry import STOP_TOKEN_VARIABLE, TypeRange
from framelet_client.exit_codes import ExitCode

from .send_lines import send_lines
from .target import Target, usage_error, with_server
from .terminal import complain, open_input
from .valued import GroupedCommand, option

if TYPE_CHECKING:
    _Number = click.ParamType[int]
else:
    _Number = click.ParamType  # generic from click 8.4 on

_DEFAULT_PAYLOAD = "default payload"
_PATIENCE = 2.0
"""Seconds after which a user is told what the command waits for."""


class ApplicationType(_Number):
    """The number of an application type, in any of Python's notations."""

    name = "type"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:  # noqa: ANN401 - as click has it
        """Raise click.BadParameter for anything else."""
        try:
            number = value if isinstance(value, int) else int(value, 0)
        except ValueError:
            number = -1
        if number not in TypeRange.APPLICATION.types:
            self.fail(f"'{value}' is not an application type: use 0xC0 to 0xFF", param, ctx)
        return number


@click.command(cls=GroupedCommand, short_help="Send a text, or each line of a stream, and print the reply.")
@with_server
@click.argument("payload", required=False)
@option(
    "--file",
    metavar="FILE",
    type=click.Path(),
    help="Send the content of FILE unchanged; - is standard input.",
)
@option(
    "--type",
    "frame_type",
    type=ApplicationType(),
    metavar="TYPE",
    help="Send application frames of this type, 0xC0 to 0xFF, instead of REQUESTs.",
)
@option("-0", "--null", is_flag=True, help="Send the parts of standard input that NULs end, not its lines.")
@option("--literal", is_flag=True, help='Send the words "stop" and "-" as they are.')
def send(  # noqa: PLR0913 - each keyword is one option
    target: Target,
    payload: str | None,
    *,
    file: str | None,
    frame_type: int | None,
    null: bool,
    literal: bool,
) -> ExitCode:
    """Send PAYLOAD to the server at HOST and PORT, and print its reply.

    Without arguments: http://127.0.0.1, 6666, "default payload".  After a HOST that contains its port, and
    after a unix socket, PAYLOAD comes next.  Without PAYLOAD, a pipe or file on standard input that is not
    empty is the PAYLOAD, without one newline at its end.  The PAYLOAD "stop" stops the server, as the command
    stop does.  The PAYLOAD "-" sends each line of standard input, and prints each reply as a line, in order.
    """
    if file is not None and (payload is not None or null):
        raise usage_error("--file cannot be combined with PAYLOAD or -0")
    if null and payload not in (None, "-"):
        raise usage_error("-0 cannot be combined with a PAYLOAD: it reads standard input")
    if null or (payload == "-" and not literal):
        return _send_lines(target, b"\0" if null else b"\n", frame_type)
    if payload == "stop" and not literal and frame_type is None:
        return _stop(target, stop_token())
    if file is not None:
        text = _read_file(file, target.limits.max_body)
    elif payload is not None:
        text = payload
        _check_text("PAYLOAD", text, target)
    else:
        piped = _piped(target.limits.max_body)
        text = _DEFAULT_PAYLOAD if piped is None else piped
    with target.connect() as client:
        reply = client.request(text) if frame_type is None else client.send(frame_type, text)
    # With --file the reply is printed unchanged: no newline is added.
    target.results.show("reply", [reply], {"text": reply}, end="\n" if file is None else "")
    return ExitCode.SUCCESS


def _send_lines(target: Target, end: bytes, frame_type: int | None) -> ExitCode:
    if sys.stdin is None:
        raise usage_error("standard input is closed")
    with target.connect() as client:
        try:
            complete = send_lines(client, sys.stdin.fileno(), target.results, end=end, frame_type=frame_type)
        except OSError as error:
            words = f"standard input failed: {error.strerror}"
            target.results.fail([f"framelet: error: {words}"], {"message": words})
            complete = False
    return ExitCode.SUCCESS if complete else ExitCode.PARTIAL


def _read_file(file: str, most: int) -> str:
    if file == "-" and sys.stdin is None:
        raise usage_error("standard input is closed")
    try:
        with open_input(None if file == "-" else file) as stream:
            return _text(f"--file {file}", stream.read(most + 1), most)
    except OSError as error:
        message = f"--file {file} cannot be read: {error.strerror}"
        raise usage_error(message) from error


def _piped(most: int) -> str | None:
    """The text of a pipe or file that is standard input; None for an empty one, a terminal and /dev/null."""
    if sys.stdin is None:
        return None
    descriptor = sys.stdin.fileno()
    kind = os.fstat(descriptor).st_mode
    if not (stat.S_ISFIFO(kind) or stat.S_ISREG(kind) or stat.S_ISSOCK(kind)):
        return None
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    data, until, told = bytearray(), time.monotonic() + _PATIENCE, False
    try:
        while len(data) <= most:
            if not poll.poll(None if told else max(0.0, until - time.monotonic()) * 1000):
                told = True
                complain(
                    "framelet: waiting for the end of the PAYLOAD on standard input; </dev/null gives none"
                )
                continue
            piece = os.read(descriptor, most + 1 - len(data))
            if not piece:
                break
            data += piece
    except OSError as error:
        message = f"standard input failed: {error.strerror}"
        raise usage_error(message) from error
    return _text("the PAYLOAD in standard input", bytes(data), most).removesuffix("\n") if data else None


def _text(what: str, data: bytes, most: int) -> str:
    """The text of some octets; the caller read at most one octet more than ``most``."""
    if len(data) > most:
        message = f"{what} is longer than --max-body {most}"
        raise usage_error(message)
    try:
        return decode_text(data)
    except IllFormedTextError as error:
        message = f"{what} cannot be sent: {error}"
        raise usage_error(message) from error


def _check_text(what: str, text: str, target: Target) -> None:
    """Refuse a text that cannot be sent, before a connection is made."""
    try:
        size = len(encode_text(text))
    except IllFormedTextError as error:
        message = f"{what} cannot be sent: it is not well-formed text"
        raise usage_error(message) from error
    if size > target.limits.max_body:
        message = f"{what} is {size} octets long, more than --max-body {target.limits.max_body}"
        raise usage_error(message)


@click.command(cls=GroupedCommand, short_help="Stop a server, and wait until it has stopped.")
@with_server
@option(
    "--token-file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="File that holds the server's token.",
)
def stop(target: Target, token_file: Path | None) -> ExitCode:
    """Stop the server at HOST and PORT, and wait until it has.

    The token is read from --token-file, or else from the environment variable FRAMELET_STOP_TOKEN.
    """
    return _stop(target, stop_token(token_file))


def _stop(target: Target, token: str) -> ExitCode:
    _check_text("the token", token, target)
    with target.connect() as client:
        target.results.show_stopped(client.stop(token))
    return ExitCode.SUCCESS


def stop_token(path: Path | None = None) -> str:
    """The token in a file, or else in the environment; it is never part of a message (REQ-SEC-3)."""
    if path is None:
        return os.environ.get(STOP_TOKEN_VARIABLE, "")
    try:
        return path.read_text("utf-8").rstrip("\r\n")
    except OSError as error:
        message = f"{path} cannot be read: {error.strerror}"
        raise usage_error(message) from error
    except UnicodeDecodeError:
        message = f"the token in {path} is not UTF-8"
        raise usage_error(message) from None
