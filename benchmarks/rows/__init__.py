"""All rows, in the order in which they are measured and shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .clients import CLIENT_ROWS
from .codec import CODEC_ROWS
from .commands import COMMAND_ROWS
from .costs import COST_ROWS
from .quiet import QUIET_ROWS
from .servers import SERVER_ROWS
from .variants import VARIANT_ROWS

if TYPE_CHECKING:
    from benchmarks.suite import Row

ROWS: dict[str, Row] = {
    row.name: row
    for row in (
        *SERVER_ROWS,
        *QUIET_ROWS,
        *COST_ROWS,
        *VARIANT_ROWS,
        *CLIENT_ROWS,
        *COMMAND_ROWS,
        *CODEC_ROWS,
    )
}

QUICK = (
    "ping-pong-64",
    "ping-pong-64-own",
    "pipelined-1",
    "pipelined-1-own",
    "mixed-1m",
    "churn-own",
    "size-16384-own",
    "calls",
    "clients-ping-pong-own",
    "import",
    "send",
)
"""What ``make bench-quick`` measures."""
