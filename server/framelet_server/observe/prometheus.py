"""The numbers of a server for Prometheus."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from framelet.errors import importing_extra

from .histogram import Distribution
from .metrics import describe

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client import CollectorRegistry
    from prometheus_client.core import Metric

    from .metrics import MetricInfo, Metrics
else:
    CollectorRegistry = Any  # for typing.get_type_hints, as the package is an extra


class HasMetrics(Protocol):
    """What has numbers to show: a server."""

    def metrics(self) -> Metrics:
        """The numbers of this moment."""
        ...


def registry(server: HasMetrics) -> CollectorRegistry:
    """A registry for Prometheus with the metrics of one server, each read when it is asked for.

    Raises MissingExtraError without the package ``prometheus-client``.
    """
    with importing_extra("metrics", "prometheus_client", "metrics for Prometheus need"):
        # All of it now: when a page is asked for there may be no descriptor left to read a module with.
        from prometheus_client import core  # noqa: PLC0415 - an extra
    found = core.CollectorRegistry()
    found.register(_Collector(server))
    return found


class _Collector:
    """Reads a server as Prometheus wants it."""

    def __init__(self, server: HasMetrics) -> None:
        self._server = server

    def describe(self) -> list[Metric]:
        """Nothing: the numbers cannot be read before the server is started."""
        return []

    def collect(self) -> Iterator[Metric]:
        """One family for each metric."""
        metrics = self._server.metrics()
        for info in describe():
            yield _family(info, getattr(metrics, info.name))


def _family(info: MetricInfo, value: Any) -> Metric:  # noqa: ANN401 - as the field has it
    from prometheus_client.core import (  # noqa: PLC0415 - an extra
        CounterMetricFamily,
        GaugeMetricFamily,
        HistogramMetricFamily,
    )

    name = f"framelet_{info.name}"
    if isinstance(value, Distribution):
        return HistogramMetricFamily(name, info.purpose, buckets=value.cumulated(), sum_value=value.seconds)
    family = (GaugeMetricFamily if info.kind == "gauge" else CounterMetricFamily)(
        name, info.purpose, labels=[info.label] if info.label else []
    )
    for label, number in value.items() if info.label else [("", value)]:
        family.add_metric([label] if info.label else [], float(number))
    return family
