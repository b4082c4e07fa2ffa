"""Framelet's client: a blocking ``Client`` for programs, and the ``framelet`` command line.

The command line needs the extra ``cli``; everything that is imported here needs ``framelet`` alone.
"""

from .client import Client
from .config import ClientLimits
from .errors import AnswerError, ClientError, ConnectError, ConnectionLostError, FatalAnswerError, TlsError
from .tls import ClientTls

__all__ = [
    "AnswerError",
    "Client",
    "ClientError",
    "ClientLimits",
    "ClientTls",
    "ConnectError",
    "ConnectionLostError",
    "FatalAnswerError",
    "TlsError",
]
