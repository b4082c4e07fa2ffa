"""The command ``framelet-conformance``."""

from __future__ import annotations

import functools
import json
import os
import shlex
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from framelet.address import without_password
from framelet_conformance.options import RunOptions
from framelet_conformance.play import Case
from framelet_conformance.replay import Replay
from framelet_conformance.reports.terminal import Terminal
from framelet_conformance.results import Results
from framelet_conformance.running.attempts import attempt
from framelet_conformance.running.collection import collect
from framelet_conformance.running.run import run_cases
from framelet_conformance.running.selection import SelectionError, select
from framelet_conformance.specification import read_requirements
from framelet_conformance.targets.launch import places
from framelet_conformance.verdicts import CaseEnded

from .options import ReportOptions, read_address, read_token, shared, split
from .valued import GroupedCommand, option

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from framelet_conformance.targets.under_test import UnderTest


@click.group(
    "framelet-conformance",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(
    None, "-V", "--version", package_name="framelet", message="framelet-conformance %(version)s"
)
def command() -> None:
    """Test whether a Framelet server or client conforms to the specification.

    Exit status: 0 it conforms; 1 it does not, or a case that was expected to fail passed; 2 wrong usage, or
    no case is selected; 3 it cannot be reached, or failed a plain conversation.
    """


@command.command(cls=GroupedCommand, short_help="Test a server.")
@click.argument("address", metavar="[HOST:PORT]", required=False)
@option(
    "--launch",
    metavar="COMMAND",
    help="Start servers with this command.  {port} stands for the port; further placeholders, in brackets "
    "as in '[--max-body {max_body}]', let the suite set a server up: max_body, frame_timeout, idle_timeout, "
    "linger_timeout, write_timeout, drain_timeout (seconds), max_connections, stop (local, token, off), "
    "stop_token, stop_token_file (the token is also in FRAMELET_STOP_TOKEN), application (reverse).",
)
@option(
    "--stop",
    "stop_policy",
    type=click.Choice(["local", "token", "off"]),
    help="The STOP policy of the server at HOST:PORT.  [default: not stated]",
)
@option(
    "--stop-token-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="The token of the server at HOST:PORT; implies --stop token.",
)
@option("--allow-stop", is_flag=True, help="The server at HOST:PORT may be stopped, as the last case.")
@shared
def server(
    *,
    address: str | None,
    launch: str | None,  # noqa: A002, RUF100 - the option's name
    stop_policy: str | None,
    stop_token_file: Path | None,
    allow_stop: bool,
    **values: Any,  # noqa: ANN401 - the shared options
) -> int:
    """Test a server: the one at HOST:PORT (or unix:PATH), or servers started with --launch."""
    values, output = split(values)
    if address is None and launch is None and not output.list_only:
        raise click.UsageError("say which server: HOST:PORT, or --launch COMMAND")
    _check_template(launch, "port")
    token = read_token(stop_token_file)
    options = RunOptions(
        role="server",
        address=read_address(address) if address is not None else None,
        launch=launch,
        stop_policy="token" if token is not None else stop_policy,
        stop_token=token,
        allow_stop=allow_stop,
        command=_command_line(),
        **values,
    )

    def make_target() -> UnderTest:
        from framelet_conformance.targets.servers import Servers  # noqa: PLC0415 - the other role does without

        return Servers(options)

    return run(options, output, make_target, address or launch or "")


@command.command(cls=GroupedCommand, short_help="Test a client through its adapter.")
@option(
    "--launch",
    metavar="COMMAND",
    help="The adapter of the client; {host} and {port} stand for the address that it connects to.",
)
@shared
def client(*, launch: str | None, **values: Any) -> int:  # noqa: ANN401 - the shared options
    """Test a client through its adapter (see ADAPTER.md)."""
    values, output = split(values)
    if launch is None and not output.list_only:
        raise click.UsageError("say which client: --launch COMMAND, the command of its adapter (ADAPTER.md)")
    _check_template(launch, "port")
    options = RunOptions(role="client", launch=launch, command=_command_line(), **values)

    def make_target() -> UnderTest:
        from framelet_conformance.targets.adapter import Adapter  # noqa: PLC0415 - the other role does without

        return Adapter(options)

    return run(options, output, make_target, launch or "")


def _check_template(template: str | None, needed: str) -> None:
    if template is None:
        return
    if needed not in places(template):
        message = f"the --launch command has no {{{needed}}}: {template}"
        raise click.UsageError(message)
    try:
        shlex.split(template)
    except ValueError as error:
        message = f"cannot read the --launch command: {error}: {template}"
        raise click.UsageError(message) from None


def _command_line() -> str:
    return shlex.join(["framelet-conformance", *sys.argv[1:]])


def run(options: RunOptions, output: ReportOptions, make_target: Callable[[], UnderTest], name: str) -> int:
    """Run or list the cases of a role; the exit status."""
    results = Results(options.role, name, options.command, strict=options.strict, started=time.time())
    terminal = Terminal(quiet=output.quiet)
    try:
        if output.list_only:
            _print_list(collect(options), as_json=output.as_json)
            return 0
        if output.replay is not None:
            return _replay(output.replay, options, make_target, results, terminal)
        began = time.monotonic()
        run_cases(options, make_target, results, terminal)
    except SelectionError as error:
        raise click.UsageError(str(error)) from None
    finally:
        terminal.close()
    results.duration = time.monotonic() - began
    terminal.summary(results)
    _write_reports(results, output)
    return results.exit_code


def _replay(
    path: Path,
    options: RunOptions,
    make_target: Callable[[], UnderTest],
    results: Results,
    terminal: Terminal,
) -> int:
    """Play a file of replays, and show what was said; 0 where the peer now does what is expected."""
    try:
        replays = {each.case: each for each in Replay.load(path)}  # of a case the last one
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    title = f"replay of {path}"
    cases = [
        Case(name, title, tuple(each.requirements), alone=True, stops=False, reruns=0, slow=False)
        for name, each in replays.items()
    ]
    chosen, _ = select(cases, options)
    for which in chosen:
        if (role := replays[which.id].role) != options.role:
            message = f"{path} is a replay for a {role}"
            raise click.UsageError(message)
    try:
        target = make_target()
    except CaseEnded as error:
        results.trouble = error.reason
        terminal.summary(results)
        return results.exit_code
    try:
        for which in chosen:
            replay = functools.partial(target.replay, replay=replays[which.id])
            result, _ = attempt(which, options, target, replay)
            results.add(result)
            terminal.wire(result)
            terminal.case(result)
    finally:
        target.close()
    terminal.summary(results)
    return results.exit_code


def _print_list(cases: list[Case], *, as_json: bool) -> None:
    if as_json:
        rows = [
            {"id": which.id, "title": which.title, "requirements": list(which.requirements)}
            for which in cases
        ]
        click.echo(json.dumps(rows, indent=1, ensure_ascii=False))
        return
    for which in cases:
        click.echo(f"{which.id}\n    {which.title}\n    {' '.join(which.requirements)}")
    click.echo(f"{len(cases)} cases")


def _write_reports(results: Results, output: ReportOptions) -> None:
    from framelet_conformance.reports import html_report, json_report, junit_report  # noqa: PLC0415 - on demand

    requirements = read_requirements()
    for path, write in (
        (output.report_html, html_report.write),
        (output.report_json, json_report.write),
        (output.junit, junit_report.write),
    ):
        if path is None:
            continue
        try:
            write(results, requirements, path)
        except OSError as error:
            message = f"cannot write {path}: {error.strerror}"
            raise click.ClickException(message) from None


_ENDING = (signal.SIGTERM, signal.SIGHUP)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; its exit status."""
    ended: list[int] = []

    def end(number: int, _: object) -> None:
        # What was launched is ended first, as at Ctrl-C, and by one signal however many come.
        for each in _ENDING:
            signal.signal(each, signal.SIG_IGN)
        ended.append(number)
        raise KeyboardInterrupt

    before = {number: signal.signal(number, end) for number in _ENDING}
    try:
        return _main(arguments)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if ended:
            os.kill(os.getpid(), ended[0])


def _main(arguments: Sequence[str] | None) -> int:
    try:
        return int(command.main(arguments, prog_name="framelet-conformance", standalone_mode=False) or 0)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return 2
    except click.ClickException as error:
        text = without_password(" ".join(error.format_message().split()).rstrip("."))
        if "No such command" in text:
            text += ": expected server or client, as in framelet-conformance server HOST:PORT"
        elif "unexpected extra argument" in text:
            text += ": HOST:PORT is one argument"
        print(f"framelet-conformance: error: {text} (see --help)", file=sys.stderr)
        return 2
    except (click.Abort, KeyboardInterrupt):
        return 130
