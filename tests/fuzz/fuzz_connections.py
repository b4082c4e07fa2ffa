"""Fuzz a connection: ``python -m tests.fuzz.fuzz_connections server|client [option or file ...]``."""

from __future__ import annotations

import sys

from .fuzzer import fuzz, instrument

with instrument(include=["framelet"]):
    from . import client_check, server_check

ROLES = {"server": server_check, "client": client_check}

if __name__ == "__main__":
    if sys.argv[1:2] not in (["server"], ["client"]):
        sys.exit("usage: python -m tests.fuzz.fuzz_connections server|client [libFuzzer option or file ...]")
    target = ROLES[sys.argv[1]]
    fuzz(sys.argv[1], target.check, target.seeds, sys.argv[2:])
