"""``framelet ping``: round trips, one after another, and their percentiles."""

from __future__ import annotations

import contextlib
import itertools
import time
from typing import TYPE_CHECKING

import click

from framelet import AnswerTimeoutError
from framelet_client.bench.stats import Latencies
from framelet_client.errors import ConnectError, ConnectionLostError, FatalAnswerError
from framelet_client.exit_codes import ExitCode

from .send_lines import limits_of
from .target import Target, seconds, with_server
from .valued import GroupedCommand, option

if TYPE_CHECKING:
    from framelet_client.client import Client

_PERCENTILES = (50.0, 90.0, 99.0)
_LOST = (AnswerTimeoutError, ConnectError, ConnectionLostError, FatalAnswerError)
"""How a round trip can end while the server restarts or the network fails."""


@click.command(cls=GroupedCommand, short_help="Measure round trips, across restarts too.")
@with_server
@option(
    "--count",
    type=click.IntRange(min=0),
    default=4,
    metavar="NUMBER",
    show_default=True,
    help="Round trips; 0: until Ctrl-C.",
)
@option(
    "--interval",
    type=seconds(0, 86_400),
    default=1.0,
    metavar="SECONDS",
    show_default=True,
    help="Time from one to the next.",
)
def ping(target: Target, count: int, interval: float) -> ExitCode:
    """Measure the round trip to the server at HOST and PORT.

    If the connection is lost after the first answer, it is made again, and missing answers are counted.
    """
    return _Ping(target, interval).run(count)


class _Ping:
    """Round trips under way."""

    def __init__(self, target: Target, interval: float) -> None:
        self._target = target
        self._interval = interval
        self._times = Latencies()
        self._min = 0.0
        self._sent = 0
        self._client: Client | None = None
        self._idle_timeout = 0.0

    def run(self, count: int) -> ExitCode:
        """Ping until the count is reached; raises the first error if nothing was answered before it."""
        try:
            self._connect(keep=count != 1)
            for number in itertools.count(1):
                self._trip(number)
                if number == count:
                    break
                self._pause()
        finally:
            if self._sent:
                self._summarize()
            if self._client is not None:
                self._client.close()
        return ExitCode.SUCCESS if self._times.count == self._sent else ExitCode.PARTIAL

    def _connect(self, *, keep: bool = True) -> Client:
        """The connection, made again if it has ended."""
        if self._client is None or self._client.closed:
            self._client = self._target.connect()
            if keep and self._interval:
                self._idle_timeout = limits_of(self._client)[1]
        return self._client

    def _trip(self, number: int) -> None:
        self._sent = number
        results = self._target.results
        try:
            seconds = self._connect().ping(str(number))
        except _LOST as error:
            if not self._times.count:
                raise
            line = f"{self._target.address}: no answer {number}: {error}"
            results.show("lost", [line], {"number": number, "message": str(error)})
            return
        self._min = min(self._min, seconds) if self._times.count else seconds
        self._times.record(seconds)
        line = f"{self._target.address}: answer {number} in {seconds * 1000:.3f} ms"
        results.show("pong", [line], {"number": number, "seconds": seconds})

    def _pause(self) -> None:
        """Wait for the interval; PINGs that are not counted keep the connection alive."""
        until = time.monotonic() + self._interval
        with contextlib.suppress(*_LOST):  # the next round trip connects again
            while self._client is not None and until - time.monotonic() > self._idle_timeout / 2:
                time.sleep(self._idle_timeout / 2)
                self._client.ping()
        time.sleep(max(0.0, until - time.monotonic()))

    def _summarize(self) -> None:
        times, sent = self._times, self._sent
        figures = {"min": self._min, "mean": times.mean}
        figures |= {f"p{percent:g}": times.percentile(percent) for percent in _PERCENTILES}
        figures["max"] = times.max
        told = ", ".join(f"{name} {seconds * 1000:.3f}" for name, seconds in figures.items())
        lost = "" if times.count == sent else f" of {sent}"
        line = f"{times.count}{lost} answered: {told} ms" if times.count else "no answer"
        counts: dict[str, float] = {"sent": sent, "answered": times.count}
        self._target.results.show("summary", [line], counts | figures if times.count else counts)
