"""The Framelet server: a leader/followers thread pool that serves text handlers over TCP and unix sockets."""

import logging as _logging

from framelet import MissingExtraError

from .config import ServerLimits
from .layers.proxy_policy import ProxyPolicy
from .layers.tls import ServerTls
from .net.epoll import EpollPoller
from .net.peer import Peer
from .net.selector import SelectorPoller
from .net.sockets import ListenError
from .observe.http_endpoint import Endpoint
from .observe.liveness import Health
from .observe.metrics import Metrics
from .observe.prometheus import registry
from .pool.drain import DrainObserver
from .pool.stop_policy import StopKind, StopPolicy
from .server import Server
from .service.call_context import CallContext
from .service.handlers import AsyncHandler, Handler

__all__ = [
    "AsyncHandler",
    "CallContext",
    "DrainObserver",
    "Endpoint",
    "EpollPoller",
    "Handler",
    "Health",
    "ListenError",
    "Metrics",
    "MissingExtraError",
    "Peer",
    "ProxyPolicy",
    "SelectorPoller",
    "Server",
    "ServerLimits",
    "ServerTls",
    "StopKind",
    "StopPolicy",
    "registry",
]

# A program that configures no log gets none, instead of warnings on its standard error.
_logging.getLogger("framelet_server").addHandler(_logging.NullHandler())
