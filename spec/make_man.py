"""Write docs/man: the manual pages of the three commands, from the same definitions as their ``--help``.

``--check`` writes nothing, and fails where a page is not what it would write.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import click

from framelet_client.cli.command import framelet
from framelet_conformance.cli.command import command as conformance
from framelet_server.cli.command import command as server

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER = Path(__file__).parents[1] / "docs" / "man"
PROGRAMS = {"framelet": framelet, "framelet-server": server, "framelet-conformance": conformance}


def page(name: str, program: click.Command) -> str:
    """The manual page of a program and of the commands below it."""
    context = click.Context(program, info_name=name)
    commands = list(below(context))
    shared = Counter(record for one in commands for record in records(one)) if commands else Counter()
    lines = [
        f'.\\" Written by spec/{Path(__file__).name}; changes here are lost.',
        f'.TH {name.upper()} 1 "" "Framelet" "Framelet"',
        ".SH NAME",
        f"{plain(name)} \\- {plain(program.get_short_help_str(200).rstrip('.'))}",
        ".SH SYNOPSIS",
        synopsis(context),
        ".SH DESCRIPTION",
        *paragraphs(program.help or ""),
        ".SH OPTIONS",
        *options(records(context)),
    ]
    if commands:
        lines.append(".SH COMMANDS")
    for one in commands:
        lines += [f'.SS "{plain(one.command_path)}"', synopsis(one), *paragraphs(one.command.help or "")]
        lines += options([record for record in records(one) if shared[record] == 1])
        lines += paragraphs(one.command.epilog or "")
    if several := [record for record, count in shared.items() if count > 1 and record[0] != "-h, --help"]:
        lines += [".SH OPTIONS OF SEVERAL COMMANDS", *options(several)]
    lines += [".SH NOTES", *paragraphs(program.epilog)] if program.epilog else []
    others = ", ".join(f".BR {plain(other)} (1)" for other in PROGRAMS if other != name)
    return "\n".join([*lines, ".SH SEE ALSO", *others.replace(", ", ",\n").splitlines()]) + "\n"


def below(context: click.Context) -> Iterator[click.Context]:
    """The contexts of the commands below one, in their order; groups give way to their commands."""
    if not isinstance(context.command, click.Group):
        return
    for name, command in context.command.commands.items():
        inner = click.Context(command, info_name=name, parent=context)
        yield from below(inner) if isinstance(command, click.Group) else (inner,)


def records(context: click.Context) -> list[tuple[str, str]]:
    """The options as the help has them."""
    found = [one for one in context.command.get_params(context) if isinstance(one, click.Option)]
    return [record for one in found if (record := one.get_help_record(context)) is not None]


def synopsis(context: click.Context) -> str:
    """How it is called."""
    words = " ".join(context.command.collect_usage_pieces(context))
    return f".B {plain(context.command_path)}\n{plain(words)}"


def options(found: list[tuple[str, str]]) -> Iterator[str]:
    """A tagged paragraph for each."""
    for name, words in found:
        yield from (".TP", f".B {plain(name)}", plain(" ".join(words.split())))


def paragraphs(text: str) -> Iterator[str]:
    """Those of a help text; what is marked by a backspace keeps its lines."""
    for part in re.split(r"\n\s*\n", text.strip()):
        yield ".PP"
        if part.lstrip().startswith("\b"):
            lines = part.strip("\b\n ").splitlines()
            yield from (".nf", *map(plain, lines), ".fi")
        else:
            yield plain(" ".join(part.split()))


def plain(text: str) -> str:
    """A text in which nothing is a command to the formatter; it is ASCII, as all help is."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-").replace('"', "\\(dq").replace("'", "\\(aq")
    return re.sub(r"^\.", r"\\&.", escaped)


def main() -> int:
    """Write the pages, or with ``--check`` say which differ; the exit status."""
    pages = {FOLDER / f"{name}.1": page(name, program) for name, program in PROGRAMS.items()}
    if "--check" in sys.argv:
        stale = [str(file) for file, text in pages.items() if not file.exists() or file.read_text() != text]
        print("".join(f"{file} is not up to date: run make docs\n" for file in stale), end="")
        return int(bool(stale))
    FOLDER.mkdir(exist_ok=True)
    for file, text in pages.items():
        file.write_text(text, encoding="ascii")
    return 0


if __name__ == "__main__":
    sys.exit(main())
