"""All rows, in the order in which they are measured and shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .clients import CLIENT_ROWS
from .codec import CODEC_ROWS
from .commands import COMMAND_ROWS
from .crowd import CROWD_ROWS
from .servers import SERVER_ROWS

if TYPE_CHECKING:
    from benchmarks.suite import Row

ROWS: dict[str, Row] = {
    row.name: row for row in (*SERVER_ROWS, *CROWD_ROWS, *CLIENT_ROWS, *COMMAND_ROWS, *CODEC_ROWS)
}

QUICK = (
    "ping-pong-1",
    "ping-pong-64",
    "pipelined-1",
    "ascii-1m",
    "mixed-1m",
    "clients-ping-pong",
    "clients-pipelined",
    "import",
    "send",
)
"""What ``make bench-quick`` measures."""
