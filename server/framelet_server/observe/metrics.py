"""The numbers of a server at one moment, and what each of them is."""

from __future__ import annotations

import dataclasses
from dataclasses import field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .histogram import Distribution


def _counter(purpose: str, label: str = "") -> dict[str, str]:
    return {"kind": "counter", "purpose": purpose, "label": label}


def _gauge(purpose: str) -> dict[str, str]:
    return {"kind": "gauge", "purpose": purpose, "label": ""}


def _histogram(purpose: str) -> dict[str, str]:
    return {"kind": "histogram", "purpose": purpose, "label": ""}


@dataclasses.dataclass(frozen=True)
class Metrics:
    """The numbers of one moment; counts begin with the server, and never fall."""

    connections: int = field(
        metadata=_counter("connections taken in, those that are refused with an ERROR included")
    )
    connections_open: int = field(metadata=_gauge("connections open now"))
    connections_ended: Mapping[str, int] = field(metadata=_counter("connections ended, by how", "ended"))
    refusals: Mapping[str, int] = field(metadata=_counter("clients refused, by reason", "reason"))
    frames: int = field(metadata=_counter("whole frames received"))
    answers: int = field(metadata=_counter("answers sent, ERRORs included"))
    octets_received: int = field(metadata=_counter("octets received, with those of layers below the frames"))
    octets_sent: int = field(metadata=_counter("octets sent, with those of layers below the frames"))
    errors: Mapping[str, int] = field(metadata=_counter("errors, by their code in the specification", "code"))
    handler_seconds: Distribution = field(
        metadata=_histogram("time that handlers took; those of one read are timed together")
    )
    handler_calls_at_once: int = field(
        metadata=_gauge("calls of the REQUEST handler made before their answers are sent; 1: it may block")
    )
    in_flight: int = field(
        metadata=_gauge("answers that an executor is making, or that wait for such to be sent")
    )
    threads: int = field(metadata=_gauge("worker threads"))
    threads_active: int = field(metadata=_gauge("worker threads that wait for clients, or serve them"))
    threads_held_up: int = field(
        metadata=_counter("times that a worker thread was held up by a handler that was taken for quick")
    )
    threads_busy: int = field(metadata=_gauge("worker threads that are serving a client now"))
    thread_wait_seconds: float = field(
        metadata=_gauge("time that a ready client waits for a thread, measured each second")
    )
    memory_octets: int = field(metadata=_gauge("octets held for all clients"))
    shed: int = field(metadata=_counter("clients given up for the memory they held"))
    stops_refused: int = field(metadata=_counter("STOPs refused, wrong tokens among them"))
    draining: bool = field(metadata=_gauge("1 while the server drains, and once it has"))
    log_lines_suppressed: int = field(
        metadata=_counter("log lines left out because there were too many of their kind")
    )
    log_lines_dropped: int = field(
        metadata=_counter("log lines of the process dropped because nobody read the log in time")
    )


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
            **found.metadata,
        )
        for found in dataclasses.fields(Metrics)
    ]
