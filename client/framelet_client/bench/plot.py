"""A picture of a measurement: latency by percentile.  Needs matplotlib."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matplotlib.figure import Figure

if TYPE_CHECKING:
    from pathlib import Path

    from .plan import Plan
    from .stats import Latencies, LoadStats

_NINES = (0.0, 90.0, 99.0, 99.9, 99.99, 99.999, 99.9999)


def formats() -> list[str]:
    """The file extensions that can be written, without the dot."""
    return sorted(Figure().canvas.get_supported_filetypes())


def plot(address: str, file: Path, plan: Plan, stats: LoadStats) -> None:
    """Write the picture; raises OSError."""
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    curves = {"latency": stats.latency}
    if plan.rate is not None:
        curves = {"since due": stats.latency, "since sent": stats.service}
    for name, latencies in curves.items():
        axes.plot(*_curve(latencies), label=name, drawstyle="steps-post")
    farthest = max(stats.latency.count, 10)
    ticks = [percent for percent in _NINES if 1 / (1 - percent / 100) <= farthest]
    axes.set_xscale("log")
    axes.set_xticks([1 / (1 - percent / 100) for percent in ticks], [f"{percent:g} %" for percent in ticks])
    axes.minorticks_off()
    axes.set_ylim(bottom=0)
    axes.set_xlabel("percentile")
    axes.set_ylabel("milliseconds")
    axes.set_title(address)
    axes.grid(visible=True, alpha=0.3)
    axes.legend()
    figure.savefig(file)


def _curve(latencies: Latencies) -> tuple[list[float], list[float]]:
    """For each recorded time: 1 / (share of times that long or longer), and the time in milliseconds."""
    rarity, times, seen, count = [], [], 0, latencies.count
    for time, number in latencies.cells():
        rarity.append(count / (count - seen))
        times.append(time * 1000)
        seen += number
    return rarity, times
