"""Lets a task of an asyncio loop go on where its answer is read, and not in a further pass of the loop.

A pass costs about as much as to read the answer: a system call, and a dozen calls of Python.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio


def answer_and_wake(future: asyncio.Future[Any], answer: object) -> None:
    """Set the result of a future, and let the task that alone awaits it go on; call it outside of any task.

    Raises what the task raises past its loop, as KeyboardInterrupt.  After any other interruption either the
    future is not done, and the task awaits it still, or the loop wakes the task.
    """
    callbacks: Any = future._callbacks or ()  # noqa: SLF001 - asyncio has no public name for it
    wake: Any
    context: Any
    wake, context = callbacks[0] if len(callbacks) == 1 else (None, None)
    task: Any = getattr(wake, "__self__", None)
    if task is None or getattr(task, "_fut_waiter", None) is not future:  # no task awaits it, or not yet
        future.set_result(answer)
        return
    try:
        future.remove_done_callback(wake)
        future.set_result(answer)
        context.run(wake, future)
    except BaseException:
        if not future.done():
            future.remove_done_callback(wake)
            future.add_done_callback(wake, context=context)
        elif getattr(task, "_fut_waiter", None) is future:  # it has not gone on
            future.get_loop().call_soon(wake, future, context=context)
        raise
