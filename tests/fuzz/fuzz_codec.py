"""Fuzz the decoder: ``python -m tests.fuzz.fuzz_codec [option or file ...]``."""

from __future__ import annotations

import sys

from .fuzzer import fuzz, instrument

with instrument(include=["framelet"]):
    from . import codec_check

if __name__ == "__main__":
    fuzz("codec", codec_check.check, codec_check.seeds, sys.argv[1:])
