"""Plots of a run, as SVG; they need matplotlib."""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .peers import FRAMELET, LIMIT, LOOP
from .rows.clients import GROUP as CLIENTS
from .rows.servers import GROUP as SERVERS
from .rows.servers import SIZES
from .rows.variants import THREADS, THREADS_GROUP

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from .results import Measured, Results

OURS, THEIRS, BOUND, PYTHON_BOUND = "#1b6ca8", "#b8c4cc", "#d9822b", "#e8b96a"
SHADES = ("#2e8b57", "#8e6bbf", "#b03a5b", "#7f7f7f", "#8c6d1f")
"""Of peers that are drawn as lines."""


@dataclass(frozen=True)
class Plot:
    """A file of the results folder."""

    file: str
    title: str
    group: str
    draw: Callable[[Any, Results], Any]
    """From pyplot and the results to a figure, or None where the rows are missing."""


def color(name: str) -> str:
    """Framelet, the limit, the bare loop, and the others."""
    return {FRAMELET: OURS, LIMIT: BOUND, LOOP: PYTHON_BOUND}.get(name, THEIRS)


def bars(pyplot: Any, rows: Sequence[Measured]) -> Any:  # noqa: ANN401 - matplotlib is optional
    """A panel for each row, a bar for each entry, the spread of its rounds as a line."""
    if not rows:
        return None
    across = 2
    down = -(-len(rows) // across)
    entries = max(len(row.values) for row in rows)
    figure, axes = pyplot.subplots(down, across, figsize=(11, down * (1.05 + 0.26 * entries)), squeeze=False)
    for axis in axes.flat[len(rows) :]:
        axis.axis("off")
    for axis, row in zip(axes.flat, rows, strict=False):
        names = sorted(row.values, key=row.median, reverse=not row.less)
        medians = [row.median(name) for name in names]
        spread = [
            [row.median(name) - min(row.values[name]) for name in names],
            [max(row.values[name]) - row.median(name) for name in names],
        ]
        axis.barh(
            [row.titles[name] for name in names],
            medians,
            xerr=spread,
            color=[color(name) for name in names],
            ecolor="#555555",
            height=0.7,
        )
        axis.invert_yaxis()
        axis.set_title(f"{row.title}\n{row.unit}" + (" (less is better)" if row.less else ""), fontsize=9)
        axis.tick_params(labelsize=8)
        axis.set_xlim(0)
        axis.xaxis.set_major_locator(pyplot.MaxNLocator(5))
        axis.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    figure.tight_layout()
    return figure


def servers(pyplot: Any, results: Results) -> Any:  # noqa: ANN401 - matplotlib is optional
    """Everything that the load generator drives, but for the sizes: left reversal, right an own handler."""
    rows = [row for row in results.groups.get(SERVERS, ()) if not row.name.startswith("size-")]
    return bars(pyplot, rows)


def clients(pyplot: Any, results: Results) -> Any:  # noqa: ANN401 - matplotlib is optional
    """End to end."""
    return bars(pyplot, results.groups.get(CLIENTS, ()))


def sizes(pyplot: Any, results: Results) -> Any:  # noqa: ANN401 - matplotlib is optional
    """Requests for each second by the size of the body, with an own handler."""
    names = {size: f"size-{size}-own" for size in SIZES}
    rows = {size: results.by_name[name] for size, name in names.items() if name in results.by_name}
    if len(rows) < len(SIZES):
        return None
    figure, axis = pyplot.subplots(figsize=(8, 4.5))
    places = range(len(SIZES))
    shades = iter(SHADES)
    for name, title in rows[SIZES[0]].titles.items():
        if all(name in row.values for row in rows.values()):
            width = 2.5 if name in {FRAMELET, LOOP} else 1.2
            shade = color(name) if name in {FRAMELET, LOOP} else next(shades, THEIRS)
            medians = [row.median(name) for row in rows.values()]
            axis.plot(places, medians, label=title, linewidth=width, color=shade, marker="o", markersize=3)
    axis.set_yscale("log")
    axis.yaxis.set_major_locator(pyplot.LogLocator(subs=(1, 2, 5)))
    axis.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axis.yaxis.set_minor_formatter(pyplot.NullFormatter())
    axis.set_xticks(list(places), [f"{size:,}" for size in SIZES])
    axis.set_xlabel("octets of the body")
    axis.set_ylabel("requests/s")
    axis.grid(axis="y", alpha=0.3)
    axis.legend(fontsize=8)
    figure.tight_layout()
    return figure


def threads(pyplot: Any, results: Results) -> Any:  # noqa: ANN401 - matplotlib is optional
    """Speed by the number of threads, as parts of that with one."""
    rows = [row for row in results.rows if row.name.startswith("threads-") and row.values]
    if not rows:
        return None
    figure, axis = pyplot.subplots(figsize=(8, 4))
    for row in rows:
        ratios = [row.ratio(str(count), "1") for count in THREADS]
        axis.plot(
            range(len(THREADS)),
            [ratio.median if ratio else 0 for ratio in ratios],
            label=row.title,
            marker="o",
        )
    axis.axhline(0.9, color="#999999", linestyle="--", linewidth=1)
    axis.set_xticks(list(range(len(THREADS))), [str(count) for count in THREADS])
    axis.set_xlabel("threads of the server")
    axis.set_ylabel("speed over that with 1")
    axis.set_ylim(0)
    axis.legend(fontsize=8)
    figure.tight_layout()
    return figure


PLOTS = (
    Plot("servers.svg", "Servers under the load generator", SERVERS, servers),
    Plot("sizes.svg", "Speed by the size of the body, own handler", SERVERS, sizes),
    Plot("threads.svg", "Speed by the number of threads", THREADS_GROUP, threads),
    Plot("clients.svg", "End to end", CLIENTS, clients),
)


def available() -> bool:
    """Whether matplotlib is here."""
    return importlib.util.find_spec("matplotlib") is not None


def draw(results: Results, folder: Path) -> list[Path]:
    """Write all plots that the results have rows for; the same results give the same octets."""
    matplotlib: Any = importlib.import_module("matplotlib")
    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.hashsalt": "framelet", "svg.fonttype": "none", "font.size": 9})
    pyplot: Any = importlib.import_module("matplotlib.pyplot")
    written = []
    for plot in PLOTS:
        figure = plot.draw(pyplot, results)
        if figure is not None:
            file = folder / plot.file
            figure.savefig(file, metadata={"Date": None})
            pyplot.close(figure)
            written.append(file)
    return written
