"""The connections of the load generator: how they are opened, and what is in flight on each."""

from __future__ import annotations

import concurrent.futures
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from framelet import parse_address
from framelet_client.exchange.driver import Driver
from framelet_client.net.transport import OpenedConnection, open_connection, secured
from framelet_client.tls import ClientTls

if TYPE_CHECKING:
    from .plan import Plan, Request

_AT_ONCE = 32  # connections that are opened at the same time


class Flight(NamedTuple):
    """A request in flight: when it was due and sent, in seconds, and whether it counts."""

    request: Request
    due: float
    sent: float
    counts: bool


class LoadConnection:
    """A connection that carries load, and the requests in flight on it, oldest first."""

    def __init__(self, opened: OpenedConnection, plan: Plan) -> None:
        """Take over an opened connection."""
        self.driver: Driver = Driver(opened, plan.limits, plan.connection)
        self.flights: deque[Flight] = deque()
        self.is_free = True  # whether it is queued for the next requests of the schedule
        self.is_watched_for_room = False  # whether the selector reports when the socket takes more
        self._window = plan.window
        self._max_unsent = plan.limits.max_unsent

    @property
    def has_room(self) -> bool:
        """Whether another request may be asked."""
        driver = self.driver
        return (
            len(self.flights) < self._window
            and driver.waiting_octets < self._max_unsent
            and driver.end is None
        )

    def ask(self, flight: Flight) -> None:
        """Queue a request, which the driver sends later."""
        self.driver.connection.send_request(flight.request.text)
        self.flights.append(flight)


def open_all(plan: Plan, count: int) -> list[LoadConnection]:
    """So many connections, several at a time; closes all of them if one fails, with its ConnectError."""
    tls = None if plan.tls is None else ClientTls(**plan.tls)
    address, tls = secured(parse_address(plan.host, plan.port), tls)

    def connect() -> OpenedConnection:
        return open_connection(address, tls, plan.limits.connect_timeout)

    # One first: without a server, one failed attempt is enough.
    opened = [connect()]
    with concurrent.futures.ThreadPoolExecutor(_AT_ONCE) as pool:
        futures = [pool.submit(connect) for _ in range(count - 1)]
        try:
            opened += [future.result() for future in futures]
        except BaseException:
            pool.shutdown(cancel_futures=True)
            made = [future.result() for future in futures if not (future.cancelled() or future.exception())]
            for one in (*opened, *made):
                one.socket.close()
            raise
    return [LoadConnection(one, plan) for one in opened]
