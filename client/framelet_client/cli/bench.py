"""``framelet bench``: its options, and the exit code of each outcome.  Needs click."""

from __future__ import annotations

import contextlib
import functools
import os
import resource
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from framelet.errors import importing_extra
from framelet_client.exit_codes import ExitCode

from .progress import BenchProgress
from .target import LIMITS, NumberRange, Target, limit_range, seconds, usage_error, with_server
from .terminal import complain
from .valued import GroupedCommand, option

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from framelet_client.bench.plan import Plan
    from framelet_client.bench.stats import LoadStats

_WINDOW = LIMITS["window"]
_WARMUP = 1.0
_DURATION = 10.0
_INTERVAL, _MOST_INTERVALS = 1.0, 1_000
_LONGEST = 31_536_000.0
_SPARE_DESCRIPTORS = 64
_EPILOG = """\b
Examples:
  framelet bench                                  one request at a time, for 10 seconds
  framelet bench 10.0.0.7 --connections 64 --window 16 --size 16,64,1024
  framelet bench 10.0.0.7 --rate 5000 --connections 8 --duration 60 --plot latency.svg
  framelet bench unix:/run/framelet.sock --count 100000 --expect echo --json
"""


@click.command(cls=GroupedCommand, epilog=_EPILOG, short_help="Measure throughput and latency.")
@functools.partial(with_server, own={"window"})
@option(
    "--connections",
    type=click.IntRange(1, 1_000_000),
    default=1,
    metavar="NUMBER",
    show_default=True,
    help="Connections.",
)
@option(
    "--window",
    type=limit_range(_WINDOW),
    metavar="FRAMES",
    help="Requests in flight on each connection, or with --rate at most that many.  "
    f"[default: 1; {_WINDOW.default} with --rate]",
)
@option(
    "--rate",
    type=NumberRange(0.001, 10_000_000),
    metavar="NUMBER",
    help="Requests to send a second, in all and on schedule (open loop).  [default: closed loop]",
)
@option(
    "--size", default="64", metavar="OCTETS[,...]", show_default=True, help="Sizes of the texts, in turn."
)
@option(
    "--text",
    type=click.Choice(["ascii", "mixed"]),
    default="ascii",
    show_default=True,
    help="Characters of the texts; mixed: one to four octets each.",
)
@option(
    "--expect",
    type=click.Choice(["reverse", "echo", "any"]),
    default="reverse",
    show_default=True,
    help="What each reply must be; any: replies are not compared.",
)
@option(
    "--duration",
    type=seconds(0.001, _LONGEST),
    metavar="SECONDS",
    help=f"Time to measure.  [default: {_DURATION:g}]",
)
@option(
    "--count",
    type=click.IntRange(min=1),
    metavar="NUMBER",
    help="Requests to measure, instead of --duration.",
)
@option(
    "--warmup",
    type=seconds(0, _LONGEST),
    metavar="SECONDS",
    help=f"Time before the measurement, under the same load.  [default: {_WARMUP:g}; 0 with --count]",
)
@option(
    "--processes",
    type=click.IntRange(1, 1_024),
    default=1,
    metavar="NUMBER",
    show_default=True,
    help="Processes that share the connections.",
)
@option(
    "--csv",
    "sheet",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write a row for each second: requests answered, and latency in seconds.",
)
@option(
    "--plot",
    "picture",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Draw latency by percentile, as SVG, PNG or PDF.",
)
def bench(target: Target, *, sheet: Path | None, picture: Path | None, **options: Any) -> ExitCode:  # noqa: ANN401 - by click
    """Measure the throughput and latency of the server at HOST and PORT.

    Each of the connections keeps WINDOW requests in flight, or sends its share of RATE.  With a rate,
    latency is measured from the time at which a request was due.  Every reply is compared.  Ctrl-C and
    SIGTERM end the measurement and report what there is.
    """
    plan = _plan(target, **options)
    if picture is not None:
        _check_picture(picture)
    _check_writable("--csv", sheet)
    _allow_descriptors(plan.connections)
    stats = _measure(target, plan)
    if stats is None:
        return ExitCode.PARTIAL
    return _report(target, plan, stats, sheet, picture)


def _plan(  # noqa: PLR0913 - each keyword is one option
    target: Target,
    *,
    window: int | None,
    rate: float | None,
    size: str,
    duration: float | None,
    count: int | None,
    warmup: float | None,
    connections: int,
    processes: int,
    **rest: str,
) -> Plan:
    """Check what the command line says about the measurement."""
    from framelet_client.bench.plan import Plan, parse_sizes  # noqa: PLC0415 - other commands do not wait for it

    if duration is not None and count is not None:
        raise usage_error("--duration cannot be combined with --count")
    if processes > connections:
        message = f"--processes {processes} is more than --connections {connections}: each needs one"
        raise usage_error(message)
    try:
        sizes = parse_sizes(size)
    except ValueError as error:
        message = f"--size {error}"
        raise usage_error(message) from None
    if max(sizes) > target.limits.max_body:
        message = f"--size {max(sizes)} is more than --max-body {target.limits.max_body}"
        raise usage_error(message)
    return Plan(
        host=target.host,
        port=target.port,
        limits=target.limits,
        tls=target.tls_options,
        connections=connections,
        window=window or (1 if rate is None else int(_WINDOW.default)),
        rate=rate,
        sizes=sizes,
        duration=(duration or _DURATION) if count is None else None,
        count=count,
        interval=max(_INTERVAL, (duration or 0.0) / _MOST_INTERVALS),
        warmup=(_WARMUP if count is None else 0.0) if warmup is None else warmup,
        processes=processes,
        connection=target.connection,
        **rest,
    )


def _measure(target: Target, plan: Plan) -> LoadStats | None:
    """Measure, and show the progress."""
    from framelet_client.bench.run import ProcessDiedError, measure  # noqa: PLC0415 - other commands do not wait for it

    with contextlib.closing(BenchProgress(plan)) as progress:
        try:
            return measure(plan, progress)
        except ProcessDiedError as error:
            target.results.fail([f"framelet: error: {error}"], {"message": str(error)})
            return None


def _report(
    target: Target, plan: Plan, stats: LoadStats, sheet: Path | None, picture: Path | None
) -> ExitCode:
    """Report the results in every form that is asked for, and end by SIGTERM if that has come."""
    from framelet_client.bench import report as bench_report  # noqa: PLC0415 - other commands do not wait for it

    address = str(target.address)
    lines = bench_report.table(address, plan, stats)
    target.results.show("report", lines, bench_report.record(address, plan, stats))
    for line in bench_report.complaints(plan, stats):
        complain(f"framelet: {line}")
    failed = False
    for file, write in _files(address, sheet, picture):
        try:
            write(file, plan, stats)
        except OSError as error:
            failed = True
            words = f"{file} cannot be written: {error.strerror}"
            target.results.fail([f"framelet: error: {words}"], {"message": words})
    if stats.interrupted == signal.SIGTERM:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.raise_signal(signal.SIGTERM)
    return ExitCode.PARTIAL if failed else bench_report.exit_code_of(stats)


def _files(
    address: str, sheet: Path | None, picture: Path | None
) -> Iterator[tuple[Path, Callable[[Path, Plan, LoadStats], None]]]:
    """The files that are asked for, each with what writes it."""
    if sheet is not None:
        from framelet_client.bench.report import write_csv  # noqa: PLC0415 - other commands do not wait for it

        yield sheet, write_csv
    if picture is not None:
        from framelet_client.bench.plot import plot  # noqa: PLC0415 - needs matplotlib

        yield picture, functools.partial(plot, address)


def _check_picture(file: Path) -> None:
    """Refuse a picture that cannot be drawn, before a measurement that may take an hour."""
    with importing_extra("plot", "matplotlib", "--plot needs"):
        from framelet_client.bench.plot import formats  # noqa: PLC0415 - needs matplotlib

    if file.suffix.removeprefix(".").lower() not in formats():
        message = f"--plot: unsupported extension {file.suffix!r}: expected one of {', '.join(formats())}"
        raise usage_error(message)
    _check_writable("--plot", file)


def _check_writable(name: str, file: Path | None) -> None:
    """Refuse a file that cannot be written, before the measurement."""
    if file and not os.access(file if file.exists() else file.parent, os.W_OK):
        message = f"{name} {file} cannot be written"
        raise usage_error(message)


def _allow_descriptors(connections: int) -> None:
    """Raise the limit of descriptors as far as needed; refuse if the system does not allow that."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + _SPARE_DESCRIPTORS
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    if hard != resource.RLIM_INFINITY and hard < wanted:
        message = f"--connections {connections} needs {wanted} descriptors, {hard} are allowed: see ulimit -n"
        raise usage_error(message)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
