"""The pages of figures, written from the results of a run; the prose around the figures is kept.

``docs/performance.md`` has the main figures; ``benchmarks/ROUNDS.md`` has every row with all of its rounds.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from .peers import BEFORE, FRAMELET, IN_LOOP, LIMIT, LOOP, PEERS
from .plots import PLOTS
from .processes import ROOT
from .results import amount, times
from .rows.costs import TLS_GROUP
from .rows.quiet import GROUP as QUIET
from .rows.servers import GROUP as SERVERS
from .suite import own_name
from .targets import verdicts

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from .results import Measured, Results

PAGE = ROOT / "docs" / "performance.md"
ROUNDS_PAGE = ROOT / "benchmarks" / "ROUNDS.md"
MAIN = (SERVERS, QUIET, TLS_GROUP)
"""The groups on the page itself; the others are on the other page."""
OWN_BESIDE = (LOOP, "asyncio_protocol", "uvloop_protocol")
"""The peers that Framelet is compared with in the section on own handlers."""
SHOWN = 4
"""Peers that are named in a row in which Framelet is behind, at most."""
BEGIN, END = "<!-- begin measured -->", "<!-- end measured -->"


class PageError(Exception):
    """The page does not have exactly one pair of marks."""


def regenerated(page: str, results: Results) -> str:
    """The page with the part between the marks written anew; raises PageError."""
    pattern = re.compile(f"({re.escape(BEGIN)}\n).*?({re.escape(END)})", re.DOTALL)
    if len(pattern.findall(page)) != 1:
        message = f"{PAGE.relative_to(ROOT)}: expected one pair of marks, {BEGIN} and {END}"
        raise PageError(message)
    return pattern.sub(lambda marks: f"{marks[1]}\n{measured_part(results)}\n{marks[2]}", page)


def measured_part(results: Results) -> str:
    """The measured part of the page."""
    shown = [(name, results.groups[name]) for name in MAIN if name in results.groups]
    return sections(
        ("How it was measured", method_section(results)),
        ("Own handler", own_section(results)),
        *((name, group_section(rows, "../benchmarks/results")) for name, rows in shown),
        ("Targets", targets_section(results)),
        ("Where Framelet is behind", losing_section(results)),
    )


def rounds_page(results: Results) -> str:
    """The whole of the other page."""
    text = sections(
        *(
            (group, group_section(rows, "results"))
            for group, rows in results.groups.items()
            if group not in MAIN
        ),
        ("All figures", all_figures(results)),
        ("Peers and versions", peers_section(results)),
    )
    return f"# All rounds\n\nWritten by `make bench`, with [performance](../docs/performance.md).\n\n{text}"


def sections(*parts: tuple[str, str]) -> str:
    """Titles and texts."""
    return "\n".join(f"## {title}\n\n{text}" for title, text in parts)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table with its columns aligned."""
    lines = [list(head), *map(list, rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    lines.insert(1, ["-" * width for width in widths])
    return "".join(f"| {' | '.join(map(str.ljust, line, widths))} |\n" for line in lines)


def targets_section(results: Results) -> str:
    """Met or missed."""
    found = verdicts(results)
    judged = [verdict.met for verdict in found if verdict.met is not None]
    words = {True: "met", False: "**missed**", None: "reported"}
    rows = ((v.title, v.what, v.target.bound, v.value, words[v.met]) for v in found)
    head = ("work", "what", "target", "measured (all rounds)", "")
    note = "A target for several rows shows the row that is furthest from it."
    return f"{sum(judged)} of {len(judged)} targets are met. {note}\n\n{table(head, rows)}"


def own_section(results: Results) -> str:
    """How Framelet stands with an own handler, in every row of the servers."""
    head = ("work", "Framelet, reversal", *(PEERS[name].title for name in OWN_BESIDE))
    rows = []
    for row in results.groups.get(SERVERS, ()):
        own = results.by_name.get(own_name(row.name))
        if own is None or FRAMELET not in own.values:
            continue
        others = [row.values.get(FRAMELET, ()), *(own.values.get(name, ()) for name in OWN_BESIDE)]
        ratios = [own.times_better(own.values[FRAMELET], other) for other in others]
        rows.append((row.title, *(ratio.text if ratio else "" for ratio in ratios)))
    note = (
        "Every peer calls the same function, which returns `text.upper()`. Each figure says how many times\n"
        "better Framelet is than the peer of the column; below 1 it is worse."
    )
    return f"{note}\n\n{table(head, rows)}" if rows else "Not measured.\n"


def losing_section(results: Results) -> str:
    """The rows in which a peer is ahead, by how much."""
    rows = list(losing_rows(results))
    if not rows:
        return "No peer is better in any row.\n"
    head = ("work", "unit", "Framelet", "peers that are better, with their ratio to Framelet")
    return f"The C limit is left out.\n\n{table(head, rows)}"


def losing_rows(results: Results) -> Iterator[tuple[str, str, str, str]]:
    """Title, unit, our value, and who is ahead by what factor."""
    for row in results.rows:
        if FRAMELET not in row.values:
            continue
        ours = row.median(FRAMELET)
        others = row.values.keys() & PEERS.keys() - {LIMIT, BEFORE, IN_LOOP}
        ahead = [name for name in others if row.better(row.median(name), ours)]
        ahead.sort(key=row.median, reverse=not row.less)
        if ahead:
            names = [f"{row.titles[name]} {times(row.median(name) / ours)}" for name in ahead]
            if len(names) > SHOWN:
                names[SHOWN:] = [f"{len(names) - SHOWN} more"]
            yield row.title, row.unit, amount(ours), ", ".join(names)


def group_section(rows: Sequence[Measured], plots: str) -> str:
    """One table, a column for each entry, and the plots, which are in that folder."""
    titles = {name: title for row in rows for name, title in row.titles.items()}
    lines = (
        (row.title, row.unit + ", less is better" * row.less, *(cell(row, name) for name in titles))
        for row in rows
    )
    note = "".join(
        f"\n![{plot.title}]({plots}/{plot.file})\n" for plot in PLOTS if plot.group == rows[0].group
    )
    return f"{reference_note(rows)}\n\n{table(('work', 'unit', *titles.values()), lines)}{note}"


def reference_note(rows: Sequence[Measured]) -> str:
    """What the ratios in brackets are to."""
    references = {row.titles.get(row.reference or "") for row in rows} - {None}
    note = "Medians"
    if len(references) == 1:
        note += f", and in brackets the median ratio to {references.pop()} in the same round"
    elif references:
        note += ", and in brackets the median ratio to " + " or ".join(sorted(map(str, references)))
    return note + "."


def cell(row: Measured, name: str) -> str:
    """The value of an entry, and its ratio."""
    if name in row.failed:
        return "failed"
    if name not in row.values:
        return ""
    ratio = row.ratio(name, row.reference)
    if ratio is None or name == row.reference:
        return amount(row.median(name))
    return f"{amount(row.median(name))} ({times(ratio.median)})"


def method_section(results: Results) -> str:
    """How, and on what machine."""
    method = results.method
    text = f"""\
`make bench` measured all of this in one run, which took {method["minutes"]:.0f} minutes on {method["date"]}.

- Servers run on core {method["server core"]}, the load generator and clients on core {method["load core"]}.
- Each round measures all entries of a row once, with both handlers. There are {method["rounds"]} rounds
  (at most 3 for rows that take long) of about {method["seconds"]:g} seconds, after a first one that does
  not count.
- A figure is the median of the rounds. Ratios are taken within a round; in brackets after a median ratio are
  the smallest and the largest.
- Every octet of every reply is compared with the expected one.
- Texts have 64 octets unless the row says otherwise. Mixed scripts are words of random lengths in eight
  scripts, with one to four octets for each character.
- [benchmarks/ROUNDS.md](../benchmarks/ROUNDS.md) has all rounds, the rows end to end, by threads and by
  `busy_poll`, the commands, the codec, and the peers with their versions.

"""
    return text + table(("machine", ""), results.machine.items())


def peers_section(results: Results) -> str:
    """Versions, and how each client works."""
    text = table(("version", ""), results.versions.items()) + "\n"
    clients = ((peer.title, peer.pipelining, peer.note) for peer in PEERS.values())
    text += "How each client keeps many requests in flight, end to end:\n\n"
    text += table(("peer", "pipelined by", "reason for its figures"), clients)
    if results.skipped:
        text += "\nNot measured:\n\n" + table(("peer", "why"), results.skipped.items())
    return text


def all_figures(results: Results) -> str:
    """Every row with its spreads."""
    lines: list[tuple[str, ...]] = []
    for row in results.rows:
        for name, values in row.values.items():
            ratio = row.ratio(name, row.reference) if name != row.reference else None
            lines.append(
                (
                    row.title,
                    row.titles[name],
                    f"{amount(row.median(name))} {row.unit}",
                    f"{amount(min(values))} to {amount(max(values))}",
                    ratio.text if ratio else "",
                )
            )
        lines += ((row.title, row.titles[name], "failed", why, "") for name, why in row.failed.items())
    return table(("work", "entry", "median", "rounds", "ratio (rounds)"), lines)
