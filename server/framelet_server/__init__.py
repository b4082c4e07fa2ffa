"""The Framelet server: a leader/followers thread pool that serves text handlers over TCP and unix sockets."""

from .drain import DrainObserver
from .handlers import Handler
from .listener import ListenError
from .poller import EpollPoller, SelectorPoller
from .proxy import ProxyPolicy
from .server import Server
from .stop_policy import StopKind, StopPolicy
from .tls import ServerTls

__all__ = [
    "DrainObserver",
    "EpollPoller",
    "Handler",
    "ListenError",
    "ProxyPolicy",
    "SelectorPoller",
    "Server",
    "ServerTls",
    "StopKind",
    "StopPolicy",
]
