"""The executors that the command offers for handlers: threads, or processes that are replaced."""

from __future__ import annotations

import concurrent.futures
import functools
import logging
import multiprocessing
import os
import signal
import threading
from typing import TYPE_CHECKING, Any, TypeVar

from framelet import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable

_Result = TypeVar("_Result")

_log = logging.getLogger("framelet_server")

_LAST_MOMENT = 1.0
"""Seconds in which what an executor still does may end, once its server has."""


def make_executor(text: str) -> concurrent.futures.Executor:
    """The executor that ``thread:N`` or ``process:N`` names; raises ConfigurationError for another text."""
    kind, _, number = text.partition(":")
    if kind not in ("thread", "process") or not (number.isascii() and number.isdigit() and int(number)):
        message = f"{text!r} names no executor: expected thread:N or process:N, with N from 1 on"
        raise ConfigurationError(message)
    if kind == "thread":
        return concurrent.futures.ThreadPoolExecutor(int(number), "framelet-handler")
    return ProcessExecutor(int(number))


def end_executor(executor: concurrent.futures.Executor) -> bool:
    """Shut an executor down, behind its server; False where something in it does not end."""
    ending = threading.Thread(
        target=functools.partial(executor.shutdown, cancel_futures=True), name="framelet-ending", daemon=True
    )
    ending.start()
    ending.join(_LAST_MOMENT)
    if ending.is_alive():
        for child in multiprocessing.active_children():
            child.kill()
    return not ending.is_alive()


class ProcessExecutor(concurrent.futures.Executor):
    """A pool of processes that is made anew when one of its processes dies.

    The standard pool refuses everything from then on.  What was in it fails, in the new one as in the old: a
    request that kills its process is not tried again.
    """

    def __init__(self, processes: int) -> None:
        """Have up to so many processes, each started when it is needed."""
        self._processes = processes
        self._lock = threading.Lock()  # guards the rest
        self._pool = self._new_pool()

    def submit(
        self,
        function: Callable[..., _Result],
        /,
        *args: Any,  # noqa: ANN401 - as the base has it
        **keywords: Any,  # noqa: ANN401 - as the base has it
    ) -> concurrent.futures.Future[_Result]:
        """Have a function called in one of the processes."""
        with self._lock:
            try:
                return self._pool.submit(function, *args, **keywords)
            except concurrent.futures.BrokenExecutor:
                _log.error("a process that called handlers has died; starting new ones")
                self._pool.shutdown(wait=False)
                self._pool = self._new_pool()
                return self._pool.submit(function, *args, **keywords)

    def shutdown(
        self,
        wait: bool = True,  # noqa: FBT001, FBT002 - as the base has it
        *,
        cancel_futures: bool = False,
    ) -> None:
        """End the processes."""
        with self._lock:
            pool = self._pool
        pool.shutdown(wait, cancel_futures=cancel_futures)

    def _new_pool(self) -> concurrent.futures.ProcessPoolExecutor:
        # Started anew, not forked: a fork of a process with threads can hold locks that nobody frees.
        return concurrent.futures.ProcessPoolExecutor(
            self._processes, multiprocessing.get_context("spawn"), _begin_process
        )


def _begin_process() -> None:
    """Leave the end to the server: a terminal sends Ctrl-C and its hang-up to every process."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_end_with_server, name="framelet-parent", daemon=True).start()


def _end_with_server() -> None:
    """Where the server is killed, its processes would wait for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
    os._exit(1)
