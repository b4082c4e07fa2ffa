"""The executors that the command offers for handlers: threads, or processes that are replaced."""

from __future__ import annotations

import concurrent.futures
import contextlib
import functools
import logging
import multiprocessing
import multiprocessing.context
import os
import signal
import threading
from typing import TYPE_CHECKING, Any, TypeVar

from framelet import ConfigurationError
from framelet_server.net.forks import end_fork_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_Result = TypeVar("_Result")

_log = logging.getLogger("framelet_server")

_LAST_MOMENT = 1.0
"""Seconds in which what an executor still does may end, once its server has."""


_SAFE_PATH = "PYTHONSAFEPATH"
"""The variable that has Python look for its modules where it is installed, not in the current folder."""
_setting = threading.Lock()
"""Held while the variable is set for what this process starts, which sees it itself for that long."""


@contextlib.contextmanager
def _safe_path() -> Iterator[None]:
    """Have what is started within run nothing of the current folder before it runs handlers."""
    with _setting:
        before = os.environ.get(_SAFE_PATH)
        os.environ[_SAFE_PATH] = "1"
        try:
            yield
        finally:
            _restore_safe_path(before)


def _restore_safe_path(before: str | None) -> None:
    os.environ.pop(_SAFE_PATH, None)
    if before is not None:
        os.environ[_SAFE_PATH] = before


class _SafeProcess(multiprocessing.context.SpawnProcess):
    """A process of a pool."""

    def start(self) -> None:
        """Start it with the variable set."""
        with _safe_path():
            super().start()


class _SafeContext(multiprocessing.context.SpawnContext):
    """How a pool starts its processes: anew, as a fork can hold locks that are never released."""

    Process = _SafeProcess


def _nothing() -> None:
    """Prepare nothing."""


def make_executor(text: str, prepare: Callable[[], None] = _nothing) -> concurrent.futures.Executor:
    """The executor that ``thread:N`` or ``process:N`` names; raises ConfigurationError for another text.

    ``prepare`` is called in each of the processes before its first call.
    """
    kind, _, number = text.partition(":")
    if kind not in ("thread", "process") or not (number.isascii() and number.isdigit() and int(number)):
        message = f"{text!r} is not an executor: expected thread:N or process:N, with N at least 1"
        raise ConfigurationError(message)
    if kind == "thread":
        return concurrent.futures.ThreadPoolExecutor(int(number), "framelet-handler")
    return ProcessExecutor(int(number), prepare)


def end_executor(executor: concurrent.futures.Executor) -> bool:
    """Shut an executor down after its server; False if some of its work does not end."""
    ending = threading.Thread(
        target=functools.partial(executor.shutdown, cancel_futures=True), name="framelet-ending", daemon=True
    )
    with contextlib.suppress(RuntimeError):  # the system has no thread for it: then by force
        ending.start()
        ending.join(_LAST_MOMENT)
        if not ending.is_alive():
            return True
    for child in multiprocessing.active_children():
        child.kill()
    return False


class ProcessExecutor(concurrent.futures.Executor):
    """A pool of processes that is made anew when one of its processes dies.

    The standard pool refuses everything from then on.  What was in it fails, in the new one as in the old: a
    request that kills its process is not tried again.
    """

    def __init__(self, processes: int, prepare: Callable[[], None] = _nothing) -> None:
        """Have up to so many processes, each started when it is needed."""
        self._processes = processes
        self._begin = functools.partial(_begin_process, prepare, os.environ.get(_SAFE_PATH))
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
                return self._pool.submit(_call, function, *args, **keywords)
            except concurrent.futures.BrokenExecutor:
                _log.error("a process that called handlers has died; starting new ones")
                self._pool.shutdown(wait=False)
                self._pool = self._new_pool()
                return self._pool.submit(_call, function, *args, **keywords)

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
        with _safe_path():  # its first semaphore starts a process, too, which tracks them
            return concurrent.futures.ProcessPoolExecutor(self._processes, _SafeContext(), self._begin)


def _call(function: Callable[..., _Result], /, *args: object, **keywords: object) -> _Result:
    """Make a call in a process of a pool; a fork that comes back from it must not answer, too."""
    process = os.getpid()
    try:
        return function(*args, **keywords)
    finally:
        end_fork_of(process)


def _begin_process(prepare: Callable[[], None], safe_path: str | None) -> None:
    """Leave the end to the server: a terminal sends Ctrl-C and its hang-up to every process."""
    _restore_safe_path(safe_path)
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_end_with_server, name="framelet-parent", daemon=True).start()
    prepare()


def _end_with_server() -> None:
    """End with the server: if that is killed, this process would wait without end."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
    os._exit(1)
