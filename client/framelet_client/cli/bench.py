"""``framelet bench``: its options, and the exit code of each outcome.  Needs click."""

from __future__ import annotations

import contextlib
import functools
import os
import resource
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from framelet import parse_address
from framelet.errors import importing_extra
from framelet_client.exit_codes import ExitCode
from framelet_client.tls import ClientTls

from .target import LIMITS, NumberRange, Target, limit_range, usage_error, with_server
from .terminal import Output, complain
from .valued import option

if TYPE_CHECKING:
    from framelet_client.bench.plan import Plan
    from framelet_client.bench.stats import LoadStats

_WINDOW = LIMITS["window"]
_WARMUP = 1.0
_DURATION = 10.0
_LONGEST = 31_536_000.0
_SPARE_DESCRIPTORS = 64
_EPILOG = """\b
Examples:
  framelet bench                                  one request at a time, for 10 seconds
  framelet bench 10.0.0.7 --connections 64 --window 16 --size 16,64,1024
  framelet bench 10.0.0.7 --rate 5000 --connections 8 --duration 60 --plot latency.svg
  framelet bench unix:/run/framelet.sock --count 100000 --expect echo --json
"""


@click.command(epilog=_EPILOG)
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
    help="Requests in flight on each connection; with --rate the most there may be.  "
    f"[default: 1; {_WINDOW.default} with --rate]",
)
@option(
    "--rate",
    type=NumberRange(0.001, 10_000_000),
    metavar="NUMBER",
    help="Send so many requests a second in all, on schedule (open loop).  [default: as replies come]",
)
@option(
    "--size", default="64", metavar="OCTETS[,...]", show_default=True, help="Sizes of the texts, in turn."
)
@option(
    "--text",
    type=click.Choice(["ascii", "mixed"]),
    default="ascii",
    show_default=True,
    help="Characters of the texts; mixed: of one to four octets.",
)
@option(
    "--expect",
    type=click.Choice(["reverse", "echo", "any"]),
    default="reverse",
    show_default=True,
    help="What each reply has to be; any: replies are not compared.",
)
@option(
    "--duration",
    type=NumberRange(0.001, _LONGEST),
    metavar="SECONDS",
    help=f"Time to measure.  [default: {_DURATION:g}]",
)
@option(
    "--count",
    type=click.IntRange(min=1),
    metavar="NUMBER",
    help="Requests to measure, in the place of --duration.",
)
@option(
    "--warmup",
    type=NumberRange(0, _LONGEST),
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
@option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@option(
    "--plot",
    "picture",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Draw latency by percentile, as SVG, PNG or PDF.",
)
def bench(target: Target, *, as_json: bool, picture: Path | None, **options: Any) -> ExitCode:  # noqa: ANN401 - by click
    """Measure the throughput and latency of the server at HOST and PORT.

    Each of the connections keeps WINDOW requests in flight, or sends its share of RATE.  With a rate,
    latency is measured from the time at which a request was due.  Every reply is compared.  Ctrl-C ends
    the measurement and reports what there is.
    """
    with importing_extra("bench-cli", "hdrh", "bench needs"):
        import hdrh  # noqa: F401, PLC0415 - only to refuse before anything else if it is missing
    plan = _plan(target, **options)
    if picture is not None:
        _check_picture(picture)
    output = Output()
    _allow_descriptors(plan.connections)
    address, stats = _measure(plan)
    if stats is None:
        return ExitCode.PARTIAL
    return _report(address, plan, stats, output, as_json=as_json, picture=picture)


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
        raise usage_error("--duration and --count exclude each other")
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
        warmup=(_WARMUP if count is None else 0.0) if warmup is None else warmup,
        processes=processes,
        **rest,
    )


def _measure(plan: Plan) -> tuple[str, LoadStats | None]:
    """Measure, and show the progress: the address as the server prints it, and the results."""
    from framelet_client.bench.run import ProcessDiedError, measure  # noqa: PLC0415 - other commands do not wait for it
    from framelet_client.net.transport import secured  # noqa: PLC0415 - see above

    from .bench_progress import BenchProgress  # noqa: PLC0415 - see above

    tls = None if plan.tls is None else ClientTls(**plan.tls)
    address, _ = secured(parse_address(plan.host, plan.port), tls)
    with contextlib.closing(BenchProgress(plan)) as progress:
        try:
            return str(address), measure(plan, progress)
        except ProcessDiedError as error:
            complain(f"framelet: error: {error}")
            return str(address), None


def _report(  # noqa: PLR0913 - what was measured, and where to say it
    address: str, plan: Plan, stats: LoadStats, output: Output, *, as_json: bool, picture: Path | None
) -> ExitCode:
    """Report the results in every form that is asked for."""
    from framelet_client.bench import report as bench_report  # noqa: PLC0415 - other commands do not wait for it

    if as_json:
        output.write_lines([bench_report.as_json(address, plan, stats)])
    else:
        output.write_lines(bench_report.table(address, plan, stats))
    for line in bench_report.complaints(plan, stats):
        complain(f"framelet: {line}")
    if picture is not None:
        from framelet_client.bench.plot import plot  # noqa: PLC0415 - needs matplotlib

        try:
            plot(picture, address, plan, stats)
        except OSError as error:
            complain(f"framelet: error: {picture} cannot be written: {error.strerror}")
            return ExitCode.PARTIAL
    return bench_report.exit_code_of(stats)


def _check_picture(file: Path) -> None:
    """Refuse a picture that cannot be drawn before the measurement, which may take an hour."""
    with importing_extra("plot", "matplotlib", "--plot needs"):
        from framelet_client.bench.plot import formats  # noqa: PLC0415 - needs matplotlib

    if file.suffix.removeprefix(".").lower() not in formats():
        message = f"--plot {file} does not end as a picture does: expected one of {', '.join(formats())}"
        raise usage_error(message)
    if not (os.access(file, os.W_OK) if file.exists() else os.access(file.parent, os.W_OK)):
        message = f"--plot {file} cannot be written"
        raise usage_error(message)


def _allow_descriptors(connections: int) -> None:
    """Raise the limit of descriptors as far as needed; refuse if the system does not allow that."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + _SPARE_DESCRIPTORS
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    if hard != resource.RLIM_INFINITY and hard < wanted:
        message = f"--connections {connections} are more than the system's {hard} descriptors: see ulimit -n"
        raise usage_error(message)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
