#!/usr/bin/env python3
"""Write the tables of the documents from the definitions of the package, or check that they are fresh.

    spec/tables.py            write every block that is out of date
    spec/tables.py --check    exit with 1 if there is one, and name it

A block stands between ``<!-- begin generated: NAME -->`` and ``<!-- end generated: NAME -->`` in SPEC.md,
README.md or a file of docs/.  ``BLOCKS`` has a function for each NAME; add one there for a new table.
"""

from __future__ import annotations

import re
import sys
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

from framelet.registry import APPLICATION_CODES, ErrorCode, FrameType, Role, TypeRange
from framelet.states import ACTIONS, MEANINGS, TRANSITIONS, Action, State
from framelet_client.config import ClientLimits
from framelet_server.config import ServerLimits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from framelet.limits import LimitInfo
    from framelet.states import Kind

ROOT = Path(__file__).resolve().parents[1]

_MARK = re.compile(r"<!--\s*(begin|end)\s+generated:\s*(\S+)\s*-->")
_FEWEST_IN_RANGE = 3  # fewer octets than this are listed


class MarkError(Exception):
    """A document whose marks do not pair up, or name an unknown block."""


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A Markdown table with its columns aligned."""
    lines = [[cell.replace("|", "\\|") for cell in line] for line in (head, *rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    lines.insert(1, ["-" * width for width in widths])
    padded = (" | ".join(map(str.ljust, line, widths)) for line in lines)
    return "".join(f"| {line} |\n" for line in padded)


def octets(types: Iterable[int]) -> str:
    """A set of type octets for people, as in ``09-7F except 16, 47, 50, 53``."""
    members = sorted(types)
    first, last = members[0], members[-1]
    missing = sorted({*range(first, last + 1)} - {*members})
    if len(members) < _FEWEST_IN_RANGE or len(missing) > len(members):
        return ", ".join(f"`{octet:02X}`" for octet in members)
    text = f"`{first:02X}`-`{last:02X}`"
    return text + (" except " + ", ".join(f"`{octet:02X}`" for octet in missing) if missing else "")


def kinds() -> list[Kind]:
    """All kinds of type, by their lowest octet."""
    return sorted((*FrameType, *TypeRange), key=lambda kind: min(types_of(kind)))


def types_of(kind: Kind) -> frozenset[int]:
    """The octets that stand for this kind of type."""
    return frozenset({int(kind)}) if isinstance(kind, FrameType) else kind.types


def name_of(kind: Kind) -> str:
    """The name of an assigned type, or the words for a range."""
    return kind.name if isinstance(kind, FrameType) else kind.value


def senders(kind: Kind) -> str:
    """Who may send a kind of type: for a range, whoever has a peer that takes it."""
    if isinstance(kind, FrameType):
        found = kind.senders
    else:
        peers = {Role.CLIENT: Role.SERVER, Role.SERVER: Role.CLIENT}
        taken = {Action.SERVE, Action.MATCH, Action.DISCARD}
        found = frozenset(role for role in Role if ACTIONS[peers[role]][State.OPEN][kind] in taken)
    return ", ".join(role.value for role in Role if role in found) or "nobody"


def number(value: float) -> str:
    """A number for people: thousands apart, no exponent, no trailing zeros, and no digit lost."""
    whole, _, fraction = f"{Decimal(repr(value)):,f}".partition(".")
    fraction = fraction.rstrip("0")
    return f"{whole}.{fraction}" if fraction else whole


def frame_types() -> str:
    """Section 5: every type, assigned or not."""
    rows = ((octets(types_of(kind)), name_of(kind), senders(kind), kind.purpose) for kind in kinds())
    return table(("type", "name", "sent by", "purpose"), rows)


def error_codes() -> str:
    """Section 7: the registry of error codes, in order of precedence."""
    return table(
        ("code", "name", "class", "condition", "sent"),
        (row for code in ErrorCode for row in _error_rows(code)),
    )


def _error_rows(code: ErrorCode) -> Iterable[tuple[str, ...]]:
    """The row of a code; before that of 451, that of the codes that belong to the application."""
    if code is ErrorCode.ANSWER_TOO_LARGE:
        first, last = ErrorCode(APPLICATION_CODES[0]), APPLICATION_CODES[-1]
        yield f"`{first:d}`-`{last}`", first.title, "recoverable", first.condition, "yes"
    yield (
        f"`{code:d}`",
        code.title,
        "fatal" if code.fatal else "recoverable",
        code.condition,
        "local only, never sent" if code.local else "yes",
    )


def deadlines() -> str:
    """Section 12: the clocks that the protocol knows; reaching a server is before it."""
    infos = [("server", info) for info in ServerLimits.describe()]
    infos += [("client", info) for info in ClientLimits.describe() if info.name != "connect_timeout"]
    return table(
        ("deadline", "kept by", "default", "unit", "purpose"),
        (
            (info.name.replace("_", " "), role, number(info.default), info.unit, info.purpose)
            for role, info in infos
            if info.name.endswith("_timeout")
        ),
    )


def state_meanings() -> str:
    """Section 15: the states of each role."""
    return table(
        ("role", "state", "meaning"),
        (
            (role.value, state.value, meaning)
            for role in reversed(Role)
            for state, meaning in MEANINGS[role].items()
        ),
    )


def state_table() -> str:
    """Section 15: what each role does with each type in each state."""
    return "\n".join(
        f"The {role.value}:\n\n"
        + table(
            ("type", "name", *(state.value for state in State)),
            (
                (
                    octets(types_of(kind)),
                    name_of(kind),
                    *(ACTIONS[role][state][kind].value for state in State),
                )
                for kind in kinds()
            ),
        )
        for role in reversed(Role)
    )


def transitions() -> str:
    """Section 15: the state behind each event that changes it."""
    return table(
        ("role", "state", "what happens", "next state"),
        (
            (role.value, state.value, trigger.value, then.value)
            for role in reversed(Role)
            for state, triggers in TRANSITIONS[role].items()
            for trigger, then in triggers.items()
            if then is not state
        ),
    )


def limits(infos: Iterable[LimitInfo]) -> str:
    """The limits of an endpoint, as its command-line options."""
    return table(
        ("option", "default", "unit", "range", "purpose", "why this default"),
        (
            (
                f"`{info.option}`",
                number(info.default),
                info.unit,
                f"{number(info.minimum)} to {number(info.maximum)}",
                info.purpose,
                info.why,
            )
            for info in infos
        ),
    )


BLOCKS: Mapping[str, Callable[[], str]] = {
    "frame-types": frame_types,
    "error-codes": error_codes,
    "deadlines": deadlines,
    "states": state_meanings,
    "state-table": state_table,
    "transitions": transitions,
    "server-limits": lambda: limits(ServerLimits.describe()),
    "client-limits": lambda: limits(ClientLimits.describe()),
}
"""The text of each block, by its name in the marks."""


def regenerate(text: str) -> tuple[str, list[str]]:
    """The text with all its blocks written anew, and the names of those that changed.

    Raises MarkError where a mark has no partner or an unknown name.
    """
    marks = list(_MARK.finditer(text))
    parts, stale, end = [], [], 0
    for begin, close in zip(marks[::2], marks[1::2], strict=False):
        name = begin[2]
        if (begin[1], close[1]) != ("begin", "end") or close[2] != name:
            message = f"the marks around {name} do not pair up"
            raise MarkError(message)
        if name not in BLOCKS:
            message = f"{name} is no block: expected one of {', '.join(BLOCKS)}"
            raise MarkError(message)
        fresh = f"\n\n{BLOCKS[name]()}\n"  # a Markdown table needs an empty line before and behind it
        if text[begin.end() : close.start()] != fresh:
            stale.append(name)
        parts += [text[end : begin.end()], fresh]
        end = close.start()
    if len(marks) % 2:
        message = f"the {marks[-1][1]} mark of {marks[-1][2]} has no partner"
        raise MarkError(message)
    return "".join(parts) + text[end:], stale


def documents() -> list[Path]:
    """The files that may hold blocks."""
    return [ROOT / "spec" / "SPEC.md", ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md"))]


def main(arguments: list[str]) -> int:
    """Write or check all documents; the exit status."""
    if arguments not in ([], ["--check"]):
        sys.stderr.write("usage: spec/tables.py [--check]\n")
        return 2
    status = 0
    for path in documents():
        name = path.relative_to(ROOT)
        try:
            text, stale = regenerate(path.read_text(encoding="utf-8"))
        except MarkError as error:
            sys.stderr.write(f"{name}: {error}\n")
            status = 1
            continue
        for block in stale:
            print(f"{name}: the table {block} is {'stale; run: make docs' if arguments else 'written'}")
        if stale and arguments:
            status = 1
        elif stale:
            path.write_text(text, encoding="utf-8")
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
