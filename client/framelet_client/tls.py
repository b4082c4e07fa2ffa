"""TLS below the frames of a client, by the standard module ``ssl``: octets in and out, and no I/O here."""

from __future__ import annotations

import contextlib
import re
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from framelet import ConfigurationError
from framelet.registry import ALPN

if TYPE_CHECKING:
    import os

_SLICE = 16_384
"""Octets that go through memory at a time: the most that one record holds, as that memory never shrinks."""

_RECORDS = range(0x14, 0x18)
"""The first octets of all records of TLS (RFC 8446, section 5.1)."""

_ALERT = re.compile(r"(?:TLSV1[0-9]*|SSLV3)_ALERT_([A-Z_]+)")


class ClientTls:
    """How a client speaks TLS: whom it trusts, and who it is.

    TLS 1.2 and later (REQ-TLS-1).  The server's certificate and the name in it are always checked; there is
    no option against that (REQ-TLS-4).
    """

    def __init__(
        self,
        *,
        ca_file: str | os.PathLike[str] | None = None,
        cert_file: str | os.PathLike[str] | None = None,
        key_file: str | os.PathLike[str] | None = None,
        server_name: str | None = None,
    ) -> None:
        """Read the files, all of them in PEM; raises ConfigurationError that names the one that is wrong.

        ``ca_file`` holds the authorities to be trusted in the place of the system's.  ``cert_file`` is the
        client's own certificate, with its key in ``key_file`` unless that is in ``cert_file`` too.
        ``server_name`` is the name that the server's certificate must have, if not the host connected to.
        """
        if server_name == "":
            raise ConfigurationError("the server's name is empty: expected a host name or an IP address")
        if key_file is not None and cert_file is None:
            raise ConfigurationError("a key is given, but no certificate")
        self._server_name = server_name
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # which checks certificate and name
        self._context.hostname_checks_common_name = False  # RFC 9525 knows subjectAltName alone
        self._context.minimum_version = ssl.TLSVersion.TLSv1_2
        self._context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
        self._context.set_alpn_protocols([ALPN])
        self._trust(ca_file)
        if cert_file is not None:
            self._identify(Path(cert_file), Path(cert_file if key_file is None else key_file))

    def layer(self, host: str) -> TlsLayer:
        """TLS for a new connection to a host; raises ConfigurationError for a name that none can have."""
        name = self._server_name or host.partition("%")[0]  # a scope is no part of an address's name
        try:
            return TlsLayer(self._context, name)
        except (TypeError, ValueError):
            message = f"{name!r} can be in no certificate: expected a host name or an IP address"
            raise ConfigurationError(message) from None

    def _trust(self, ca_file: str | os.PathLike[str] | None) -> None:
        if ca_file is None:
            self._context.load_default_certs()
            return
        _check_readable(Path(ca_file))
        try:
            self._context.load_verify_locations(ca_file)
        except ssl.SSLError:
            message = f"{ca_file} holds no certificate: expected PEM"
            raise ConfigurationError(message) from None

    def _identify(self, cert_file: Path, key_file: Path) -> None:
        _check_readable(cert_file, key_file)
        try:
            self._context.load_cert_chain(cert_file, key_file, password=_no_passphrase)
        except ssl.SSLError as error:
            reason = (error.reason or "expected PEM").replace("_", " ").lower()
            message = f"the certificate {cert_file} cannot be used with the key {key_file}: {reason}"
            raise ConfigurationError(message) from None


class TlsLayer:
    """One connection's TLS; what goes wrong is an OSError whose ``strerror`` says it."""

    def __init__(self, context: ssl.SSLContext, name: str) -> None:
        """Have ``send`` begin the handshake with a server that must have the name."""
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=name)
        self._known = False  # whether it is TLS that the server speaks
        self.established = False
        self.ended = False  # by close_notify

    def receive(self, data: bytes) -> bytes:
        """Take octets in, and return what they mean; with none the handshake begins."""
        if data and not self._known:
            if data[0] not in _RECORDS:
                raise OSError(0, "the server does not speak TLS here")
            self._known = True
        pieces: list[bytes] = []
        for start in range(0, len(data) or 1, _SLICE):
            self._incoming.write(data[start : start + _SLICE])
            self._decrypt(pieces)
        return b"".join(pieces)

    def send(self, data: bytes) -> bytes:
        """Octets to be written: what TLS has to say by itself, and the data."""
        encrypted: list[bytes] = []
        left = memoryview(data)
        while left:
            left = left[self._tls.write(left[:_SLICE]) :]
            encrypted.append(self._outgoing.read())
        encrypted.append(self._outgoing.read())
        return b"".join(encrypted)

    def end(self) -> bytes:
        """The close_notify; answers can still come behind it."""
        with contextlib.suppress(ssl.SSLError):
            self._tls.unwrap()
        return self._outgoing.read()

    def _decrypt(self, pieces: list[bytes]) -> None:
        """Go on with the handshake, or with the records behind it, as far as the octets go."""
        try:
            if not self.established:
                self._tls.do_handshake()
                self.established = True
            while not self.ended:
                piece = self._tls.read(_SLICE)
                self.ended = not piece
                pieces.append(piece)
        except ssl.SSLWantReadError:
            return
        except ssl.SSLZeroReturnError:
            self.ended = True
        except ssl.SSLError as error:
            raise OSError(0, _words(error)) from error


def _words(error: ssl.SSLError) -> str:
    """What went wrong, for people; the words come from OpenSSL and the program, not from the server."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the server's certificate is not accepted: {error.verify_message.rstrip('.')}"
    reason = error.reason or "unknown reason"
    alert = _ALERT.fullmatch(reason)
    if alert:
        return f"the server refused: TLS alert {alert[1].replace('_', ' ').lower()!r}"
    return f"TLS failed: {reason.replace('_', ' ').lower()}"


def _check_readable(*files: Path) -> None:
    """Name the file that is missing; ``ssl`` does not."""
    for file in files:
        try:
            with file.open("rb"):
                pass
        except OSError as error:
            message = f"cannot read {file}: {error.strerror}"
            raise ConfigurationError(message) from None


def _no_passphrase() -> NoReturn:
    """Refuse a key that is encrypted: by default OpenSSL would ask the terminal, and wait."""
    raise ConfigurationError("the key has a passphrase: expected one without")
