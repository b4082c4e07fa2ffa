"""Conversations with a server that show the bugs which no single vector can: deadlines, drains, flow, memory.

Each takes the name of a bug, or None, starts a server with it and fails unless the server is correct.
"""

import contextlib
import pathlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from .vectors import TYPES, WAIT, Wire, pack, parameters, server

Probe = Callable[[str | None], None]
PROBES: dict[str, Probe] = {}

REQUEST, STOP, PING = TYPES["REQUEST"], TYPES["STOP"], TYPES["PING"]
SHORT = 0.3  # seconds of a deadline that is waited for
LARGE = pack(REQUEST, b"x" * (1 << 20))


def probe(*names: str) -> Callable[[Probe], Probe]:
    """Make a function the probe for bugs."""

    def register(function: Probe) -> Probe:
        PROBES.update(dict.fromkeys(names, function))
        return function

    return register


@contextmanager
def connect(port: int, *, small: bool = False, sends: int = 1 << 14) -> Iterator[Wire]:
    """A connection, with small buffers if it is not to be read for a time; ``sends`` is for much to send."""
    with socket.socket() as sock:
        if small:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, sends)
        sock.settimeout(WAIT)
        sock.connect(("127.0.0.1", port))
        yield Wire(sock)


def expect_fatal(wire: Wire, code: int, wait: float = WAIT) -> None:
    """See that a fatal ERROR with this code comes, and the end behind it."""
    frame = wire.frame(wait)
    assert frame is not None
    assert (frame[0], frame[1][:4]) == (TYPES["ERROR"], b"%d " % code)
    assert wire.frame(wait) is None


def ping(wire: Wire, body: bytes = b"there?") -> None:
    """See that the server serves this connection."""
    wire.sock.sendall(pack(PING, body))
    assert wire.frame() == (TYPES["PONG"], body)


def fill(wire: Wire, octets: bytes, wait: float = SHORT) -> int:
    """Send without reading until the server takes no more for `wait`; how much it took."""
    wire.sock.settimeout(wait)
    sent = 0
    with contextlib.suppress(TimeoutError):
        while sent < len(octets):
            sent += wire.sock.send(octets[sent : sent + (1 << 16)])
    return sent


def send(sock: socket.socket, octets: bytes) -> None:
    """Send while another thread reads."""
    with contextlib.suppress(OSError):  # the reader sees how the connection ended
        sock.sendall(octets)


def silent(wire: Wire, seconds: float) -> None:
    """See that nothing comes for a time."""
    with contextlib.suppress(TimeoutError):
        frame = wire.frame(seconds)
        message = f"{frame} came"
        raise AssertionError(message)


@probe("header-in-one-read", "one-read-one-frame")
def cut_behind_a_frame(bug: str | None) -> None:
    frame = pack(REQUEST, b"ab")
    with server(bug=bug) as (port, _), connect(port) as wire:
        for cut in range(1, len(frame)):
            wire.sock.sendall(pack(PING, b"first") + frame[:cut])
            assert wire.frame(1) == (TYPES["PONG"], b"first")
            wire.sock.sendall(frame[cut:])
            assert wire.frame(1) == (TYPES["REPLY"], b"ba")


@probe("allocates-announced-length")
def memory_of_a_promise(bug: str | None) -> None:
    with server(bug=bug) as (port, process), connect(port) as wire:

        def memory() -> int:
            text = pathlib.Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")
            return next(int(line.split()[1]) for line in text.splitlines() if line.startswith("VmRSS:"))

        ping(wire)
        before = memory()
        wire.sock.sendall(pack(PING, b"x") + bytes([REQUEST, 1, 0, 0, 0]))
        assert wire.frame() == (TYPES["PONG"], b"x")
        assert memory() - before < 8192, "the server took kibibytes for octets that did not come"


@probe("checks-only-the-start", "error-discloses-path", "error-text-too-long")
def ill_formed_at_the_end(bug: str | None) -> None:
    with server(bug=bug) as (port, _), connect(port) as wire:
        wire.sock.sendall(pack(REQUEST, b"x" * 5000 + b"\xff"))
        frame = wire.frame()
        assert frame is not None
        assert frame[0] == TYPES["ERROR"]
        assert frame[1].decode().startswith("400 ")
        assert len(frame[1]) <= 1024
        assert b"/" not in frame[1]


@probe("error-quotes-token")
def token_in_error(bug: str | None) -> None:
    with server("--stop=token", "--stop-token=right", bug=bug) as (port, _), connect(port) as wire:
        wire.sock.sendall(pack(STOP, b"almost-right"))
        frame = wire.frame()
        assert frame is not None
        assert frame[1].startswith(b"403 ")
        assert b"right" not in frame[1]


@probe("reverses-by-chunks")
def long_text(bug: str | None) -> None:
    text = "".join(map(chr, range(0x4E00, 0x4E00 + 5000)))
    with server(bug=bug) as (port, _), connect(port) as wire:
        wire.sock.sendall(pack(REQUEST, text.encode()))
        assert wire.frame() == (TYPES["REPLY"], text[::-1].encode())


@probe("hello-limit-never-lifted")
def limit_lifted(bug: str | None) -> None:
    with server(bug=bug) as (port, _), connect(port) as wire:
        for body in (b"framelet/1 max-body=65536", b"framelet/1"):
            wire.sock.sendall(pack(TYPES["HELLO"], body))
            assert wire.frame() is not None
        wire.sock.sendall(pack(REQUEST, b"x" * 65_537))
        assert wire.frame() == (TYPES["REPLY"], b"x" * 65_537)


# Deadlines.


@probe(
    "discarded-frame-untimed",
    "no-frame-deadline",
    "frame-deadline-from-header",
    "octets-extend-frame-deadline",
    "timeout-codes-swapped",
)
def frame_timeout(bug: str | None) -> None:
    for part in (b"\x01", b"\x80\0\0\0\x05ab", b"\x01\0\0\0\x05ab"):
        with server(f"--frame-timeout={SHORT}", bug=bug) as (port, _), connect(port) as wire:
            wire.sock.sendall(part)
            expect_fatal(wire, 504, 4 * SHORT)
    with server(f"--frame-timeout={SHORT}", bug=bug) as (port, _), connect(port) as wire:
        wire.sock.sendall(bytes([REQUEST, 0, 0, 1, 0]))
        started = time.monotonic()
        frame = None
        while frame is None and time.monotonic() - started < 4 * SHORT:
            wire.sock.sendall(b"x")
            with contextlib.suppress(TimeoutError):
                frame = wire.frame(SHORT / 8)
        assert frame is not None
        assert frame[1].startswith(b"504 ")


@probe("no-idle-timeout", "idle-closes-silently")
def idle_timeout(bug: str | None) -> None:
    with server(f"--idle-timeout={SHORT}", bug=bug) as (port, _), connect(port) as wire:
        ping(wire)
        expect_fatal(wire, 505, 4 * SHORT)


@probe("idle-inside-frame")
def idle_inside_frame(bug: str | None) -> None:
    frame = pack(REQUEST, b"ab")
    with server(f"--idle-timeout={SHORT}", bug=bug) as (port, _), connect(port) as wire:
        wire.sock.sendall(frame[:6])
        silent(wire, 3 * SHORT)
        wire.sock.sendall(frame[6:])
        assert wire.frame() == (TYPES["REPLY"], b"ba")


@probe("idle-while-owing", "never-reads-again")
def answers_left_waiting(bug: str | None) -> None:
    count = 16
    options = f"--idle-timeout={SHORT}"
    with server(options, bug=bug) as (port, _), connect(port, small=True, sends=1 << 19) as wire:
        with contextlib.suppress(OSError):
            wanted = LARGE * count
            wanted = wanted[fill(wire, wanted, 3 * SHORT) :]
            threading.Thread(target=send, args=(wire.sock, wanted), daemon=True).start()
        for number in range(count):
            frame = wire.frame(4 * SHORT)
            assert frame is not None, f"the end in place of answer {number}"
            assert frame == (TYPES["REPLY"], LARGE[5:]), f"{frame[1][:40]!r} in place of answer {number}"


@probe("no-write-timeout")
def write_timeout(bug: str | None) -> None:
    with server(f"--write-timeout={SHORT}", bug=bug) as (port, _), connect(port, small=True) as wire:
        with contextlib.suppress(ConnectionError):
            fill(wire, LARGE * 32, 3 * SHORT)
        with contextlib.suppress(ConnectionError, AssertionError):  # cut off, as like as not inside a frame
            wire.frames(4 * SHORT)


@probe("unbounded-answers")
def answers_are_bounded(bug: str | None) -> None:
    with server(bug=bug) as (port, _), connect(port, small=True, sends=1 << 19) as wire:
        assert fill(wire, LARGE * 20) < len(LARGE) * 20


# The end.


@probe("does-not-linger")
def reads_on_behind_fatal(bug: str | None) -> None:
    with server(bug=bug) as (port, _), connect(port) as wire:
        wire.sock.sendall(bytes(5))
        expect_fatal(wire, 501)
        end = time.monotonic() + SHORT
        while time.monotonic() < end:
            wire.sock.sendall(b"x" * 1000)
        wire.sock.settimeout(SHORT)
        assert wire.sock.recv(1) == b""


@probe("lingers-for-ever")
def lingers_for_a_time(bug: str | None) -> None:
    with server(f"--linger-timeout={SHORT}", bug=bug) as (port, _), connect(port) as wire:
        wire.sock.sendall(bytes(5))
        expect_fatal(wire, 501)
        end = time.monotonic() + 4 * SHORT
        with contextlib.suppress(ConnectionError):
            while time.monotonic() < end:
                wire.sock.sendall(b"x")
            raise AssertionError("the server reads for ever")


@probe("too-many-closed-silently", "one-connection-too-many")
def too_many(bug: str | None) -> None:
    with server("--max-connections=1", bug=bug) as (port, _), connect(port) as first:
        ping(first)
        with connect(port) as second:
            expect_fatal(second, 507, 1)
        ping(first)


# The drain.


@contextmanager
def slow_and_stopper(bug: str | None, *options: str) -> Iterator[tuple[Wire, Wire, int]]:
    """A client that does not read its answers, another that has just sent STOP, and the port."""
    with server(*options, bug=bug) as (port, _), connect(port, small=True) as slow, connect(port) as stopper:
        fill(slow, LARGE * 16)
        ping(stopper)
        stopper.sock.sendall(pack(STOP))
        yield slow, stopper, port


@probe("drain-drops-answers", "stopped-too-early")
def answers_before_stopped(bug: str | None) -> None:
    with slow_and_stopper(bug) as (slow, stopper, _):
        silent(stopper, SHORT)
        assert set(slow.frames()) == {(TYPES["REPLY"], LARGE[5:])}
        frame = stopper.frame()
        assert frame is not None
        assert frame[0] == TYPES["STOPPED"]
        assert parameters(frame[1]) == {"closed": "1", "cut": "0"}
        assert stopper.frame() is None


@probe("drain-goes-on-accepting")
def drain_refuses_connections(bug: str | None) -> None:
    with slow_and_stopper(bug) as (_, stopper, port):
        silent(stopper, SHORT)
        with contextlib.suppress(ConnectionError):
            socket.create_connection(("127.0.0.1", port)).close()
            raise AssertionError("the server accepts a connection while it drains")


@probe("signal-without-drain")
def signal_drains(bug: str | None) -> None:
    with server(bug=bug) as (port, process), connect(port, small=True) as slow:
        fill(slow, LARGE * 16)
        process.terminate()
        assert set(slow.frames()) == {(TYPES["REPLY"], LARGE[5:])}
        assert process.wait(WAIT) == 0


@probe("no-drain-deadline")
def drain_ends(bug: str | None) -> None:
    with slow_and_stopper(bug, f"--drain-timeout={SHORT}") as (_, stopper, _):
        frame = stopper.frame(6 * SHORT)
        assert frame is not None
        assert parameters(frame[1]) == {"closed": "0", "cut": "1"}


@probe("second-stop-refused")
def second_stop(bug: str | None) -> None:
    large = pack(REQUEST, b"x" * 16_000_000)
    with server(bug=bug) as (port, _), connect(port) as second, connect(port) as first:
        second.sock.sendall(large + pack(STOP))
        second.sock.recv(1, socket.MSG_PEEK)  # the answer waits, and the STOP behind it
        first.sock.sendall(pack(STOP))
        assert [kind for kind, _ in second.frames()] == [TYPES["REPLY"], TYPES["STOPPED"]]
        assert [kind for kind, _ in first.frames()] == [TYPES["STOPPED"]]
