"""What the C library keeps of memory that was freed: a budget is worth little where twice as much stays.

glibc learns to serve ever larger blocks from its heap, which is fast, and gives back only what is free at the
top of that.  Large texts of many lengths leave holes in it that add up to more than all that is in use.
Elsewhere these functions do nothing.
"""

from __future__ import annotations

import contextlib

_MMAP_THRESHOLD = -3  # M_MMAP_THRESHOLD of mallopt(3)

_SEPARATE = 131_072
"""Octets from which a block is given back when it is freed, while memory is short: what glibc begins with."""

_LEARNED = 33_554_432
"""Octets to which glibc raises that by itself, where large blocks come and go."""


def tighten() -> None:
    """Give back what is free, and from now on each large block when it is freed."""
    with contextlib.suppress(ImportError, AttributeError, OSError):
        import ctypes  # noqa: PLC0415 - seldom needed, and missing in some builds

        library = ctypes.CDLL(None)
        library.mallopt(_MMAP_THRESHOLD, _SEPARATE)
        library.malloc_trim(0)


def relax() -> None:
    """Be fast again."""
    with contextlib.suppress(ImportError, AttributeError, OSError):
        import ctypes  # noqa: PLC0415 - as above

        ctypes.CDLL(None).mallopt(_MMAP_THRESHOLD, _LEARNED)
