"""``python -m framelet`` is the command ``framelet``; also how every command begins, and ends by Ctrl-C."""

from __future__ import annotations

import os
import runpy
import signal

_STANDARD_ERROR = 2


def open_standard_descriptors() -> None:
    """Open /dev/null as each standard descriptor that is closed: the next socket would be taken for it."""
    while (number := os.open(os.devnull, os.O_RDWR)) <= _STANDARD_ERROR:
        os.set_inheritable(number, True)  # noqa: FBT003 - the function takes nothing else
    os.close(number)


def end_by_interrupt() -> None:
    """End by SIGINT: a shell goes on with its loop after any status that a program chooses."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGINT)


if __name__ == "__main__":
    runpy.run_module("framelet_client", run_name="__main__", alter_sys=True)
