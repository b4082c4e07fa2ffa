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


def parse_address(text: str, port: int | None = None) -> Address:
    """Read an address as people write it.

    ``text`` is a host name, an IPv4 or IPv6 literal (with or without brackets), ``HOST:PORT``, any of these
    behind ``framelet://``, ``tcp://`` or ``http://``, or ``unix:PATH``; behind ``framelets://`` it is a
    TlsAddress.  ``port`` is used where the text names none; by default that is 6666.  Raises AddressError
    where the text has another form, or where it names a port other than ``port``.
    """
    if text.startswith("unix:"):
        path = text.removeprefix("unix:")
        if not path or "\0" in path:
            message = f"{text!r} names no path: expected unix:PATH"
            raise AddressError(message)
        return UnixAddress(path)
    match = re.fullmatch(_URL, text)
    scheme, rest = match.groups() if match else (None, text)
    scheme = scheme and scheme.lower()
    if scheme is not None and scheme not in _SCHEMES:
        message = f"{text!r} has the scheme {scheme}: expected {', '.join(_SCHEMES)} or none"
        raise AddressError(message)
    host, own_port = _split(rest.removesuffix("/"), text)
    if own_port is not None and port is not None and own_port != port:
        message = f"{text!r} names port {own_port}, but port {port} is given as well"
        raise AddressError(message)
    if own_port is None:
        own_port = DEFAULT_PORT if port is None else port
    return TlsAddress(host, own_port) if scheme == _TLS_SCHEME else TcpAddress(host, own_port)


def parse_port(text: str) -> int:
    """Read a port from 0 to 65535; raises AddressError for anything else."""
    if not (re.fullmatch(_PORT, text) and int(text) <= _MAX_PORT):
        message = f"{text!r} is no port: expected a number from 0 to {_MAX_PORT}"
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
