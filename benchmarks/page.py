"""The page of figures, written from the results of a run; what people wrote around it stays."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from .peers import FRAMELET, LIMIT, PEERS
from .plots import PLOTS
from .processes import ROOT
from .results import amount, times
from .targets import verdicts

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from .results import Measured, Results

PAGE = ROOT / "docs" / "performance.md"
SHOWN = 4
"""Peers that are named in a row in which Framelet is behind."""
BEGIN, END = "<!-- begin measured -->", "<!-- end measured -->"


class PageError(Exception):
    """The page has not one pair of marks."""


def regenerated(page: str, results: Results) -> str:
    """The page with the part between the marks written anew; raises PageError."""
    pattern = re.compile(f"({re.escape(BEGIN)}\n).*?({re.escape(END)})", re.DOTALL)
    if len(pattern.findall(page)) != 1:
        message = f"{PAGE.relative_to(ROOT)}: expected one pair of marks, {BEGIN} and {END}"
        raise PageError(message)
    return pattern.sub(lambda marks: f"{marks[1]}\n{measured_part(results)}\n{marks[2]}", page)


def measured_part(results: Results) -> str:
    """Everything that a run can say."""
    sections = [
        ("Targets", targets_section(results)),
        ("Where Framelet is behind", losing_section(results)),
        *((group, group_section(rows)) for group, rows in results.groups.items()),
        ("How it was measured", method_section(results)),
        ("All figures", all_figures(results)),
    ]
    return "\n".join(f"## {title}\n\n{text}" for title, text in sections)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table with its columns aligned."""
    lines = [list(head), *map(list, rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    lines.insert(1, ["-" * width for width in widths])
    return "".join(f"| {' | '.join(map(str.ljust, line, widths))} |\n" for line in lines)


def targets_section(results: Results) -> str:
    """Met or missed."""
    found = verdicts(results)
    met = sum(verdict.met for verdict in found)
    rows = ((v.title, v.what, v.target.bound, v.value, "met" if v.met else "**missed**") for v in found)
    head = ("work", "what", "target", "measured (all rounds)", "")
    return f"{met} of {len(found)} are met.\n\n{table(head, rows)}"


def losing_section(results: Results) -> str:
    """The rows in which a peer is ahead, by how much."""
    rows = list(losing_rows(results))
    if not rows:
        return "No peer is ahead in any row.\n"
    head = ("work", "unit", "Framelet", "ahead of it, as multiples of its value")
    return f"The limit in C is not counted.\n\n{table(head, rows)}"


def losing_rows(results: Results) -> Iterator[tuple[str, str, str, str]]:
    """Title, unit, our value, and who is ahead by what factor."""
    for row in results.rows:
        if FRAMELET not in row.values:
            continue
        ours = row.median(FRAMELET)
        others = row.values.keys() & PEERS.keys() - {LIMIT}
        ahead = [name for name in others if row.better(row.median(name), ours)]
        ahead.sort(key=row.median, reverse=not row.less)
        if ahead:
            names = [f"{row.titles[name]} {times(row.median(name) / ours)}" for name in ahead]
            if len(names) > SHOWN:
                names[SHOWN:] = [f"{len(names) - SHOWN} more"]
            yield row.title, row.unit, amount(ours), ", ".join(names)


def group_section(rows: Sequence[Measured]) -> str:
    """One table: a row for each entry, a column for each work, or the other way where that is narrower."""
    titles = {name: title for row in rows for name, title in row.titles.items()}
    lines = ((row.title, row.unit, *(cell(row, name) for name in titles)) for row in rows)
    note = "".join(
        f"\n![{plot.title}](../benchmarks/results/{plot.file})\n"
        for plot in PLOTS
        if plot.group == rows[0].group
    )
    return f"{reference_note(rows)}\n\n{table(('work', 'unit', *titles.values()), lines)}{note}"


def reference_note(rows: Sequence[Measured]) -> str:
    """What the ratios in brackets are to."""
    references = {row.titles.get(row.reference or "") for row in rows} - {None}
    less = [row.title for row in rows if row.less]
    note = "Medians"
    if len(references) == 1:
        note += f"; in brackets the median of the ratios to {references.pop()} in the same round"
    elif references:
        note += "; in brackets the median of the ratios to " + " or ".join(sorted(map(str, references)))
    if less and len(less) == len(rows):
        note += "; less is better"
    elif less:
        note += f"; less is better for: {'; '.join(less)}"
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
    """Machine, versions, and how."""
    method = results.method
    text = f"""\
`make bench` measured all of this in one run, which took {method["minutes"]:.0f} minutes on {method["date"]}.

- Servers run on one core ({method["server core"]}), the load generator and the clients on another
  ({method["load core"]}).
- Entries of a row take turns: every round goes over all of them before the next begins. There are
  {method["rounds"]} rounds (no more than 3 of rows that take long), of about {method["seconds"]:g} seconds
  each, behind one that is not counted.
- A figure is the median of the rounds. A ratio is made within each round; its spread is the smallest and the
  largest of them.
- Every octet of every reply is compared with what it must be.
- All peers do the same work: decode UTF-8, reverse the text, encode it. Texts of 64 octets unless the row
  says otherwise; mixed scripts are words of random lengths in eight scripts, one to four octets for each
  character.
- Each is written as its documentation suggests, and to its advantage: no delay on sockets where it lets one
  choose, no compression, octets instead of pickles, answers of one turn joined.
- The limit is a server in C with one thread and epoll, which validates and reverses octet by octet. The load
  generator, in C as well, keeps a window of requests under way on each connection.
- Framelet's server runs as it comes, with its default number of threads.

"""
    text += table(("machine", ""), results.machine.items()) + "\n"
    text += table(("version", ""), results.versions.items()) + "\n"
    clients = ((peer.title, peer.pipelining, peer.note) for peer in PEERS.values())
    text += "How each client keeps many requests under way, end to end:\n\n"
    text += table(("peer", "pipelined by", "what explains its figures"), clients)
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
                    f"{times(ratio.median)} ({times(ratio.least)} to {times(ratio.most)})" if ratio else "",
                )
            )
        lines += ((row.title, row.titles[name], "failed", why, "") for name, why in row.failed.items())
    return table(("work", "entry", "median", "rounds", "ratio (rounds)"), lines)
