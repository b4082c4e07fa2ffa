"""Forks of this process: they get a copy of each descriptor, and must do nothing to what it stands for.

A copy keeps a port taken that the server has closed, and a reset from its client; and an epoll is one and the
same for both.  So in a fork everything that has sockets is told at once, and closes its copies.
"""

from __future__ import annotations

import logging
import os
import weakref
from typing import Protocol

_log = logging.getLogger("framelet_server")


class Forked(Protocol):
    """What has sockets."""

    def forked(self) -> None:
        """Close their copies in this process, a fork; take no lock: its holder may not exist here."""


_told: weakref.WeakSet[Forked] = weakref.WeakSet()


def tell_of_forks(forked: Forked) -> None:
    """Have this told in each fork of this process, as long as it is in use."""
    _told.add(forked)


def _tell_all() -> None:
    for forked in list(_told):
        forked.forked()
    _told.clear()


os.register_at_fork(after_in_child=_tell_all)


def end_fork_of(process: int) -> None:
    """End a fork of ``process`` that has come back from its handler, to serve the other one's clients.

    In the process itself nothing happens.
    """
    if (here := os.getpid()) != process:
        _log.error("process %d was forked by a handler and returned from it: it ends now", here)
        logging.shutdown()
        os._exit(1)
