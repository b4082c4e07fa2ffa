"""The threads that serve all clients, and how many of them are active.

A worker waits for clients that are ready, serves a turn of each, and waits again; a worker that is *active*
has one of the ``permits`` for that, the others stand by.  Under the GIL two busy workers only contend, so
while much is going on (``StallDetector.awake``) one worker serves all, many clients at a time, and sockets
stay armed between turns.  While little is going on two wait, so that one that is held up is no loss.

A worker gives its permit up before it calls a handler that may take long (``let_others_in``); the stall
detector does it on behalf of one that is held up by surprise.  What the worker had taken on goes to the
others (``_left``).

Lock order: a worker's ``calls.lock`` first, then nothing else but the sockets.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import math
import queue
import sys
from collections import deque
from time import monotonic
from typing import TYPE_CHECKING, Protocol

from framelet_server.connection.channel import Channel
from framelet_server.net.busy_poll import BusyPoll
from framelet_server.net.poller import GONE
from framelet_server.service.calls import HandlerCalls

from .stall_detector import StallDetector
from .worker import Worker

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Executor, Future

    from framelet_server.connection.context import Context

_log = logging.getLogger("framelet_server")

_AT_ONCE = 64
"""Clients that a worker takes at a time while it serves all."""


class Owner(Protocol):
    """What is woken when its socket is ready, other than a channel."""

    def ready(self, *, gone: bool) -> None:
        """Do what is to be done; ``gone`` says that the peer is gone altogether."""


def one_at_a_time() -> bool:
    """Whether this interpreter runs one thread at a time (that is, has a GIL)."""
    return bool(getattr(sys, "_is_gil_enabled", lambda: True)())


class Workers:
    """All workers of a server."""

    def __init__(self, context: Context) -> None:
        """Prepare; ``start`` starts them."""
        self._context = context
        self._poller = context.poller
        threads = context.limits.threads
        # Without a GIL all are active always.
        alone = one_at_a_time()
        self._permits: queue.SimpleQueue[None] = queue.SimpleQueue()
        for _ in range(min(2, threads) if alone else threads):
            self._permits.put(None)
        context.keep_armed = threads == 1
        self._left: deque[Channel | tuple[int, int]] = deque()  # what workers that are held up had taken on
        self.wake_one: Callable[[], None] = lambda: None  # has a worker come back from the poller
        self.all = [Worker(HandlerCalls(context.handlers)) for _ in range(threads)]
        self.detector = StallDetector(self, context, may_be_alone=alone and threads > 1)
        for worker in self.all:
            worker.calls.let_others_in = functools.partial(self.relieve, worker)
            worker.calls.watch = self.detector.wake

    def start(self, executor: Executor) -> list[Future[None]]:
        """Have an executor run them all, each on a thread of its own."""
        return [executor.submit(self._run, worker) for worker in self.all]

    @property
    def active(self) -> int:
        """How many have a permit."""
        return sum(worker.active for worker in self.all)

    @property
    def busy(self) -> int:
        """How many serve a client."""
        return sum(worker.turn_began < math.inf for worker in self.all)

    @property
    def one_waits(self) -> bool:
        """Whether an active worker waits for clients."""
        return any(worker.active and worker.turn_began == math.inf for worker in self.all)

    def longest_turn(self) -> float:
        """Seconds for which some worker has been in the server's own code by now: handlers do not count."""
        now = monotonic()
        since = (max(w.turn_began, w.calls.ended) for w in self.all if w.calls.began == math.inf)
        return now - min(since, default=now)

    def relieve(self, worker: Worker) -> bool:
        """Take the permit from a worker that is, or will be, held up; False where it has none.

        Another worker goes on with what this one had taken on.  Called by the worker itself, or by the stall
        detector.
        """
        with worker.calls.lock:
            if not worker.active:
                return False
            worker.active = False
        with contextlib.suppress(IndexError):
            while True:
                self._left.append(worker.unsent.popleft())
        with contextlib.suppress(IndexError):
            while True:
                self._left.append(worker.ready.popleft())
        self._permits.put(None)
        if self._left:
            self.wake_one()  # maybe no worker stands by, and one waits for other clients
        return True

    def send_left(self, now: float) -> None:
        """Send the answers that workers had made before they were held up, where nobody took over yet."""
        with contextlib.suppress(IndexError):
            for _ in range(len(self._left)):
                item = self._left.popleft()  # whoever has it owns it
                if isinstance(item, Channel):
                    item.session.send_made(now)
                self._left.append(item)
        if self._left:
            self.wake_one()  # it may have found nothing just now

    def add_permit(self) -> None:
        """Let one more worker wait for clients."""
        self._permits.put(None)

    # What each thread does.

    def _run(self, worker: Worker) -> None:
        """Stand by for a permit, and serve until it is gone; again and again until the server ends."""
        while True:
            self._permits.get()
            with worker.calls.lock:
                worker.active = True
            try:
                self._serve(worker)
            finally:
                worker.turn_began = math.inf
            if self._poller.closed:
                self._release_left()
                with worker.calls.lock:
                    worker.active = False
                self._permits.put(None)  # so that the others see it too
                return

    def _serve(self, worker: Worker) -> None:  # noqa: C901, PLR0912, PLR0915 - see the comment inside
        """Wait for clients and serve them, until this worker's permit is gone or the poller is closed."""
        context, poller, detector = self._context, self._poller, self.detector
        poll, owners = poller.poll, poller.owners
        calls, ready, unsent, left = worker.calls, worker.ready, worker.unsent, self._left
        memory, request, seconds = context.memory, context.handlers.request, context.limits.busy_poll
        awake = BusyPoll(poller, _AT_ONCE, seconds) if seconds else None
        while worker.active and not poller.closed:
            if detector.surplus and detector.takes_back(worker):
                return
            if left:
                self._take_over(worker)
            elif not context.keep_armed or request.at_once == 1:
                ready.extend(poll(-1, 1))  # what it takes on may have to wait
            else:
                ready.extend(awake.wait() if awake else poll(-1, _AT_ONCE))
            worker.turn_began = calls.now = calls.ended = monotonic()
            worker.turns += 1
            if not detector.awake:
                detector.note_turn(worker)
            # The loop is all in one function, and each half of a turn one call: see
            # ``Session.read_and_serve``.
            while ready:
                try:
                    number, mask = ready.popleft()
                except IndexError:  # relieved between the two
                    break
                owner = owners.get(number)
                if not isinstance(owner, Channel):
                    if owner is not None:
                        self._wake_other(owner, mask)  # type: ignore[arg-type]  # whatever else is watched
                    continue
                channel: Channel = owner
                with channel.lock:
                    if channel.owned or channel.closed:
                        if channel.kept:
                            channel.disarm()
                        continue
                    channel.owned = True
                    plain = channel.session.batchable and not (channel.notes or memory.exceeded)
                if plain:
                    try:
                        channel.session.read_and_serve(calls)
                    except Exception as error:  # noqa: BLE001 - it costs this client alone
                        channel.fail(error)
                    else:
                        unsent.append(channel)
                else:
                    channel.take_turn(calls, gone=mask & GONE > 0)
            while unsent:
                try:
                    channel = unsent.popleft()
                except IndexError:  # relieved between the two
                    break
                try:
                    at_rest = channel.session.send_and_go_on(calls, channel)
                except Exception as error:  # noqa: BLE001 - it costs this client alone
                    channel.fail(error)
                    continue
                if not at_rest:
                    channel.release()
                    continue
                with channel.lock:
                    if channel.kept and context.keep_armed and not (channel.notes or channel.accounted):
                        channel.owned = False
                        continue
                channel.release_at_rest()
            owner = channel = None  # type: ignore[assignment]  # a client that goes must not stay in memory
            worker.turn_began = math.inf

    def _take_over(self, worker: Worker) -> None:
        """Go on with what a worker that is held up had taken on."""
        with contextlib.suppress(IndexError):
            while True:
                item = self._left.popleft()
                if isinstance(item, Channel):
                    worker.unsent.append(item)
                else:
                    worker.ready.append(item)

    def _release_left(self) -> None:
        """Let go of clients that nobody will go on with: the server has ended."""
        with contextlib.suppress(IndexError):
            while True:
                if isinstance(item := self._left.popleft(), Channel):
                    item.release()

    @staticmethod
    def _wake_other(owner: Owner, mask: int) -> None:
        try:
            owner.ready(gone=mask & GONE > 0)
        except Exception:  # noqa: BLE001 - a fault of our own costs one turn, never a worker
            _log.exception("a worker failed in its turn")
