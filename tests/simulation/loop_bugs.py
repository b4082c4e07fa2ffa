"""The bugs that are planted in the server of asyncio, some of them in modules that it shares."""

from __future__ import annotations

from .planting import Bug

LOOP_BUGS = [
    Bug(
        "the loop leaves clients to workers that are not there",
        "asyncio",
        "worker.calls.watched, worker.calls.let_others_in = True, _nobody",
        "worker.calls.watched = True",
    ),
    Bug(
        "the loop goes on to watch a poller that is closed",
        "asyncio",
        "        self._loop.remove_reader(self._descriptor)\n        parts.context.poller.release()",
        "        parts.context.poller.release()",
    ),
    Bug(
        "the poller is not closed at the end",
        "asyncio",
        "            on_end()\n            if",
        "            if",
    ),
    Bug(
        "a timer that is cancelled stays with the loop",
        "asyncio",
        "            handle.cancel()",
        "            self.handles[self] = handle",
    ),
    Bug(
        "a timer that has fired is kept",
        "asyncio",
        "        self.handles.pop(self, None)\n        super().fire()",
        "        super().fire()",
    ),
    Bug(
        "timers go on after the end",
        "asyncio",
        "self._handles.popitem()[1].cancel()",
        "self._handles.popitem()",
    ),
    Bug(
        "calls go on for a client that is gone",
        "connection.replies",
        "            answer.future.cancel()\n",
        "",
    ),
    Bug(
        "a client has more calls under way than it may",
        "connection.event_turn",
        "return replies.has_room and not short and few",
        "return not short",
    ),
    Bug(
        "an answer that ends later wakes nobody",
        "connection.replies",
        "            on_done()",
        "            pass",
    ),
]
