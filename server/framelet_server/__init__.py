"""The Framelet server: a leader/followers thread pool that serves text handlers over TCP and unix sockets."""

from .drain import DrainObserver
from .endpoint import Endpoint
from .handlers import Handler
from .listener import ListenError
from .metrics import Metrics, MissingExtraError, registry
from .poller import EpollPoller, SelectorPoller
from .proxy import ProxyPolicy
from .pulse import Health
from .server import Server
from .stop_policy import StopKind, StopPolicy
from .tls import ServerTls

__all__ = [
    "DrainObserver",
    "Endpoint",
    "EpollPoller",
    "Handler",
    "Health",
    "ListenError",
    "Metrics",
    "MissingExtraError",
    "ProxyPolicy",
    "SelectorPoller",
    "Server",
    "ServerTls",
    "StopKind",
    "StopPolicy",
    "registry",
]
