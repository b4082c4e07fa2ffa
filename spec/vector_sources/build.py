"""The words in which the vectors are written: frames, answers and vectors, as plain data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

REQUEST, REPLY, STOP, STOPPED, ERROR, PING, PONG, HELLO = range(1, 9)

NAMES = {
    REQUEST: "REQUEST",
    REPLY: "REPLY",
    STOP: "STOP",
    STOPPED: "STOPPED",
    ERROR: "ERROR",
    PING: "PING",
    PONG: "PONG",
    HELLO: "HELLO",
}

SMALL_MAX, DEFAULT_MAX = 65_536, 16_777_216

Vector = dict[str, Any]
Expected = dict[str, Any]
Asked = dict[str, Any]
Octets = str | list[dict[str, Any]]


class Run(NamedTuple):
    """Octets that repeat, so that a long body takes one line."""

    octets: bytes
    times: int

    @property
    def size(self) -> int:
        """The number of octets in the whole run."""
        return len(self.octets) * self.times


Field = bytes | Run
Body = str | Field
Frame = tuple[Field, ...]
"""The fields of one frame, or octets that are no whole frame."""


def frame(frame_type: int, body: Body = b"") -> Frame:
    """A whole frame."""
    octets = _field(body)
    length = octets.size if isinstance(octets, Run) else len(octets)
    return (*header(frame_type, length), octets)


def header(frame_type: int, length: int) -> Frame:
    """A header alone, whatever comes behind it."""
    return frame_type.to_bytes(1, "big"), length.to_bytes(4, "big")


def request(body: Body = b"") -> Frame:
    """A REQUEST."""
    return frame(REQUEST, body)


def ping(body: Body = b"") -> Frame:
    """A PING."""
    return frame(PING, body)


def raw(octets: Field) -> Frame:
    """Octets that are no frame."""
    return (octets,)


def head_of(whole: Frame, octets: int) -> Frame:
    """The first octets of a frame without runs."""
    return raw(b"".join(field for field in whole if isinstance(field, bytes))[:octets])


def answer(frame_type: int, body: Body = b"", times: int = 1) -> Expected:
    """A frame that is expected octet for octet, perhaps several times over."""
    return _repeated({"type": _name(frame_type), "body": _octets([(_field(body),)])}, times)


def reply(body: Body = b"") -> Expected:
    """The expected REPLY, with its text as it will be sent: already reversed."""
    return answer(REPLY, body)


def pong(body: Body = b"") -> Expected:
    """The expected PONG."""
    return answer(PONG, body)


def error(code: int, times: int = 1) -> Expected:
    """An expected ERROR, whatever its text."""
    return _repeated({"type": "ERROR", "code": code}, times)


def hello(max_body: int = DEFAULT_MAX) -> Expected:
    """An expected HELLO that states a maximum body size, and perhaps more."""
    return {"type": "HELLO", "parameters": {"max-body": str(max_body)}}


def stopped(closed: int = 0, cut: int = 0) -> Expected:
    """An expected STOPPED, which may hold further parameters."""
    return {"type": "STOPPED", "parameters": {"closed": str(closed), "cut": str(cut)}}


FAILED: Expected = {"type": "FAILED"}
"""What a client reports for a frame that got no answer."""


def asked(frame_type: int, body: Body = b"") -> Asked:
    """A frame that the client sent before; the body of a HELLO is its own affair."""
    if frame_type == HELLO:
        return {"type": "HELLO"}
    return {"type": _name(frame_type), "body": _octets([(_field(body),)])}


def server(  # noqa: PLR0913 - each argument is one column of the vectors
    name: str,
    title: str,
    requirements: str,
    send: Sequence[Frame],
    expect: Sequence[Expected],
    *,
    closed: bool = False,
    eof: bool = False,
    valid: bool = True,
    needs: dict[str, Any] | None = None,
) -> Vector:
    """A vector for a server: what the runner sends, and what the server answers."""
    return {
        "id": name,
        "title": title,
        "requirements": requirements.split(),
        "role": "server",
        **({"needs": needs} if needs else {}),
        "valid": valid,
        "send": _octets(send),
        "eof": eof,
        "expect": list(expect),
        "then": "closed" if closed or eof else "open",
    }


def client(  # noqa: PLR0913, PLR0917 - each argument is one column of the vectors
    name: str,
    title: str,
    requirements: str,
    asks: Sequence[Asked],
    send: Sequence[Frame],
    expect: Sequence[Expected],
    *,
    closed: bool = False,
    eof: bool = False,
    valid: bool = True,
    fatal: int | None = None,
    needs: dict[str, Any] | None = None,
) -> Vector:
    """A vector for a client: what it asked, what the runner sends, and what the client reports.

    ``fatal`` is the code of the fatal ERROR that it reports besides.
    """
    vector = server(name, title, requirements, send, expect, closed=closed, eof=eof, valid=valid, needs=needs)
    vector |= {"role": "client", "asked": list(asks)}
    return vector | ({"fatal": fatal} if fatal is not None else {})


def _field(body: Body) -> Field:
    return body.encode() if isinstance(body, str) else body


def _name(frame_type: int) -> str:
    return NAMES.get(frame_type, f"{frame_type:02X}")


def _repeated(expected: Expected, times: int) -> Expected:
    return expected if times == 1 else expected | {"times": times}


def _octets(frames: Iterable[Frame]) -> Octets:
    """Hexadecimal, a space between fields and two between frames; pieces where something repeats."""
    pieces: list[dict[str, Any]] = []
    for fields in frames:
        gap = "  "
        for field in fields:
            if isinstance(field, Run):
                pieces.append({"repeat": field.octets.hex(), "times": field.times})
            elif field and pieces and "hex" in pieces[-1]:
                pieces[-1]["hex"] += gap + field.hex()
            elif field:
                pieces.append({"hex": field.hex()})
            gap = " "
    if not pieces:
        return ""
    if len(pieces) == 1 and "hex" in pieces[0]:
        octets: str = pieces[0]["hex"]
        return octets
    return pieces
