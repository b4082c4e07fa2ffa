"""Whose turn it is on a connection that one call at a time may use."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType


class Turns:
    """Held by at most one call at a time; a second call is refused, it does not wait.

    An exception can come between any two instructions, from a signal's handler or a debugger.  A call that
    took a lock could not tell afterwards whether it has it.  So the holder itself is kept, and is taken and
    asked for in one step each.
    """

    __slots__ = ("_held",)

    def __init__(self) -> None:
        """Begin with no holder."""
        self._held: dict[str, object] = {}  # its operations are atomic, with or without the GIL

    def take(self, call: object) -> bool:
        """Have ``call`` hold the turn if no other does; whether it holds it now."""
        return self._held.setdefault("by", call) is call

    def held_by(self, call: object) -> bool:
        """Whether ``call`` holds the turn."""
        return self._held.get("by") is call

    def give_back(self, call: object) -> None:
        """End the turn of ``call``, if it has one."""
        if self.held_by(call):
            del self._held["by"]


class Call:
    """One call on a connection, to be entered twice: ``with call, call:``.

    An exception may interrupt the first exit; then the second one ends the turn.
    """

    __slots__ = ("_leave",)

    def __init__(self, leave: Callable[[Call, BaseException | None], None]) -> None:
        """Have ``leave`` called at each exit, with the exception that ends the call."""
        self._leave = leave

    def __enter__(self) -> None:
        """Nothing yet: the turn is taken inside, where its end is certain."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave."""
        self._leave(self, error)
