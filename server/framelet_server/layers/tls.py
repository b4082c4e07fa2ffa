"""TLS below the frames, by the standard module ``ssl``: octets in and out, and no I/O of its own.

What is read and written goes through memory, so that a handshake is done in turns like everything else, and
a client that is silent in the midst of it holds no thread.
"""

from __future__ import annotations

import contextlib
import ssl
import threading
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from framelet import ConfigurationError, ErrorCode, FrameType, ServerConnection
from framelet.registry import ALPN
from framelet_server.net.transport import LayerError

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from framelet_server.net.peer import Peer

_SLICE = 16_384
"""Octets that go through memory at a time: the most that one record holds.

The memory between us and OpenSSL never shrinks again, so larger slices would stay with every connection.
"""

_HANDSHAKE = 0x16
"""The first octet of every client that speaks TLS (RFC 8446, section 5.1)."""

_ROLE = "organizationalUnitName"


class ServerTls:
    """A server's certificate, and whose certificates it asks its clients for.

    TLS 1.2 and later (REQ-TLS-1), no compression, no renegotiation.  ``reload`` has new clients see what the
    files hold by then; the connections that there are go on as they began.
    """

    def __init__(
        self,
        cert_file: str | os.PathLike[str],
        key_file: str | os.PathLike[str] | None = None,
        *,
        client_ca_file: str | os.PathLike[str] | None = None,
    ) -> None:
        """Read the files, all of them in PEM; raises ConfigurationError that names the one that is wrong.

        ``cert_file`` holds the certificate and those between it and its root; ``key_file`` the key, without a
        passphrase, unless that is in ``cert_file`` too.  With ``client_ca_file`` every client has to show a
        certificate that one of the authorities in it has signed; the organizational units (OU) of its
        subject are the client's roles.
        """
        self._cert_file = Path(cert_file)
        self._key_file = self._cert_file if key_file is None else Path(key_file)
        self._client_ca_file = None if client_ca_file is None else Path(client_ca_file)
        self._loading = threading.Lock()  # so that of two reloads the later one has the last word
        self._context = self._load()

    @property
    def knows_clients(self) -> bool:
        """Whether clients have to show a certificate."""
        return self._client_ca_file is not None

    def reload(self) -> None:
        """Read the files again; where they are wrong, keep what there was, and raise ConfigurationError."""
        with self._loading:
            self._context = self._load()

    def layer(self) -> TlsLayer:
        """TLS for a new client."""
        return TlsLayer(self._context)

    def _load(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
        context.set_alpn_protocols([ALPN])  # REQ-TLS-2
        _check_readable(self._cert_file, self._key_file)
        try:
            context.load_cert_chain(self._cert_file, self._key_file, password=_no_passphrase)
        except ssl.SSLError as error:
            message = (
                f"the certificate {self._cert_file} cannot be used with the key {self._key_file}: "
                f"{_reason(error) or 'expected PEM'}"
            )
            raise ConfigurationError(message) from None
        if self._client_ca_file is not None:
            _check_readable(self._client_ca_file)
            context.verify_mode = ssl.CERT_REQUIRED
            try:
                context.load_verify_locations(self._client_ca_file)
            except ssl.SSLError:
                message = f"{self._client_ca_file} holds no certificate: expected PEM"
                raise ConfigurationError(message) from None
        return context


class TlsLayer:
    """One client's TLS."""

    __slots__ = ("_incoming", "_known", "_outgoing", "_tls", "ended", "established")

    def __init__(self, context: ssl.SSLContext) -> None:
        """Wait for the client's first octet."""
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._known = False  # whether it is TLS that the client speaks
        self.established = False
        self.ended = False  # by close_notify (REQ-TLS-3)

    def receive(self, data: bytes) -> bytes:
        """Take octets in, and return what they mean; raises LayerError."""
        if data and not self._known:
            self._meet(data[0])
        pieces: list[bytes] = []
        for start in range(0, len(data), _SLICE):
            self._incoming.write(data[start : start + _SLICE])
            self._decrypt(pieces)
        return b"".join(pieces)

    def send(self, pieces: list[bytes]) -> list[bytes]:
        """Octets to be written: what the handshake has to say, and the pieces given."""
        encrypted: list[bytes] = []
        for piece in pieces:
            left = memoryview(piece)
            while left:
                left = left[self._tls.write(left[:_SLICE]) :]
                if self._outgoing.pending >= _SLICE:
                    encrypted.append(self._outgoing.read())
        if self._outgoing.pending:
            encrypted.append(self._outgoing.read())
        return encrypted

    def end(self) -> bytes:
        """The close_notify; the client's own is not waited for."""
        with contextlib.suppress(ssl.SSLError):
            self._tls.unwrap()
        return self._outgoing.read()

    def identify(self, peer: Peer) -> Peer:
        """The roles of the certificate that the client has shown, if it had to (REQ-STOP-16)."""
        certificate = self._tls.getpeercert() or {}
        # A name is a sequence of sets of pairs (RFC 5280, section 4.1.2.4).
        subject: Sequence[Sequence[tuple[str, str]]] = certificate.get("subject", ())  # type: ignore[assignment]  # the stub has one type for all fields
        return peer.with_roles(value for names in subject for key, value in names if key == _ROLE)

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
        except ssl.SSLCertVerificationError as error:
            message = f"the client's certificate is not accepted: {error.verify_message}"
            raise LayerError(message) from None
        except ssl.SSLError as error:
            message = f"TLS failed: {_reason(error) or 'for no reason given'}"
            raise LayerError(message) from None

    def _meet(self, first: int) -> None:
        """Look at the client's first octet: people mix up ports."""
        self._known = True
        if first == _HANDSHAKE:
            return
        spoken = "another protocol"
        if first in FrameType.__members__.values():
            spoken = "Framelet without TLS"
        elif chr(first).isupper():
            spoken = "HTTP, or the like"
        # A client of our own understands it, and others get no less than they would from OpenSSL.
        connection = ServerConnection(now=0.0)
        connection.fail(ErrorCode.TYPE_UNEXPECTED, "this port speaks TLS")
        self._outgoing.write(connection.data_to_send(0.0))
        message = f"it speaks {spoken}, and this port TLS"
        raise LayerError(message)


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


def _reason(error: ssl.SSLError) -> str:
    """OpenSSL's own words; constants, nothing that a client chose."""
    return (error.reason or "").replace("_", " ").lower()
