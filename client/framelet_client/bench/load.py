"""The load generator of one process: a loop over all of its connections.

A closed loop sends the next request when a reply makes room for it, and measures from then.  An open loop
sends by a schedule that no reply can hold up, and measures from the time at which the request was due:
requests that waited behind a stalled one have waited, wherever they did so (coordinated omission).
"""

from __future__ import annotations

import concurrent.futures
import itertools
import math
import select
import selectors
import time
from collections import deque
from typing import TYPE_CHECKING, Protocol, cast

from framelet import AnswerTimeoutError, ErrorReceived, FrameletError, ProtocolError, parse_address
from framelet_client.cli.terminal import escape
from framelet_client.net.transport import Transport, open_transport, secured
from framelet_client.tls import ClientTls

from .connection import Conversation, Flight
from .plan import Schedule
from .stats import Tally

if TYPE_CHECKING:
    from .plan import Plan, Request

LATE = 0.001
"""Seconds behind which a request of an open loop counts as sent late."""

_TICK = 0.1  # seconds between looks at the deadlines and at the control
_BATCH = 64  # requests that are sent before the answers are looked at again
_CONNECTING = 32  # connections that are made at once
_SNIPPET = 40  # characters of a wrong reply that are shown


class Control(Protocol):
    """Who starts a measurement, watches it, and may end it."""

    def start(self) -> float:
        """Called when all connections are there; returns when to begin, on the monotonic clock."""
        ...

    def tick(self, answered: int, failed: int) -> bool:
        """Called now and then; whether to go on."""
        ...


def generate_load(plan: Plan, process: int, control: Control) -> Tally:
    """Do one process's part of a plan; raises ConnectError where not all connections can be made."""
    conversations = _connect_all(plan, plan.connections_of(process))
    try:
        return _Load(plan, process, conversations, control).run()
    finally:
        for conversation in conversations:
            conversation.close()


def _connect_all(plan: Plan, count: int) -> list[Conversation]:
    """So many connections, several at a time; none is left behind where one fails."""
    tls = None if plan.tls is None else ClientTls(**plan.tls)
    address, tls = secured(parse_address(plan.host, plan.port), tls)

    def connect() -> Transport:
        return open_transport(address, tls, plan.limits.connect_timeout)

    # The first one by itself: when there is no server, that is known at once, and only one has asked.
    transports = [connect()]
    with concurrent.futures.ThreadPoolExecutor(_CONNECTING) as pool:
        futures = [pool.submit(connect) for _ in range(count - 1)]
        try:
            transports += [future.result() for future in futures]
        except BaseException:
            pool.shutdown(cancel_futures=True)
            made = [future.result() for future in futures if not (future.cancelled() or future.exception())]
            for transport in (*transports, *made):
                transport.socket.close()
            raise
    now = time.monotonic()
    return [Conversation(transport, plan.limits, plan.window, now) for transport in transports]


class _Load:
    """A measurement under way."""

    def __init__(self, plan: Plan, process: int, conversations: list[Conversation], control: Control) -> None:
        self._plan = plan
        self._process = process
        self._control = control
        self._requests = itertools.cycle(plan.requests())
        self._selector = selectors.DefaultSelector()
        self._live = set(conversations)
        self._free = deque(conversations)  # those that wait for a request of the schedule
        self._left = plan.count_of(process)  # requests of a closed loop that may still be sent
        self._in_flight = 0
        self._sending = True  # whether there are requests to be sent, now or later
        self._counting = False  # whether the warm-up is over; since when; what had been used then
        self._counted_from = self._cpu = 0.0
        self._waited = 0.0  # seconds spent waiting since then
        self._tally = Tally()
        self._last_answer = 0.0
        for conversation in conversations:
            self._selector.register(conversation.socket, selectors.EVENT_READ, conversation)

    def run(self) -> Tally:
        """Everything, from the start that the control gives."""
        start = self._control.start()
        self._set_times(start)
        time.sleep(max(0.0, start - time.monotonic()))
        if self._schedule is None:
            for conversation in tuple(self._live):
                self._refill(conversation, time.monotonic())
        next_tick = 0.0
        while self._live and (self._sending or self._in_flight):
            now = time.monotonic()
            if now >= self._begin and not self._counting:
                self._start_counting(now)
            if now >= next_tick:
                next_tick = now + _TICK
                if not self._tick(now):
                    break
            for conversation, mask in self._wait(next_tick):
                self._serve(conversation, mask)
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
        """Send what is due, and see whether anything will be sent behind it."""
        over = time.monotonic() >= self._end
        if self._schedule is None:
            self._sending = not over and self._left != 0
        else:
            self._dispatch(self._schedule)
            self._sending = not over and self._schedule.next_due < math.inf

    def _tick(self, now: float) -> bool:
        """Look at the clocks; whether to go on."""
        for conversation in tuple(self._live):
            conversation.check(now)
            self._take_answers(conversation, now)
        tally = self._tally
        go_on = self._control.tick(tally.answered, tally.failed)
        tally.interrupted = not go_on
        return go_on

    def _wait(self, next_tick: float) -> list[tuple[Conversation, int]]:
        """Wait for sockets, until the next request is due if there is a connection for it."""
        now = time.monotonic()
        until = next_tick
        if self._sending:
            until = min(until, self._end)
            if self._schedule is not None and self._free:
                until = min(until, self._schedule.next_due)
        timeout = max(0.0, until - now)
        if timeout and self._schedule is not None and hasattr(self._selector, "fileno"):
            # A selector counts whole milliseconds, which would have each request sent late.
            select.select([self._selector], [], [], timeout)
            timeout = 0.0
        ready = self._selector.select(timeout)
        self._waited += time.monotonic() - now
        return [(key.data, mask) for key, mask in ready]

    def _serve(self, conversation: Conversation, mask: int) -> None:
        """Do what a socket is ready for."""
        now = conversation.receive() if mask & selectors.EVENT_READ else time.monotonic()
        self._take_answers(conversation, now)
        if conversation.error is not None:
            return
        if self._schedule is None:
            self._refill(conversation, now)
        else:
            self._send(conversation, now)
            if conversation.has_room and not conversation.is_free:
                conversation.is_free = True
                self._free.append(conversation)

    def _refill(self, conversation: Conversation, now: float) -> None:
        """Closed loop: a request in the place of each that was answered."""
        if now < self._end:
            counts = now >= self._begin
            while conversation.has_room and self._left != 0:
                if counts and self._left is not None:
                    self._left -= 1
                self._ask(conversation, Flight(next(self._requests), now, now, counts))
        self._send(conversation, now)

    def _dispatch(self, schedule: Schedule) -> None:
        """Open loop: the requests that are due, on the connections in turn."""
        touched: dict[Conversation, None] = {}
        for _ in range(_BATCH):
            now = time.monotonic()
            if schedule.next_due > now or not self._free:
                break
            conversation = self._free.popleft()
            conversation.is_free = False
            if conversation.error is not None:
                continue
            flight = Flight(next(self._requests), schedule.next_due, now, schedule.counts)
            schedule.advance()
            self._ask(conversation, flight)
            touched[conversation] = None
            if conversation.has_room:
                conversation.is_free = True
                self._free.append(conversation)
        for conversation in touched:
            self._send(conversation, time.monotonic())

    def _ask(self, conversation: Conversation, flight: Flight) -> None:
        conversation.ask(flight)
        self._in_flight += 1
        if flight.counts and self._schedule is not None:
            late = flight.sent - flight.due
            self._tally.lateness.record(late)
            self._tally.late += late > LATE

    def _send(self, conversation: Conversation, now: float) -> None:
        conversation.send(now)
        if conversation.is_blocked != conversation.is_watched_for_room:
            conversation.is_watched_for_room = conversation.is_blocked
            events = selectors.EVENT_READ | (selectors.EVENT_WRITE if conversation.is_blocked else 0)
            self._selector.modify(conversation.socket, events, conversation)

    def _take_answers(self, conversation: Conversation, now: float) -> None:
        """Count what has come, and what will not come any more."""
        flights = conversation.flights
        for answer in conversation.answers():
            flight = flights.popleft()
            self._in_flight -= 1
            if not flight.counts:
                continue
            self._last_answer = now
            if isinstance(answer, ErrorReceived):
                self._tally.errors[answer.code] += 1
                self._note(f"ERROR {answer.code}", escape(answer.text))
            else:
                self._judge(flight, cast("str", answer), now)
        if conversation.error is not None:
            self._give_up(conversation, conversation.error)

    def _judge(self, flight: Flight, reply: str, now: float) -> None:
        """Count a reply as right or wrong."""
        tally, request = self._tally, flight.request
        if request.reply is None:
            tally.octets_received += len(reply) if reply.isascii() else len(reply.encode())
        elif reply == request.reply:
            tally.octets_received += request.octets
        else:
            tally.wrong += 1
            self._note("wrong", _difference(request, reply))
            return
        tally.answered += 1
        tally.octets_sent += request.octets
        tally.latency.record(now - flight.due)
        if self._schedule is not None:
            tally.service.record(now - flight.sent)

    def _give_up(self, conversation: Conversation, error: FrameletError) -> None:
        """A connection is over; the others go on."""
        self._live.discard(conversation)
        self._selector.unregister(conversation.socket)
        lost = sum(flight.counts for flight in conversation.flights)
        self._in_flight -= len(conversation.flights)
        conversation.flights.clear()
        if isinstance(error, AnswerTimeoutError):
            kind = "timed out"
            self._tally.timed_out += lost
        else:
            kind = "broke the protocol" if isinstance(error, ProtocolError) else "lost"
            self._tally.lost += lost
        self._tally.ends[kind] += 1
        self._note(kind, escape(getattr(error, "reason", str(error))))

    def _note(self, kind: str, words: str) -> None:
        self._tally.first_words.setdefault(kind, words)

    def _finish(self, finished: float) -> Tally:
        tally = self._tally
        elapsed = finished - self._counted_from
        if self._counting and elapsed > 0:
            tally.cpu = [(time.process_time() - self._cpu) / elapsed]
            tally.busy = [1 - self._waited / elapsed]
        ended_early = tally.interrupted or not self._live
        end = finished if ended_early or self._end == math.inf else self._end
        tally.seconds = max(0.0, self._last_answer - self._begin, min(end, self._end) - self._begin)
        tally.abandoned = sum(flight.counts for one in self._live for flight in one.flights)
        if self._schedule is not None:
            tally.unsent = self._schedule.overdue(min(finished, self._end))
        self._selector.close()
        return tally


def _difference(request: Request, reply: str) -> str:
    """What was expected, and what came, in a line that is safe to show."""
    expected = cast("str", request.reply)
    place = next(
        (index for index, (one, other) in enumerate(zip(expected, reply, strict=False)) if one != other),
        min(len(expected), len(reply)),
    )
    shown = [escape(text[place : place + _SNIPPET]) for text in (expected, reply)]
    return f"from character {place} on it was {shown[1]!r} in the place of {shown[0]!r}"
