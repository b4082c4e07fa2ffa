"""What a handler may know of the call that it answers, if its signature asks for it."""

from __future__ import annotations

import importlib
import inspect
import math
import re
import sys
from typing import TYPE_CHECKING, Any, Protocol, get_args

from framelet_server.net.peer import Peer

if TYPE_CHECKING:
    from collections.abc import Callable


class Caller(Protocol):
    """The client that a call answers; every attribute may be read from any thread."""

    @property
    def peer(self) -> Peer:
        """Who it is."""
        ...

    @property
    def gone(self) -> bool:
        """Whether no answer can reach it any more."""
        ...

    @property
    def cut_off_at(self) -> float:
        """When a drain cuts it off, on the monotonic clock; infinity while there is none."""
        ...


class CallContext:
    """The circumstances of a call, for a handler with a second parameter of this annotation.

    ``type`` is that of the frame: ``FrameType.REQUEST``, or an application type.  ``peer`` is who asks.  It
    may be used from any thread.  In another process, as with ``--executor process:N``, it is a copy that
    knows type and peer, and of no deadline or cancellation.
    """

    __slots__ = ("_caller", "peer", "type")

    def __init__(self, frame_type: int, peer: Peer, caller: Caller | None = None) -> None:
        """Without a ``caller``, as in a test of a handler, nothing is ever cancelled."""
        self.type: int = frame_type
        self.peer: Peer = peer
        self._caller = caller

    @property
    def roles(self) -> frozenset[str]:
        """The roles that the client's verified certificate names; none without TLS."""
        return self.peer.roles

    @property
    def deadline(self) -> float | None:
        """When a drain will cut the client off, in seconds of ``time.monotonic``; else None."""
        due = math.inf if self._caller is None else self._caller.cut_off_at
        return None if due == math.inf else due

    @property
    def cancelled(self) -> bool:
        """Whether the answer will not be read: the client has reset the connection, or was cut off.

        It asks the system, in some microseconds.  A client that has only ended its own stream still waits for
        its answers.
        """
        return self._caller is not None and self._caller.gone

    def __repr__(self) -> str:
        """Who asks for what."""
        return f"CallContext(type={self.type:#04x}, peer={self.peer.name!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        """Leave the connection out: only ``type`` and ``peer`` are copied."""
        return CallContext, (self.type, self.peer)


def signature_of(function: Callable[..., object]) -> inspect.Signature | None:
    """What a function takes; None for one that does not tell, as some of those written in C."""
    try:
        return inspect.signature(function)
    except ValueError:
        return None
    except NameError:  # Python 3.14 evaluates annotations, and not all of their names need exist
        if sys.version_info < (3, 14):
            raise
        as_text = importlib.import_module("annotationlib").Format.STRING
        return inspect.signature(function, annotation_format=as_text)


def asks_for_context(signature: inspect.Signature) -> bool:
    """Whether a handler has a second parameter for the context.

    That is one that is annotated with CallContext, or, without annotation or default, called ``context``.
    """
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    for second in [each for each in signature.parameters.values() if each.kind in positional][1:2]:
        annotation = second.annotation
        if annotation is second.empty:
            return second.name == "context" and second.default is second.empty
        if isinstance(annotation, str):
            return CallContext.__name__ in re.split(r"\W+", annotation)
        return annotation is CallContext or CallContext in get_args(annotation)
    return False
