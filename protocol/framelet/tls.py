"""TLS below the frames, for both ends, by the standard module ``ssl``: octets in, octets out, no I/O.

Records go through memory (``ssl.MemoryBIO``), so a handshake is done in turns like everything else, and a
peer that is silent in the middle of one holds no thread.  ``import framelet`` does not import this module:
programs without TLS do not load OpenSSL.
"""

from __future__ import annotations

import contextlib
import os
import ssl
import tempfile
import weakref
from pathlib import Path
from typing import NoReturn

from .errors import ConfigurationError
from .registry import ALPN

_PASSING = ("/dev/", "/proc/")
"""Where the names of descriptors of one process are."""

_MOST = 16_777_216
"""Octets of a file that is kept."""

_RECORD = 16_384
"""Octets that one record holds at most (RFC 8446, section 5.1), and that go through memory at a time.

The memory between us and OpenSSL never shrinks: larger slices would stay with every connection.
"""


class TlsStream:
    """One connection's TLS.  Each end adds what it expects of its peer, and its own errors."""

    __slots__ = ("_incoming", "_met", "_outgoing", "_tls", "ended", "established")

    def __init__(self, context: ssl.SSLContext, *, server_name: str | None = None) -> None:
        """Begin before the handshake; a client gives the name that the server must have."""
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(
            self._incoming, self._outgoing, server_side=server_name is None, server_hostname=server_name
        )
        self._met = False  # whether the peer's first octet has been looked at
        self.established: bool = False
        self.ended: bool = False  # by close_notify (REQ-TLS-3)

    def receive(self, data: bytes) -> bytes:
        """Take octets in, and return what they mean; raises what ``_meet`` and ``_failure`` say.

        A client's handshake begins with a call without octets.
        """
        # This runs for every read of a connection, so all of it stands here: one Python call, and one
        # (SSLObject.read) for each record.
        if data and not self._met:
            self._met = True
            self._meet(data[0])
        tls, incoming = self._tls, self._incoming
        texts: list[bytes] = []
        for start in range(0, len(data) or 1, _RECORD):
            incoming.write(data[start : start + _RECORD])
            try:
                if not self.established:
                    tls.do_handshake()
                    self.established = True
                # A read takes a whole record, and OpenSSL reads no further than the record it is at.  So once
                # ``incoming`` is empty nothing is left, and asking again would only raise.
                while incoming.pending and not self.ended:
                    text = tls.read(_RECORD)
                    self.ended = not text
                    texts.append(text)
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLZeroReturnError:
                self.ended = True
            except ssl.SSLError as error:
                raise self._failure(error) from error
        return b"".join(texts)

    def send(self, pieces: list[bytes]) -> list[bytes]:
        """Octets to be written: what the handshake has to say, and the pieces given."""
        # As ``receive``: one Python call, and one (SSLObject.write) for each record.
        write, outgoing = self._tls.write, self._outgoing
        records: list[bytes] = []
        for piece in pieces:
            left = memoryview(piece)
            while left:
                left = left[write(left[:_RECORD]) :]
                if outgoing.pending >= _RECORD:
                    records.append(outgoing.read())
        if outgoing.pending:
            records.append(outgoing.read())
        return records

    def end(self) -> bytes:
        """The close_notify; the peer's own is not waited for, and its octets can still come."""
        with contextlib.suppress(ssl.SSLError):
            self._tls.unwrap()
        return self._outgoing.read()

    def _meet(self, first: int) -> None:
        """Look at the peer's first octet, and raise if it cannot be TLS: people mix up ports."""
        raise NotImplementedError

    def _failure(self, error: ssl.SSLError) -> Exception:
        """What to raise for an error of OpenSSL's."""
        raise NotImplementedError


def new_context(*, server_side: bool) -> ssl.SSLContext:
    """TLS 1.2 and later (REQ-TLS-1), no compression, no renegotiation, our name by ALPN (REQ-TLS-2).

    A client's context checks the server's certificate and name.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server_side else ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols([ALPN])
    return context


class KeptFile:
    """A file to be opened again and again, and by processes started later, though it may be a pipe.

    What may be there for one reading, or for this process, alone (``<(...)`` of a shell, /dev/stdin) is read
    once and kept, in memory where the system has files that are.  ``path`` is what to open, ``name`` what it
    was called, and ``descriptor`` what has to be passed on for the path to be good in another process.
    """

    def __init__(self, name: str | os.PathLike[str], content: bytes | None = None) -> None:
        """Keep ``content``, or what the file holds if need be; raises ConfigurationError that names it."""
        self.name: str = os.fspath(name)
        self.path: str = self.name
        self.descriptor: int | None = None
        self.kept: bool = content is not None or not Path(name).is_file() or self.path.startswith(_PASSING)
        try:
            if content is None:
                with Path(name).open("rb") as stream:
                    if not self.kept:
                        return
                    content = stream.read(_MOST + 1)
        except OSError as error:
            message = f"cannot read {self.name}: {error.strerror}"
            raise ConfigurationError(message) from None
        if len(content) > _MOST:
            message = f"cannot read {self.name}: it has more than {_MOST} octets"
            raise ConfigurationError(message)
        self._keep(content)

    def _keep(self, content: bytes) -> None:
        if hasattr(os, "memfd_create"):
            self.descriptor = os.memfd_create("framelet")
            weakref.finalize(self, os.close, self.descriptor)
            self.path = f"/proc/self/fd/{self.descriptor}"
        else:
            file = tempfile.NamedTemporaryFile(prefix="framelet-")  # noqa: SIM115 - as long as we are used
            weakref.finalize(self, file.close)
            self.path = file.name
        Path(self.path).write_bytes(content)

    def __fspath__(self) -> str:
        """What to open."""
        return self.path

    def __str__(self) -> str:
        """What it was called."""
        return self.name

    def __reduce__(self) -> tuple[type[KeptFile], tuple[str, bytes | None]]:
        """In another process the same content, or the same path."""
        return KeptFile, (self.name, Path(self.path).read_bytes() if self.kept else None)

    @classmethod
    def of(cls, file: str | os.PathLike[str]) -> KeptFile:
        """The same one, if it is kept by now."""
        return file if isinstance(file, KeptFile) else cls(file)


def load_certificate(context: ssl.SSLContext, cert: KeptFile, key: KeptFile) -> None:
    """Have a context identify itself by a certificate in PEM; the key may be in the same file.

    Raises ConfigurationError that names the file that is wrong.
    """
    _check_readable(cert, key)
    try:
        context.load_cert_chain(cert, key, password=_no_passphrase)
    except ssl.SSLError as error:
        reason = reason_of(error) or "expected PEM"
        message = f"the certificate {cert} cannot be used with the key {key}: {reason}"
        raise ConfigurationError(message) from None


def load_authorities(context: ssl.SSLContext, ca_file: KeptFile) -> None:
    """Have a context trust the authorities in a file in PEM; raises ConfigurationError that names it."""
    _check_readable(ca_file)
    try:
        context.load_verify_locations(ca_file)
    except ssl.SSLError:
        message = f"{ca_file} holds no certificate: expected PEM"
        raise ConfigurationError(message) from None


def reason_of(error: ssl.SSLError) -> str:
    """OpenSSL's own words, which may be none; they are constants, nothing that a peer chose."""
    return (error.reason or "").replace("_", " ").lower()


def _check_readable(*files: KeptFile) -> None:
    """Name the file that cannot be read; ``ssl`` does not."""
    for file in files:
        try:
            with Path(file).open("rb"):
                pass
        except OSError as error:
            message = f"cannot read {file}: {error.strerror}"
            raise ConfigurationError(message) from None


def _no_passphrase() -> NoReturn:
    """Refuse a key that is encrypted: by default OpenSSL would ask the terminal, and wait."""
    raise ConfigurationError("the key has a passphrase: expected one without")
