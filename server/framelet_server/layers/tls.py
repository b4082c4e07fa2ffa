"""TLS below the frames of a server's clients: its certificate, and theirs."""

from __future__ import annotations

import os
import ssl
import threading
from typing import TYPE_CHECKING

from framelet import (
    Address,
    ConfigurationError,
    ErrorCode,
    FrameType,
    ServerConnection,
    TlsAddress,
    UnixAddress,
    parse_address,
)
from framelet.tls import KeptFile, TlsStream, load_authorities, load_certificate, new_context, reason_of
from framelet_server.net.transport import LayerError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from framelet_server.net.peer import Peer

_HANDSHAKE = 0x16
"""The first octet of every client that speaks TLS (RFC 8446, section 5.1)."""

_ROLE = "organizationalUnitName"


class ServerTls:
    """A server's certificate, and whose certificates it asks its clients for.

    After ``reload`` new connections use what the files hold by then; those that are open go on as they began.
    Files that can be read only once, as pipes, are kept as they were.
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
        self._cert = KeptFile.of(cert_file)
        self._key = self._cert if key_file is None else KeptFile.of(key_file)
        self._client_ca = None if client_ca_file is None else KeptFile.of(client_ca_file)
        self._loading = threading.Lock()  # so that of two reloads the later one has the last word
        self._context = self._load()

    @property
    def knows_clients(self) -> bool:
        """Whether clients have to show a certificate."""
        return self._client_ca is not None

    @property
    def files(self) -> dict[str, KeptFile]:
        """What it was made from, by the names of the arguments."""
        key = None if self._key is self._cert else self._key
        found = {"cert_file": self._cert, "key_file": key, "client_ca_file": self._client_ca}
        return {name: file for name, file in found.items() if file is not None}

    def reload(self) -> None:
        """Read the files again; where they are wrong, keep what there was, and raise ConfigurationError."""
        with self._loading:
            self._context = self._load()

    def layer(self) -> ServerTlsLayer:
        """TLS for a new client."""
        return ServerTlsLayer(self._context)

    def _load(self) -> ssl.SSLContext:
        context = new_context(server_side=True)
        load_certificate(context, self._cert, self._key)
        if self._client_ca is not None:
            load_authorities(context, self._client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
        return context


class ServerTlsLayer(TlsStream):
    """TLS with one client; what goes wrong is a LayerError."""

    __slots__ = ()

    def identify(self, peer: Peer) -> Peer:
        """The roles of the certificate that the client has shown, if it had to (REQ-STOP-16)."""
        certificate = self._tls.getpeercert() or {}
        # A name is a sequence of sets of pairs (RFC 5280, section 4.1.2.4).
        subject: Sequence[Sequence[tuple[str, str]]] = certificate.get("subject", ())  # type: ignore[assignment]  # the stub has one type for all fields
        return peer.with_roles(value for names in subject for key, value in names if key == _ROLE)

    def _meet(self, first: int) -> None:
        if first == _HANDSHAKE:
            return
        spoken = "another protocol"
        if first in FrameType.__members__.values():
            spoken = "Framelet without TLS"
        elif chr(first).isupper():
            spoken = "HTTP, or the like"
        # One of our own clients understands this; others get as much as they would from OpenSSL.
        connection = ServerConnection(now=0.0)
        connection.fail(ErrorCode.TYPE_UNEXPECTED, "this port speaks TLS")
        self._outgoing.write(connection.data_to_send(0.0))
        message = f"it speaks {spoken}, but this port expects TLS"
        raise LayerError(message)

    def _failure(self, error: ssl.SSLError) -> LayerError:
        if isinstance(error, ssl.SSLCertVerificationError):
            return LayerError(f"the client's certificate is not accepted: {error.verify_message}")
        return LayerError(f"TLS failed: {reason_of(error) or 'no reason given'}")


def check_address(address: Address | tuple[str, int] | str, tls: ServerTls | None = None) -> Address:
    """An address in any form, checked as those that people write; raises AddressError, or as ``secured``."""
    address = parse_address(address)
    if isinstance(address, TlsAddress) and tls is None:
        message = f"{address} needs a certificate, but none is given"
        raise ConfigurationError(message)
    return secured(address, tls)


def secured(address: Address, tls: ServerTls | None) -> Address:
    """The address as one where TLS is spoken, if it is; raises ConfigurationError for a unix socket then."""
    if tls is None:
        return address
    if isinstance(address, UnixAddress):
        message = f"{address} cannot have TLS: expected a host and a port"
        raise ConfigurationError(message)
    return TlsAddress(address.host, address.port)
