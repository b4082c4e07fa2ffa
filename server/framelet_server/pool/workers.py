"""The threads that serve all clients, and how many of them are active.

A worker waits for clients that are ready, serves a turn of each, and waits again.  Those that do are
*active*, each by one of the ``_permits``; the others stand by.  How many are active is up to the
``StallDetector``: under the GIL two busy workers only contend, so one serves all, many clients at a time,
unless handlers block or there is little to do.

Before a call that may take long a worker sees that another one is there for the other clients
(``let_others_in``); the stall detector does it on behalf of one that is held up by surprise.  What the worker
had taken on goes to the others (``_left``).
"""

from __future__ import annotations

import contextlib
import functools
import logging
import math
import queue
import sys
import threading
from collections import deque
from time import monotonic, sleep
from typing import TYPE_CHECKING, Protocol

from framelet_server.connection.channel import Channel
from framelet_server.net.busy_poll import BusyPoll
from framelet_server.net.poller import GONE
from framelet_server.net.threads import ThreadLimitError
from framelet_server.service.calls import handler_calls
from framelet_server.service.handlers import LONG

from .stall_detector import StallDetector
from .worker import Worker

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Executor, Future

    from framelet_server.connection.context import Context

_log = logging.getLogger("framelet_server")

_PAUSE = 0.1
"""Seconds without this worker after it has failed, so that a fault that stays does not keep a core busy."""

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
        alone = one_at_a_time() and threads > 1
        context.keep_armed = threads == 1
        context.call_worker = self._call
        self.wake_one: Callable[[], None] = lambda: None
        """Has a worker that waits for clients come back from the poller."""
        # What workers that are held up had taken on, and whom no readiness of a socket would bring a worker.
        self._left: deque[Channel | tuple[int, int]] = deque()
        self._permits: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._lock = threading.Lock()  # guards the next two, and ``active`` of each worker
        self.granted: int = 0
        """Permits, those that no worker has taken yet among them."""
        self._surplus = 0  # those of them that are to be taken back
        self.all: list[Worker] = [Worker(handler_calls(context.handlers)) for _ in range(threads)]
        self.detector: StallDetector = StallDetector(self, context, alone=alone)
        for worker in self.all:
            worker.calls.let_others_in = functools.partial(self.let_others_in, worker)
            worker.calls.watch = self.detector.wake
        self.grow_to(2 if alone else threads)

    def start(self, executor: Executor) -> list[Future[None]]:
        """Have an executor run them all, each on a thread of its own; raises ThreadLimitError."""
        try:
            return [executor.submit(self._run, worker) for worker in self.all]
        except RuntimeError:
            raise ThreadLimitError from None

    def end(self) -> None:
        """Have those see that the poller is closed that stand by, though none comes back to tell them."""
        self._permits.put(None)

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

    # How many are active.

    def let_others_in(self, worker: Worker) -> None:
        """See that another worker is there for the other clients while this one is held up.

        It goes on with what this one had taken on.  Called by the worker itself, or by the stall detector.
        """
        self.detector.others_wanted = True
        left = False
        with contextlib.suppress(IndexError):
            while True:
                self._left.append(worker.unsent.popleft())
                left = True
        with contextlib.suppress(IndexError):
            while True:
                self._left.append(worker.ready.popleft())
                left = True
        now = monotonic()
        if not any(other.is_free(now) for other in self.all if other is not worker) and self._grow():
            self.detector.wake()  # which sees to it that there are fewer again
        elif left:
            self.wake_one()

    def send_left(self, now: float) -> None:
        """Send the answers that held-up workers had ready, unless another worker has taken over."""
        put_back = False
        with contextlib.suppress(IndexError):
            for _ in range(len(self._left)):
                item = self._left.popleft()  # the worker that pops it owns it
                if isinstance(item, Channel):
                    item.session.send_made(now)
                self._left.append(item)
                put_back = True
        if put_back:
            self.wake_one()  # it may have looked in between, and found nothing
        if self._poller.closed:  # and the last of them may have gone
            self._release_left()

    def _call(self, number: int) -> None:
        """Have a worker take a turn of the channel with this descriptor; called from any thread."""
        self._left.append((number, 0))
        self.wake_one()

    def grow_to(self, wanted: int) -> None:
        """Have at least so many active."""
        while self.granted < wanted and self._grow():
            pass

    def shrink_to(self, wanted: int) -> None:
        """Have at most so many active, as soon as they come back from what they do."""
        with self._lock:
            self._surplus = max(0, self.granted - wanted)
        if self._surplus and self.one_waits:
            self.wake_one()

    def _grow(self) -> bool:
        """Have one more active; False where all are."""
        with self._lock:
            if self.granted == len(self.all):
                return False
            self.granted += 1
        self._permits.put(None)
        return True

    def _stands_down(self, worker: Worker) -> bool:
        """Take a worker's permit back, if there are too many."""
        with self._lock:
            if not self._surplus:
                return False
            self._surplus -= 1
            self.granted -= 1
            worker.active = False
        return True

    # What each thread does.

    def _run(self, worker: Worker) -> None:
        """Stand by for a permit, and serve until it is taken back; again and again until the server ends."""
        while not self._poller.closed:
            self._permits.get()
            with self._lock:
                worker.active = True
            try:
                self._serve(worker)
            except Exception:  # noqa: BLE001 - a fault of our own costs one client its turn, never a worker
                limited_log = self._context.handlers.limited_log
                limited_log.error("failed workers", "a worker failed in its turn", exc_info=True)
                self.let_others_in(worker)
                sleep(_PAUSE)  # the fault may be there to stay, as one of the poller's
                self._permits.put(None)
            finally:
                worker.turn_began = math.inf
                with self._lock:
                    worker.active = False
        self._release_left()
        self._permits.put(None)  # so that the others see it too

    def serve_ready(self) -> bool:
        """Serve the clients that are ready now, on the caller's thread; whether more may be ready.

        For a server without threads of its own: the caller is the only worker, and waits for the poller.
        """
        (worker,) = self.all
        self._take_over(worker)
        worker.ready.extend(self._poller.poll(0, _AT_ONCE))
        full = len(worker.ready) == _AT_ONCE
        self._serve(worker, once=True)
        return full

    def _serve(self, worker: Worker, *, once: bool = False) -> None:  # noqa: C901, PLR0912, PLR0915 - see the comment inside
        """Wait for clients and serve them, until this worker's permit is taken back or the poller closed.

        With ``once`` only those are served that it has taken on already.
        """
        context, poller, detector = self._context, self._poller, self.detector
        poll, owners = poller.poll, poller.owners
        calls, ready, unsent, left = worker.calls, worker.ready, worker.unsent, self._left
        memory, request, seconds = context.memory, context.handlers.request, context.limits.busy_poll
        awake = BusyPoll(poller, _AT_ONCE, seconds) if seconds else None
        while not poller.closed:
            if once:
                pass
            elif self._surplus and not left and self._stands_down(worker):
                return
            elif left:
                self._take_over(worker)
                ready.extend(poll(0, 1))  # or one who calls a worker each time would keep others waiting
            elif not context.keep_armed or request.at_once == 1:
                ready.extend(poll(-1, 1))  # what it takes on may have to wait
            else:
                ready.extend(awake.wait() if awake else poll(-1, _AT_ONCE))
            worker.turn_began = calls.now = calls.ended = monotonic()
            worker.turns += 1
            if not detector.awake:
                detector.note_turn(worker)
            # All of the loop is in one function, and each half of a turn is one call of a session: see there.
            while ready or unsent:
                since = calls.ended
                while ready and calls.ended - since < LONG:  # or the answers made wait for the other calls
                    try:
                        number, mask = ready.popleft()
                    except IndexError:  # left to others between the two
                        break
                    owner = owners.get(number)
                    if not isinstance(owner, Channel):
                        if owner is not None:
                            self._wake_other(owner, mask)  # type: ignore[arg-type]  # whatever else is watched
                        continue
                    channel: Channel = owner
                    with channel.lock:
                        if channel.closed:
                            continue
                        if channel.owned:
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
                    except IndexError:  # left to others between the two
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
            if once:
                return

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
        """Drop the clients that are left: the server has ended."""
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
