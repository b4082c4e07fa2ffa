"""A certificate for the servers that speak TLS."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import trustme

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Certificate:
    """Files in PEM: the certificate with its key, for a server, and its authority, for clients."""

    server: Path
    authority: Path

    @classmethod
    def issue(cls, folder: Path) -> Self:
        """For this machine, written into the folder."""
        files = cls(folder / "server.pem", folder / "authority.pem")
        authority = trustme.CA()
        authority.cert_pem.write_to_path(files.authority)
        authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(files.server)
        return files
