"""TLS of a client: the authorities it trusts, its own certificate, and the messages when TLS fails."""

from __future__ import annotations

import os
import re
import ssl

from framelet import ConfigurationError
from framelet.tls import KeptFile, TlsStream, load_authorities, load_certificate, new_context, reason_of

_RECORDS = range(0x14, 0x18)
"""The first octets of all records of TLS (RFC 8446, section 5.1)."""

_ALERT = re.compile(r"(?:TLSV1[0-9]*|SSLV3)_ALERT_([A-Z_]+)")


class ClientTls:
    """How a client speaks TLS: the authorities it trusts, and its own certificate.

    The server's certificate and the name in it are always checked; no option turns that off (REQ-TLS-4).
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

        ``ca_file`` holds the authorities to be trusted instead of the system's.  ``cert_file`` is the
        client's own certificate, with its key in ``key_file`` unless that is in ``cert_file`` too.
        ``server_name`` is the name that the server's certificate must have, if not the host connected to.
        """
        if server_name == "":
            raise ConfigurationError("the server's name is empty: expected a host name or an IP address")
        if key_file is not None and cert_file is None:
            raise ConfigurationError("a key is given, but no certificate")
        self._server_name = server_name
        self._context = new_context(server_side=False)
        self._context.hostname_checks_common_name = False  # RFC 9525 knows subjectAltName alone
        if ca_file is None:
            self._context.load_default_certs()
        else:
            load_authorities(self._context, KeptFile.of(ca_file))
        if cert_file is not None:
            cert = KeptFile.of(cert_file)
            load_certificate(self._context, cert, cert if key_file is None else KeptFile.of(key_file))

    def layer(self, host: str) -> ClientTlsLayer:
        """TLS for a new connection to a host; raises ConfigurationError for a name that none can have."""
        name = self._server_name or host.partition("%")[0]  # a scope is not part of an address's name
        try:
            return ClientTlsLayer(self._context, server_name=name)
        except (TypeError, ValueError):
            message = f"{name!r} cannot be in a certificate: expected a host name or an IP address"
            raise ConfigurationError(message) from None


class ClientTlsLayer(TlsStream):
    """TLS with one server; what goes wrong is an OSError whose ``strerror`` says it."""

    __slots__ = ()

    def _meet(self, first: int) -> None:
        if first not in _RECORDS:
            raise OSError(0, "the server does not speak TLS here")

    def _failure(self, error: ssl.SSLError) -> OSError:
        if isinstance(error, ssl.SSLCertVerificationError):
            words = f"the server's certificate is not accepted: {error.verify_message.rstrip('.')}"
        elif alert := _ALERT.fullmatch(error.reason or ""):
            words = f"the server refused: TLS alert {alert[1].replace('_', ' ').lower()!r}"
        else:
            words = f"TLS failed: {reason_of(error) or 'unknown reason'}"
        return OSError(0, words)
