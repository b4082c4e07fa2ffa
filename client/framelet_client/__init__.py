"""Framelet's client: a blocking ``Client``, a ``Pool`` of them, and the ``framelet`` command line.

``framelet_client.asyncio`` is the client for asyncio.

The command line needs the extra ``cli``; everything that is imported here needs ``framelet`` alone.
"""

from .client import Client
from .config import ClientLimits
from .errors import AnswerError, ClientError, ConnectError, ConnectionLostError, FatalAnswerError, TlsError
from .pool import Pool
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
    "Pool",
    "TlsError",
]
