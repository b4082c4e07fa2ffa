"""The load generator of one process: a loop over all of its connections.

A closed loop sends the next request when a reply makes room for it, and measures from then.  An open loop
sends by a schedule that no reply can hold up, and measures from the time at which the request was due.  So
the time that requests wait while the server stalls is measured too (no coordinated omission).
"""

from __future__ import annotations

import itertools
import math
import select
import selectors
import time
from collections import deque
from typing import TYPE_CHECKING, Protocol, cast

from framelet import AnswerTimeoutError, ErrorReceived, FrameletError, ProtocolError, escape

from .connection import Flight, LoadConnection, open_all
from .plan import Schedule
from .stats import Latencies, LoadStats, Slice

if TYPE_CHECKING:
    from framelet_client.exchange.driver import Answer

    from .plan import Plan

LATE = 0.001
"""Seconds after which a request of an open loop counts as sent late."""

_TICK = 0.1  # seconds between looks at the deadlines and at the control
_BATCH = 64  # requests that are sent before the answers are looked at again
_FD_SETSIZE = 1_024  # the first descriptor that select() does not take


class Control(Protocol):
    """Who starts a measurement, watches it, and may end it."""

    def start(self) -> float:
        """Called when all connections are there; returns when to begin, on the monotonic clock."""
        ...

    def tick(self, answered: int, failed: int) -> int:
        """Called now and then; the number of the signal that ends it, or 0 to go on."""
        ...


def generate_load(plan: Plan, process: int, control: Control) -> LoadStats:
    """Do one process's part of a plan; raises ConnectError if not all connections can be made."""
    with selectors.DefaultSelector() as selector:  # before the connections, so that its descriptor is low
        connections = open_all(plan, plan.connections_of(process))
        try:
            return _Load(plan, process, connections, selector, control).run()
        finally:
            for connection in connections:
                connection.driver.close()


class _Load:
    """A measurement under way."""

    def __init__(
        self,
        plan: Plan,
        process: int,
        connections: list[LoadConnection],
        selector: selectors.BaseSelector,
        control: Control,
    ) -> None:
        self._plan = plan
        self._process = process
        self._control = control
        self._requests = itertools.cycle(plan.requests())
        self._selector = selector
        self._descriptor = _low_descriptor(selector)  # of the selector, where select() takes it
        self._live = set(connections)
        self._free = deque(connections)  # those that wait for a request of the schedule
        self._left = plan.count_of(process)  # requests of a closed loop that may still be sent
        self._in_flight = 0
        self._sending = True  # whether there are requests to be sent, now or later
        self._counting = False  # whether the warm-up is over
        self._counted_from = 0.0  # when that was, on the monotonic clock
        self._cpu = 0.0  # seconds of processor time used until then
        self._waited = 0.0  # seconds spent waiting since then
        self._stats = LoadStats()
        self._slice = Latencies()  # since the last slice of the series
        self._last_answer = 0.0
        for connection in connections:
            selector.register(connection.driver.socket, selectors.EVENT_READ, connection)

    def run(self) -> LoadStats:
        """Measure, from the start that the control gives to the end of the plan."""
        start = self._control.start()
        self._set_times(start)
        time.sleep(max(0.0, start - time.monotonic()))
        if self._schedule is None:
            for connection in tuple(self._live):
                self._refill(connection, time.monotonic())
        next_tick = 0.0
        while self._live and (self._sending or self._in_flight):
            now = time.monotonic()
            if now >= self._begin and not self._counting:
                self._start_counting(now)
            if now >= next_tick:
                next_tick = now + _TICK
                if not self._tick(now):
                    break
            for connection, mask in self._wait(next_tick):
                self._serve(connection, mask)
            if self._sending:
                self._go_on()
        return self._finish(time.monotonic())

    def _start_counting(self, now: float) -> None:
        """The warm-up is over."""
        self._counting = True
        self._counted_from = now
        self._cpu, self._waited = time.process_time(), 0.0
        if self._schedule is not None:
            self._schedule.skip_warmup()

    def _set_times(self, start: float) -> None:
        plan = self._plan
        self._begin = start + plan.warmup
        self._schedule: Schedule | None = None
        self._end = math.inf if plan.duration is None else self._begin + plan.duration
        if plan.rate is not None:
            self._end = self._begin + plan.total / plan.rate
            self._schedule = Schedule(self._begin, plan.rate, plan.numbers_of(self._process))

    def _go_on(self) -> None:
        """Send what is due, and see whether anything is left to send."""
        over = time.monotonic() >= self._end
        if self._schedule is None:
            self._sending = not over and self._left != 0
        else:
            self._dispatch(self._schedule)
            self._sending = not over and self._schedule.next_due < math.inf

    def _tick(self, now: float) -> bool:
        """Check all deadlines and ask the control; whether to go on."""
        for connection in tuple(self._live):
            self._serve(connection, 0)
        stats = self._stats
        if self._counting and now >= self._begin + (len(stats.series) + 1) * self._plan.interval:
            self._end_slice()
        stats.interrupted = self._control.tick(stats.answered, stats.failed)
        return not stats.interrupted

    def _end_slice(self) -> None:
        """Begin the next part of the series, if there is one; what it holds is in the whole from here on."""
        stats, before = self._stats, sum(one.failed for one in self._stats.series)
        stats.latency.add(self._slice)
        stats.series.append(Slice(self._slice, stats.failed - before))
        self._slice = Latencies()

    def _wait(self, next_tick: float) -> list[tuple[LoadConnection, int]]:
        """Wait for sockets, until the next request is due if there is a connection for it."""
        now = time.monotonic()
        until = next_tick
        if self._sending:
            until = min(until, self._end)
            if self._schedule is not None and self._free:
                until = min(until, self._schedule.next_due)
        timeout = max(0.0, until - now)
        if timeout and self._schedule is not None and self._descriptor is not None:
            # The selector waits for whole milliseconds, and would send each request late: select() does not.
            select.select([self._descriptor], [], [], timeout)  # noqa: TID251 - of a low descriptor alone
            timeout = 0.0
        ready = self._selector.select(timeout)
        self._waited += time.monotonic() - now
        return [(key.data, mask) for key, mask in ready]

    def _serve(self, connection: LoadConnection, mask: int) -> None:
        """Do what a socket is ready for."""
        driver = connection.driver
        answers = driver.receive() if mask & selectors.EVENT_READ else driver.check_deadline()
        now = driver.received_at if answers else time.monotonic()
        self._count(connection, answers, now)
        if driver.end is not None:
            return
        if self._schedule is None:
            self._refill(connection, now)
        else:
            self._send(connection)
            if connection.has_room and not connection.is_free:
                connection.is_free = True
                self._free.append(connection)

    def _refill(self, connection: LoadConnection, now: float) -> None:
        """Closed loop: a new request for each that was answered."""
        if now < self._end:
            counts = now >= self._begin
            while connection.has_room and self._left != 0:
                if counts and self._left is not None:
                    self._left -= 1
                self._ask(connection, Flight(next(self._requests), now, now, counts))
        self._send(connection)

    def _dispatch(self, schedule: Schedule) -> None:
        """Open loop: the requests that are due, on the connections in turn."""
        touched: dict[LoadConnection, None] = {}
        for _ in range(_BATCH):
            now = time.monotonic()
            if schedule.next_due > now or not self._free:
                break
            connection = self._free.popleft()
            connection.is_free = False
            if connection.driver.end is not None:
                continue
            flight = Flight(next(self._requests), schedule.next_due, now, schedule.counts)
            schedule.advance()
            self._ask(connection, flight)
            touched[connection] = None
            if connection.has_room:
                connection.is_free = True
                self._free.append(connection)
        for connection in touched:
            self._send(connection)

    def _ask(self, connection: LoadConnection, flight: Flight) -> None:
        connection.ask(flight)
        self._in_flight += 1
        if flight.counts and self._schedule is not None:
            late = flight.sent - flight.due
            self._stats.lateness.record(late)
            self._stats.late += late > LATE

    def _send(self, connection: LoadConnection) -> None:
        driver = connection.driver
        driver.send()
        is_blocked = bool(driver.unsent)
        if is_blocked != connection.is_watched_for_room:
            connection.is_watched_for_room = is_blocked
            events = selectors.EVENT_READ | (selectors.EVENT_WRITE if is_blocked else 0)
            self._selector.modify(driver.socket, events, connection)

    def _count(self, connection: LoadConnection, answers: list[Answer], now: float) -> None:
        """Count the answers, each to the oldest flight, and give the connection up if it is over."""
        flights = connection.flights
        for answer in answers:
            flight = flights.popleft()
            self._in_flight -= 1
            if not flight.counts:
                continue
            self._last_answer = now
            if isinstance(answer, ErrorReceived):
                self._stats.errors[answer.code] += 1
                self._note(f"ERROR {answer.code}", escape(answer.text))
            else:
                self._judge(flight, cast("str", answer), now)
        if connection.driver.end is not None:
            self._give_up(connection, connection.driver.end)

    def _judge(self, flight: Flight, reply: str, now: float) -> None:
        """Count a reply as right or wrong."""
        stats, request = self._stats, flight.request
        if request.reply is None:
            stats.octets_received += len(reply) if reply.isascii() else len(reply.encode())
        elif reply == request.reply:
            stats.octets_received += request.octets
        else:
            stats.wrong += 1
            self._note("wrong", request.difference(reply))
            return
        stats.answered += 1
        stats.octets_sent += request.octets
        self._slice.record(now - flight.due)
        if self._schedule is not None:
            stats.service.record(now - flight.sent)

    def _give_up(self, connection: LoadConnection, error: FrameletError) -> None:
        """Count what a connection that is over leaves unanswered; the others go on."""
        self._live.discard(connection)
        self._selector.unregister(connection.driver.socket)
        lost = sum(flight.counts for flight in connection.flights)
        self._in_flight -= len(connection.flights)
        connection.flights.clear()
        if isinstance(error, AnswerTimeoutError):
            kind = "timed out"
            self._stats.timed_out += lost
        else:
            kind = "broke the protocol" if isinstance(error, ProtocolError) else "lost"
            self._stats.lost += lost
        self._stats.ends[kind] += 1
        self._note(kind, escape(getattr(error, "reason", str(error))))

    def _note(self, kind: str, words: str) -> None:
        self._stats.first_words.setdefault(kind, words)

    def _finish(self, finished: float) -> LoadStats:
        stats = self._stats
        self._end_slice()
        elapsed = finished - self._counted_from
        if self._counting and elapsed > 0:
            stats.cpu = [(time.process_time() - self._cpu) / elapsed]
            stats.busy = [1 - self._waited / elapsed]
        ended_early = stats.interrupted or not self._live
        end = finished if ended_early or self._end == math.inf else self._end
        stats.seconds = max(0.0, self._last_answer - self._begin, min(end, self._end) - self._begin)
        stats.abandoned = sum(flight.counts for one in self._live for flight in one.flights)
        if self._schedule is not None:
            stats.unsent = self._schedule.overdue(min(finished, self._end))
        return stats


def _low_descriptor(selector: selectors.BaseSelector) -> int | None:
    """The descriptor of a selector, if it has one and select() takes it."""
    descriptor: int = getattr(selector, "fileno", lambda: _FD_SETSIZE)()
    return descriptor if descriptor < _FD_SETSIZE else None
