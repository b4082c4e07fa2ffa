"""Starting a thread, which the system may refuse."""

from __future__ import annotations

import functools
import threading
from typing import TYPE_CHECKING

from framelet import FrameletError

if TYPE_CHECKING:
    from collections.abc import Callable


class ThreadLimitError(FrameletError, RuntimeError):
    """The system has no further thread for this process."""

    def __init__(self) -> None:
        """Say what can be done."""
        super().__init__(
            "cannot start a thread: the system allows no more of them, or has no memory for one; "
            "lower the number of threads, or raise the limit (ulimit -u, ulimit -v)"
        )


def begin_thread(name: str, target: Callable[..., object], *args: object) -> threading.Thread:
    """Start a thread that does not keep the process from ending; raises ThreadLimitError."""
    thread = threading.Thread(target=functools.partial(target, *args), name=name, daemon=True)
    try:
        thread.start()
    except RuntimeError:
        raise ThreadLimitError from None
    return thread
