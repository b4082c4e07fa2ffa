"""The octets of Framelet as both reference peers need them: frames, texts, and bodies with a form of their own.

Written from SPEC.md alone, sections 2, 4, 5, 7, 9 and 10.  Each `bug("...")` is a switch of the table in
bugs.py; without a switch the code is the plain reading of the specification.
"""

import re
import select
import socket
import time

from .bugs import bug

REQUEST, REPLY, STOP, STOPPED, ERROR, PING, PONG, HELLO = range(1, 9)
ANSWER_TO = {REQUEST: REPLY, STOP: STOPPED, PING: PONG, HELLO: HELLO}

HEADER = 5  # octets of type and length
DEFAULT_MAXIMUM = 16_777_216  # octets of a body (REQ-SIZE-3)
PING_LIMIT = 64  # octets (REQ-PING-1)
HELLO_LIMIT = 1024  # octets (REQ-HELLO-3)
ERROR_LIMIT = 1024  # octets (REQ-ERROR-14)
STOPPED_LIMIT = 1024  # octets (REQ-STOP-17)

_PARAMETERS = rb"[a-z][a-z0-9-]{0,31}=[!-~]+(?: [a-z][a-z0-9-]{0,31}=[!-~]+)*"
_HELLO = re.compile(rb"framelet/([1-9][0-9]{0,4})(?: (" + _PARAMETERS + rb"))?")
_HELLO_PADDED = re.compile(rb"framelet/0*([1-9][0-9]{0,4})(?: (" + _PARAMETERS + rb"))?")
_STOPPED = re.compile(_PARAMETERS)
_NUMBER = re.compile(r"0|[1-9][0-9]{0,9}")
_MAX_BODY = range(65_536, 4_294_967_296)


def wait(sock: socket.socket, *, read: bool, write: bool, timeout: float) -> tuple[bool, bool]:
    """Wait for a socket, at most ``timeout`` seconds; whether it may be read, and written."""
    if not (read or write):
        time.sleep(timeout)  # poll() would return at once where the peer has gone
        return False, False
    poll = select.poll()  # select() fails for descriptors above 1,023
    poll.register(sock, select.POLLIN * read | select.POLLOUT * write)
    mask = sum(found for _, found in poll.poll(timeout * 1000))
    return read and bool(mask & ~select.POLLOUT), write and bool(mask & ~select.POLLIN)


def is_ignorable(kind: int) -> bool:
    """Whether a frame of this type is read and discarded (REQ-TYPE-3)."""
    if bug("ignorable-bf-refused"):
        return 0x80 <= kind < 0xBF
    return 0x80 <= kind <= 0xBF


def is_application(kind: int) -> bool:
    """Whether this type is the application's own (section 5)."""
    return kind >= 0xC0


def pack(kind: int, body: bytes) -> bytes:
    """The octets of one frame (REQ-FRAME-1 to 3)."""
    length = len(body)
    if bug("length-includes-header"):
        length += HEADER
    octets = length.to_bytes(4, "big")
    if bug("little-endian-length"):
        octets = octets[::-1]
    return bytes([kind]) + octets + body


def unpack_header(octets: bytes | bytearray) -> tuple[int, int]:
    """Type and length of the frame that begins here; five octets at least must be there."""
    length = int.from_bytes(octets[1:HEADER], "little" if bug("little-endian-length") else "big")
    if bug("length-includes-header"):
        length = max(0, length - HEADER)
    if bug("signed-length") and length >= 1 << 31:
        length = 0  # a negative number is below every maximum, and there are no octets to wait for
    if bug("length-of-24-bits"):
        length &= 0xFFFFFF
    return octets[0], length


def parse_hello(body: bytes) -> tuple[int, dict[str, str]]:
    """Version and parameters of a HELLO.  Raises ValueError where REQ-HELLO-3 would have it refused."""
    if bug("hello-spaces-loose"):
        body = b" ".join(body.split())
    if bug("hello-any-case"):
        body = body.lower()
    form = _HELLO_PADDED if bug("hello-version-padded") else _HELLO
    match = form.fullmatch(body)
    if match is None or (len(body) > HELLO_LIMIT and not bug("hello-any-length")):
        raise ValueError("not a hello-body")
    parameters = _split(match[2] or b"")
    for key, value in parameters.items():
        if key == "max-body":
            _check_max_body(value)
        elif key in {"frame-timeout-ms", "idle-timeout-ms"}:
            if not _NUMBER.fullmatch(value):
                raise ValueError("a timeout is no number")
        elif bug("hello-unknown-key-refused"):
            raise ValueError("unknown key")
    return _version(int(match[1])), parameters


def _version(number: int) -> int:
    if bug("hello-version-of-16-bits"):
        return number & 0xFFFF
    return number & 0xFF if bug("hello-version-of-8-bits") else number


def _check_max_body(value: str) -> None:
    if not _NUMBER.fullmatch(value):
        raise ValueError("max-body is no number")
    if int(value) not in _MAX_BODY and not bug("hello-any-max-body"):
        raise ValueError("max-body is out of range")


def parse_stopped(body: bytes) -> dict[str, str]:
    """The parameters of a STOPPED.  Raises ValueError where it has another form (REQ-STOP-9)."""
    if not _STOPPED.fullmatch(body):
        raise ValueError("not a stopped-body")
    if len(body) > STOPPED_LIMIT and not bug("stopped-any-length"):
        raise ValueError("too long")
    parameters = _split(body)
    if not all(_NUMBER.fullmatch(parameters.get(key, "")) for key in ("closed", "cut")):
        raise ValueError("closed or cut is missing, or no number")
    if bug("stopped-limit-31-bits") and int(parameters["closed"]) >= 1 << 31:
        raise ValueError("closed is too large")
    return parameters


def _split(octets: bytes) -> dict[str, str]:
    pairs = [pair.split("=", 1) for pair in octets.decode("ascii").split()]
    parameters = {key: value for key, value in pairs}
    if len(parameters) < len(pairs) and not bug("hello-key-twice-accepted"):
        raise ValueError("a key stands twice")
    return parameters
