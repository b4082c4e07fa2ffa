"""The command-line options of the suite, and what is made of them."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from framelet import AddressError, TcpAddress, TlsAddress, parse_address
from framelet_conformance.wire.times import Times

from .valued import option

if TYPE_CHECKING:
    from collections.abc import Callable

_PATTERN = "PATTERN|@FILE"


def _file(name: str, purpose: str) -> Callable[..., Any]:
    kind = click.Path(dir_okay=False, path_type=Path)
    return option(name, type=kind, metavar="FILE", help=purpose, group="Reports")


_SHARED = [
    option(
        "--only",
        multiple=True,
        metavar=_PATTERN,
        help="Run these cases only: ids or requirements, with * and ?.  May be repeated.",
        group="Selection",
    ),
    option("--exclude", multiple=True, metavar=_PATTERN, help="Leave these cases out.", group="Selection"),
    option(
        "--expect-fail",
        multiple=True,
        metavar=_PATTERN,
        help="These cases are known to fail; one that passes is an error.",
        group="Selection",
    ),
    option(
        "--time-scale",
        type=click.FloatRange(0.05, 1_000),
        default=1.0,
        show_default=True,
        help="Factor for all time limits, for a slow peer or a slow network.",
        group="Running",
    ),
    option(
        "--workers",
        type=click.IntRange(1, 256),
        default=16,
        show_default=True,
        help="Conversations at once.",
        group="Running",
    ),
    option(
        "--examples",
        type=click.IntRange(1, 1_000_000),
        default=100,
        show_default=True,
        help="Generated conversations of each kind.",
        group="Selection",
    ),
    option(
        "--seed",
        type=int,
        help="Generate other conversations.  [default: always the same]",
        group="Selection",
    ),
    option("--slow", is_flag=True, help="Run the cases that wait for long, too.", group="Selection"),
    option(
        "--strict",
        is_flag=True,
        help="Fail the run for non-strict verdicts and skipped cases, too.",
        group="Running",
    ),
    option(
        "--list",
        "list_only",
        is_flag=True,
        help="List the cases instead of running them.",
        group="Selection",
    ),
    option("--json", "as_json", is_flag=True, help="With --list: as JSON.", group="Selection"),
    _file("--report-html", "Write the results as an HTML page."),
    _file("--report-json", "Write all results as JSON."),
    _file("--junit", "Write the results as JUnit XML."),
    option(
        "--replay-dir",
        type=click.Path(file_okay=False, path_type=Path),
        default=Path("framelet-replays"),
        show_default=True,
        help="The folder for the replay files of failures.",
        group="Reports",
    ),
    _file("--replay-file", "Append all replays to this one file instead."),
    option(
        "--replay",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        metavar="FILE",
        help="Play the replays in FILE instead of the cases; --only selects some of them.",
        group="Reports",
    ),
    option("--quiet", "-q", is_flag=True, help="Print the summary only.", group="Reports"),
]


def shared(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that both sub-commands have."""
    for add in reversed(_SHARED):
        command = add(command)
    return command


@dataclasses.dataclass(frozen=True, slots=True)
class ReportOptions:
    """What a run shall print and write."""

    list_only: bool
    as_json: bool
    report_html: Path | None
    report_json: Path | None
    junit: Path | None
    replay: Path | None
    quiet: bool


def split(values: dict[str, Any]) -> tuple[dict[str, Any], ReportOptions]:
    """Part the values of the shared options: what makes ``RunOptions``, and the ``ReportOptions``."""
    values = dict(values)
    output = ReportOptions(
        **{field.name: values.pop(field.name) for field in dataclasses.fields(ReportOptions)}
    )
    for name in ("only", "exclude", "expect_fail"):
        values[name] = tuple(_patterns(values[name], "--" + name.replace("_", "-")))
    values["times"] = Times(values.pop("time_scale"))
    values["replay_folder"] = values.pop("replay_dir")
    return values, output


def _patterns(given: tuple[str, ...], option: str) -> list[str]:
    """The patterns of an option; ``@FILE`` stands for the lines of a file, ``#`` begins a comment."""
    found = []
    for text in given:
        if not text.startswith("@"):
            found.append(text)
            continue
        lines = _read(Path(text[1:]), f"{option} cannot read").splitlines()
        found += [word for line in lines if (word := line.partition("#")[0].strip())]
    return found


def _read(path: Path, what: str) -> str:
    """The text of a file; raises click.UsageError."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8"
        message = f"{what} {path}: {reason}"
        raise click.UsageError(message) from None


def read_address(text: str) -> tuple[str, int] | str:
    """HOST:PORT or unix:PATH, as the sockets take it."""
    try:
        address = parse_address(text)
    except AddressError as error:
        raise click.UsageError(str(error)) from None
    if isinstance(address, TlsAddress):
        message = f"{text!r} speaks TLS, which this suite does not: test without TLS, or behind a relay"
        raise click.UsageError(message)
    return (address.host, address.port) if isinstance(address, TcpAddress) else address.path


def read_token(path: Path | None) -> str | None:
    """The STOP token of the target."""
    if path is None:
        return None
    token = _read(path, "cannot read the token from").rstrip("\r\n")
    if not token:
        message = f"the token file {path} is empty"
        raise click.UsageError(message)
    return token
