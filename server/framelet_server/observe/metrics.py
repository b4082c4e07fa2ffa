"""The numbers of a server at one moment, what each of them is, and those of several processes together."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import add
from typing import Any

from framelet import __version__

from .histogram import BOUNDS, Distribution

_STEP = 2.0**-20
"""Seconds, a microsecond: a float holds 272 years of them."""


def _counter(purpose: str, label: str = "") -> Any:  # noqa: ANN401 - a field of any type
    return dataclasses.field(
        default_factory=dict if label else int,
        metadata={"kind": "counter", "purpose": purpose, "label": label, "together": None},
    )


def _gauge(purpose: str, label: str = "", *, together: Callable[[Iterable[Any]], Any] | None = sum) -> Any:  # noqa: ANN401 - a field of any type
    """``together`` makes one value of those of several processes; None: no process knows it."""
    return dataclasses.field(
        default_factory=dict if label else int,
        metadata={"kind": "gauge", "purpose": purpose, "label": label, "together": together},
    )


@dataclasses.dataclass(frozen=True)
class Metrics:
    """The numbers of one moment; counts begin with the server, and never fall."""

    connections: int = _counter("connections taken in, those that are refused with an ERROR included")
    connections_open: int = _gauge("connections open now")
    connections_ended: Mapping[str, int] = _counter("connections ended, by how", "ended")
    refusals: Mapping[str, int] = _counter("clients refused, by reason", "reason")
    frames: int = _counter("whole frames received")
    answers: int = _counter("answers sent, ERRORs included")
    received_bytes: int = _counter("octets received, with those of layers below the frames")
    sent_bytes: int = _counter("octets sent, with those of layers below the frames")
    errors: Mapping[str, int] = _counter("errors, by their code in the specification", "code")
    handler_seconds: Distribution = dataclasses.field(
        default=Distribution((0,) * (len(BOUNDS) + 1), 0.0),
        metadata={
            "kind": "histogram",
            "purpose": "time that handlers took; those of one read are timed together",
            "label": "",
            "together": None,
        },
    )
    handler_calls_at_once: int = _gauge(
        "calls of the REQUEST handler made before their answers are sent; 1: it may block", together=min
    )
    in_flight: int = _gauge("answers that an executor is making, or that wait for such to be sent")
    threads: int = _gauge("worker threads")
    threads_active: int = _gauge("worker threads that wait for clients, or serve them")
    threads_held_up: int = _counter(
        "times that a worker thread was held up by a handler that was taken for quick"
    )
    threads_busy: int = _gauge("worker threads that are serving a client now")
    thread_wait_seconds: float = _gauge(
        "time that a ready client waits for a thread, measured each second", together=max
    )
    memory_bytes: int = _gauge("octets held for all clients")
    shed: int = _counter("clients given up for the memory they held")
    stops_refused: int = _counter("STOPs refused, wrong tokens among them")
    draining: bool = _gauge("1 while the server drains, and once it has", together=None)
    log_lines_suppressed: int = _counter("log lines left out because there were too many of their kind")
    log_lines_dropped: int = _counter("log lines of the process dropped because the log was not read in time")
    build_info: Mapping[str, int] = dataclasses.field(
        default_factory=lambda: {__version__: 1},
        metadata={"kind": "gauge", "purpose": "1, with the version", "label": "version", "together": None},
    )
    # Of a supervisor.  A worker process is named by the number of its place, which its successors keep.
    worker_up: Mapping[str, int] = _gauge("1 while the process serves and answers", "worker", together=None)
    worker_stale: Mapping[str, int] = _gauge(
        "1 while the process does not tell its numbers in time; its last ones stand", "worker", together=None
    )
    worker_connections_open: Mapping[str, int] = _gauge(
        "connections of the process that are open now", "worker", together=None
    )
    worker_restarts: Mapping[str, int] = _counter("processes started to replace one that ended", "worker")

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Metrics:
        """What ``dataclasses.asdict`` made of a Metrics, from JSON; of another version, what both know."""
        taken = values["handler_seconds"]
        # In steps of which sums are exact, or the order of adding could make one smaller than it was.
        seconds = round(taken["seconds"] / _STEP) * _STEP
        known = {found.name: values[found.name] for found in dataclasses.fields(cls) if found.name in values}
        return cls(**{**known, "handler_seconds": Distribution(tuple(taken["counts"]), seconds)})


def add_up(running: Sequence[Metrics], ended: Sequence[Metrics]) -> Metrics:
    """The numbers of several processes as if they were one; of those that ended the counts alone."""
    values = {}
    for found in dataclasses.fields(Metrics):
        together = found.metadata["together"]
        if found.metadata["kind"] != "gauge":
            values[found.name] = functools.reduce(
                _plus, (getattr(metrics, found.name) for metrics in (Metrics(), *ended, *running))
            )
        elif together and running:
            values[found.name] = together(getattr(metrics, found.name) for metrics in running)
    return Metrics(**values)


def _plus(one: Any, other: Any) -> Any:  # noqa: ANN401 - what a field that counts can hold
    if isinstance(one, Distribution):
        return Distribution(tuple(map(add, one.counts, other.counts)), one.seconds + other.seconds)
    if isinstance(one, dict):
        return {label: one.get(label, 0) + other.get(label, 0) for label in {**one, **other}}
    return one + other


@dataclasses.dataclass(frozen=True)
class MetricInfo:
    """What a metric is: ``name`` in ``Metrics``, ``series`` in Prometheus."""

    name: str
    series: str
    kind: str
    label: str
    purpose: str


def describe() -> list[MetricInfo]:
    """All metrics, in the order of ``Metrics``."""
    return [
        MetricInfo(
            found.name,
            f"framelet_{found.name}" + ("_total" if found.metadata["kind"] == "counter" else ""),
            found.metadata["kind"],
            found.metadata["label"],
            found.metadata["purpose"],
        )
        for found in dataclasses.fields(Metrics)
    ]
