"""Where a server is: the forms in which people write it, and the one in which Framelet prints it."""

from __future__ import annotations

import dataclasses
import re
from typing import NamedTuple

from .errors import AddressError

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 6666

_TLS_SCHEME = "framelets"
_SCHEMES = ("framelet", _TLS_SCHEME, "tcp", "http")
# Not compiled before they are needed, as importing this takes time enough.
_URL = r"(?s:(?:([A-Za-z][A-Za-z0-9+.-]*)://)?(.*))"
_BRACKETED = r"\[([^\]]*)\](?::([^:]*))?"
_PORT = r"[0-9]{1,5}"
_MAX_PORT = 65_535


class TcpAddress(NamedTuple):
    """A host, as name or literal without brackets, and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        """As a URL, with an IPv6 literal in brackets."""
        return _url("framelet", self.host, self.port)


@dataclasses.dataclass(frozen=True, slots=True)
class TlsAddress:
    """A host and a port where TLS is spoken; no tuple, so that it never passes for a TcpAddress."""

    host: str
    port: int

    def __str__(self) -> str:
        """As a URL, with an IPv6 literal in brackets."""
        return _url(_TLS_SCHEME, self.host, self.port)


def _url(scheme: str, host: str, port: int) -> str:
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


class UnixAddress(NamedTuple):
    """The path of a unix stream socket."""

    path: str

    def __str__(self) -> str:
        """As ``unix:PATH``, which ``parse_address`` reads."""
        return f"unix:{self.path}"


Address = TcpAddress | TlsAddress | UnixAddress
"""Where a server listens, or a client connects to."""


def parse_address(text: Address | tuple[str, int] | str, port: int | None = None) -> Address:
    """Read an address as people write it, or check one that a program has, or its host and port.

    ``text`` is a host name, an IPv4 or IPv6 literal (with or without brackets), ``HOST:PORT``, any of these
    after ``framelet://``, ``tcp://`` or ``http://``, or ``unix:PATH``; after ``framelets://`` it is a
    TlsAddress.  ``port`` is used where the text names none; by default that is 6666.  Raises AddressError
    where the text has another form or is none, for a port that is not a number from 0 to 65535, and where
    ``text`` names a port other than ``port``.
    """
    if port is not None:
        _check_port(port)
    if isinstance(text, (TlsAddress, UnixAddress)):
        text = str(text)
    elif isinstance(text, tuple) and len(text) == 2:  # noqa: PLR2004 - a host and a port
        host, own = text
        address = parse_address(host, own)
        return address if port is None else parse_address(str(address), port)
    elif not isinstance(text, str):
        message = f"{text!r} is not an address: expected text, or a host and a port"
        raise AddressError(message)
    if text.startswith("unix:"):
        path = text.removeprefix("unix:")
        if not path or "\0" in path:
            message = f"{text!r} names no path: expected unix:PATH"
            raise AddressError(message)
        return UnixAddress(path)
    scheme, host, own_port = _read(text)
    if own_port is not None and port is not None and own_port != port:
        message = f"{text!r} names port {own_port}, but port {port} is given as well"
        raise AddressError(message)
    if own_port is None:
        own_port = DEFAULT_PORT if port is None else port
    return TlsAddress(host, own_port) if scheme == _TLS_SCHEME else TcpAddress(host, own_port)


def without_password(text: str) -> str:
    """The text without the user and password of any URL in it."""
    return re.sub(r"://[^\s/]*@", "://", text)


def names_port(text: str) -> bool:
    """Whether an address says everything by itself: it has a port, or is a path.  Raises AddressError."""
    return isinstance(parse_address(text), UnixAddress) or _read(text)[2] is not None


def _read(text: str) -> tuple[str | None, str, int | None]:
    """Scheme, host and port of an address; what it says too much is explained, and never repeated."""
    match = re.fullmatch(_URL, text)
    scheme, rest = match.groups() if match else (None, text)
    scheme = scheme and scheme.lower()
    _, secret, rest = rest.rpartition("@")
    if rest.startswith(("/", "./", "../")):
        message = f"{rest!r} names no host: for a unix socket expected {'unix:' + rest!r}"
        raise AddressError(message)
    place, *more = re.split("[/?#]", rest, maxsplit=1)
    shown = place if scheme is None else f"{scheme}://{place}"
    if scheme is not None and scheme not in _SCHEMES:
        message = f"{shown!r} has the scheme {scheme}: expected {', '.join(_SCHEMES)} or none"
        raise AddressError(message)
    if secret:
        message = f"an address cannot have a user or a password: expected {shown!r}"
        raise AddressError(message)
    if more and more != [""]:
        message = f"an address cannot have a path: expected {shown!r}"
        raise AddressError(message)
    return scheme, *_split(place, shown)


def _check_port(port: int) -> None:
    if isinstance(port, bool) or not isinstance(port, int) or not 0 <= port <= _MAX_PORT:
        message = f"{port!r} is not a port: expected a number from 0 to {_MAX_PORT}"
        raise AddressError(message)


def parse_port(text: str) -> int:
    """Read a port from 0 to 65535; raises AddressError for anything else."""
    if not (re.fullmatch(_PORT, text) and int(text) <= _MAX_PORT):
        message = f"{text!r} is not a port: expected a number from 0 to {_MAX_PORT}"
        raise AddressError(message)
    return int(text)


def _split(rest: str, text: str) -> tuple[str, int | None]:
    """Host and port, None where there is no port."""
    bracketed = re.fullmatch(_BRACKETED, rest)
    if bracketed:
        host, port = bracketed.groups()
    elif rest.count(":") == 1:
        host, port = rest.split(":")
    else:
        host, port = rest, None  # a bare name, or an IPv6 literal without brackets
    if not _is_host(host, literal=bracketed is not None):
        message = f"{text!r} names no host: expected HOST, HOST:PORT or framelet://HOST:PORT"
        raise AddressError(message)
    return host, None if port is None else parse_port(port)


def _is_host(text: str, *, literal: bool) -> bool:
    """Whether this can be a host: an IPv6 literal where it has colons or brackets, else any name."""
    if not text or any(character.isspace() or character in "/?#@[]\0" for character in text):
        return False
    if literal or ":" in text:
        import ipaddress  # noqa: PLC0415 - seldom needed, and slow to import

        try:
            ipaddress.IPv6Address(text)
        except ValueError:
            return False
    return True
