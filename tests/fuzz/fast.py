"""Many inputs in little time, without atheris and without the grammar: only the models judge.

    python -m tests.fuzz.fast {codec,server,client} [--inputs N] [--seed N]

Each input is a kept one, or a vector's, changed in a few places at random.  One that fails is printed; it is
a test once it is a file in the corpus.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from typing import TYPE_CHECKING, Any

from . import client_check, codec_check, inputs, server_check

if TYPE_CHECKING:
    from collections.abc import Iterator

TARGETS: dict[str, Any] = {"codec": codec_check, "server": server_check, "client": client_check}
KINDS = bytes([0x00, 0x80, 0xC0, *range(1, 9)])


def plain_frames_of(stream: bytes) -> Iterator[inputs.Found]:
    """As ``inputs.frames_of``, by the layout that the specification has in words."""
    start = 0
    while len(stream) - start >= 5:
        length = int.from_bytes(stream[start + 1 : start + 5])
        end = start + 5 + length
        yield inputs.Found(
            start, stream[start], length, stream[start + 5 : end] if end <= len(stream) else None
        )
        if end > len(stream):
            return
        start = end


def changed(data: bytes, others: list[bytes], dice: random.Random) -> bytes:
    """An input with a few octets replaced, taken out or put in, or a part of another one behind it."""
    made = bytearray(data)
    for _ in range(dice.randrange(1, 5)):
        place, what = dice.randrange(len(made) + 1), dice.random()
        if what < 0.5:
            made[place : place + 1] = bytes([dice.choice(KINDS) if what < 0.2 else dice.randrange(256)])
        elif what < 0.65:
            del made[place : place + dice.randrange(1, 9)]
        elif what < 0.85:
            made[place:place] = dice.randbytes(dice.randrange(1, 9))
        else:
            made += dice.choice(others)[: dice.randrange(64)]
    return bytes(made)


def main() -> int:
    """Try inputs until one fails or all were tried."""
    parser = argparse.ArgumentParser(description="Try many random inputs.")
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--inputs", type=int, default=10_000_000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    inputs.frames_of = plain_frames_of
    check, dice = TARGETS[given.target].check, random.Random(given.seed)  # noqa: S311 - a search
    known = [data for data in [*inputs.kept(given.target), *TARGETS[given.target].seeds()] if len(data) < 400]
    began = time.monotonic()
    for number in range(1, given.inputs + 1):
        data = changed(dice.choice(known), known, dice)
        try:
            check(data)
        except BaseException:
            print(f"{given.target}: input {number} fails: {data.hex()}", file=sys.stderr)
            raise
        if number % 100_000 == 0:
            print(
                f"{given.target}: {number:,} inputs, {number / (time.monotonic() - began):,.0f} a second",
                flush=True,
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
