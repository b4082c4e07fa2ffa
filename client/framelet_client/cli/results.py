"""The output of a command: lines for people, or with ``--json`` one JSON object on each line for programs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from .terminal import Output, complain
from .valued import option

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from framelet import HelloReceived, StoppedReceived

JSON = "--json"

json_option: Callable[[Callable[..., Any]], Callable[..., Any]] = option(
    JSON, "as_json", is_flag=True, help="Print one JSON object on each line, errors included.", group="Output"
)


class Results:
    """Standard output, in one of the two forms.

    Each object has its kind in ``event``.  It is ASCII, so that no text of a server can control a terminal.
    """

    def __init__(self, *, as_json: bool) -> None:
        """Raise OutputError if standard output is closed."""
        self.output: Output = Output()
        self.as_json = as_json

    def show(
        self, event: str, lines: Iterable[str], fields: Mapping[str, object], *, end: str = "\n"
    ) -> None:
        """Write the lines, each with its end, or the object; raises OutputError."""
        if self.as_json:
            self.output.write_lines([json.dumps({"event": event, **fields})])
        else:
            self.output.write_lines(lines, end)

    def fail(
        self,
        lines: Iterable[str],
        fields: Mapping[str, object],
        say: Callable[[str], None] = complain,
    ) -> None:
        """Say what went wrong: the lines to standard error, or the object to standard output."""
        if self.as_json:
            self.show("error", (), fields)
        else:
            for line in lines:
                say(line)

    def show_hello(self, hello: HelloReceived) -> None:
        """The version and limits of a server."""
        lines = [f"version: {hello.version}"]
        lines += [f"{key}: {value}" for key, value in hello.parameters.items()]
        self.show("hello", lines, {"version": hello.version, "parameters": hello.parameters})

    def show_stopped(self, stopped: StoppedReceived) -> None:
        """How a server ended."""
        closed = f"{stopped.closed} other connection{'' if stopped.closed == 1 else 's'} closed in order"
        line = f"stopped: {closed}, {stopped.cut} cut off"
        self.show("stopped", [line], {"closed": stopped.closed, "cut": stopped.cut})
