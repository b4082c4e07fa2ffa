"""The states of a connection and what each does with each frame: tables of data (section 15).

``ACTIONS`` and ``TRANSITIONS`` are the only place where this is decided.  The connections look it up here,
and the tables in the specification are written from here; tests change each cell and see the connection
follow.  One thing is no cell: after a fault nothing more is read, because there is no telling where the next
frame begins.
"""

from __future__ import annotations

import enum
import functools
from typing import TYPE_CHECKING, NamedTuple

from .registry import FrameType, Role, TypeRange, type_kinds

if TYPE_CHECKING:
    from collections.abc import Mapping


class State(enum.Enum):
    """Where a connection is in its life, as one end sees it."""

    if not TYPE_CHECKING:
        __hash__ = object.__hash__  # in C: that of Enum is a Python function, and these are looked up a lot

    OPEN = "open"
    DRAINING = "draining"
    CLOSING = "closing"
    CLOSED = "closed"


MEANINGS: Mapping[Role, Mapping[State, str]] = {
    Role.SERVER: {
        State.OPEN: "frames are taken and answered",
        State.DRAINING: "no further frame is taken; the answers owed are sent",
        State.CLOSING: "everything is sent, FIN included; input is discarded until the client closes",
        State.CLOSED: "both directions have ended",
    },
    Role.CLIENT: {
        State.OPEN: "frames may be sent; answers are taken",
        State.DRAINING: "the client has closed its sending direction; answers are taken",
        State.CLOSING: "failed, or ended by a fatal ERROR; input is discarded, or the connection closed",
        State.CLOSED: "both directions have ended",
    },
}


class Trigger(enum.Enum):
    """What moves a connection from state to state, apart from ordinary frames."""

    if not TYPE_CHECKING:
        __hash__ = object.__hash__

    INPUT_ENDED = "end of the peer's stream"
    FAULT = "a fault of the peer or of the program, or a deadline"
    FATAL_ERROR = "fatal ERROR received"
    STOP_ALLOWED = "STOP allowed"
    DRAIN = "the program drains, or closes its sending direction"
    SETTLED = "nothing is owed any more"
    LINGERED = "linger timeout"


TRANSITIONS: Mapping[Role, Mapping[State, Mapping[Trigger, State]]] = {
    Role.SERVER: {
        State.OPEN: {
            Trigger.INPUT_ENDED: State.DRAINING,
            Trigger.FAULT: State.DRAINING,
            Trigger.STOP_ALLOWED: State.DRAINING,
            Trigger.DRAIN: State.DRAINING,
        },
        State.DRAINING: {
            Trigger.INPUT_ENDED: State.DRAINING,
            Trigger.FAULT: State.DRAINING,
            Trigger.DRAIN: State.DRAINING,
            Trigger.SETTLED: State.CLOSING,
        },
        State.CLOSING: {
            Trigger.INPUT_ENDED: State.CLOSED,
            Trigger.FAULT: State.CLOSING,
            Trigger.DRAIN: State.CLOSING,
            Trigger.LINGERED: State.CLOSED,
        },
        State.CLOSED: {Trigger.FAULT: State.CLOSED, Trigger.DRAIN: State.CLOSED},
    },
    Role.CLIENT: {
        State.OPEN: {
            Trigger.INPUT_ENDED: State.CLOSED,
            Trigger.FAULT: State.CLOSING,
            Trigger.FATAL_ERROR: State.CLOSING,
            Trigger.DRAIN: State.DRAINING,
        },
        State.DRAINING: {
            Trigger.INPUT_ENDED: State.CLOSED,
            Trigger.FAULT: State.CLOSING,
            Trigger.FATAL_ERROR: State.CLOSING,
            Trigger.DRAIN: State.DRAINING,
        },
        State.CLOSING: {Trigger.INPUT_ENDED: State.CLOSED, Trigger.DRAIN: State.CLOSING},
        State.CLOSED: {Trigger.DRAIN: State.CLOSED},
    },
}
"""The state after each trigger; a trigger that a state does not list cannot happen in it."""


class Action(enum.Enum):
    """What a receiver does with a frame."""

    SERVE = "take it; one answer is owed"
    MATCH = "take it as the answer to the oldest unanswered frame"
    ERROR = "recoverable: as any answer; fatal: the connection ends"
    DISCARD = "read and discard"
    REFUSE_UNKNOWN = "fatal ERROR 501"
    REFUSE_UNEXPECTED = "fatal ERROR 502"
    CLOSE = "close without an ERROR"
    FAIL = "close; the program is told"
    NONE = "cannot arrive"


Kind = FrameType | TypeRange

_KINDS: tuple[Kind, ...] = (*FrameType, *TypeRange)
_ASKING: tuple[Kind, ...] = (
    FrameType.REQUEST,
    FrameType.STOP,
    FrameType.PING,
    FrameType.HELLO,
    TypeRange.APPLICATION,
)
_ANSWERING: tuple[Kind, ...] = (
    FrameType.REPLY,
    FrameType.STOPPED,
    FrameType.PONG,
    FrameType.HELLO,
    TypeRange.APPLICATION,
)


def _all(action: Action) -> Mapping[Kind, Action]:
    return dict.fromkeys(_KINDS, action)


_SERVER_OPEN: Mapping[Kind, Action] = {
    **dict.fromkeys(_ASKING, Action.SERVE),
    FrameType.REPLY: Action.REFUSE_UNEXPECTED,
    FrameType.STOPPED: Action.REFUSE_UNEXPECTED,
    FrameType.PONG: Action.REFUSE_UNEXPECTED,
    FrameType.ERROR: Action.CLOSE,
    TypeRange.NEVER: Action.REFUSE_UNKNOWN,
    TypeRange.CRITICAL: Action.REFUSE_UNKNOWN,
    TypeRange.IGNORABLE: Action.DISCARD,
}

_CLIENT_OPEN: Mapping[Kind, Action] = {
    **dict.fromkeys(_ANSWERING, Action.MATCH),
    FrameType.REQUEST: Action.FAIL,
    FrameType.STOP: Action.FAIL,
    FrameType.PING: Action.FAIL,
    FrameType.ERROR: Action.ERROR,
    TypeRange.NEVER: Action.FAIL,
    TypeRange.CRITICAL: Action.FAIL,
    TypeRange.IGNORABLE: Action.DISCARD,
}

ACTIONS: Mapping[Role, Mapping[State, Mapping[Kind, Action]]] = {
    Role.SERVER: {
        State.OPEN: _SERVER_OPEN,
        State.DRAINING: _all(Action.DISCARD),
        State.CLOSING: _all(Action.DISCARD),
        State.CLOSED: _all(Action.NONE),
    },
    Role.CLIENT: {
        State.OPEN: _CLIENT_OPEN,
        State.DRAINING: _CLIENT_OPEN,
        State.CLOSING: _all(Action.DISCARD),
        State.CLOSED: _all(Action.NONE),
    },
}
"""What each role does in each state with each kind of type; every cell is filled (REQ-STATE-1)."""


@functools.cache
def actions_by_octet(role: Role, state: State) -> tuple[Action, ...]:
    """The action for each of the 256 type octets, for a quick look-up."""
    return tuple(ACTIONS[role][state][type_kinds[octet]] for octet in range(256))


class Rules(NamedTuple):
    """What the tables say of one role in one state, for quick look-ups.

    ``actions`` has one for each of the 256 type octets.  ``takes_frames`` says whether frames of some type
    mean something; where not, octets are read and discarded.  ``batches`` says whether REQUESTs are served.
    """

    actions: tuple[Action, ...]
    takes_frames: bool
    batches: bool


@functools.cache
def rules(role: Role, state: State) -> Rules:
    """Read the rules off the tables."""
    actions = actions_by_octet(role, state)
    return Rules(
        actions,
        takes_frames=bool(set(actions) - {Action.DISCARD, Action.NONE}),
        batches=state is State.OPEN and actions[FrameType.REQUEST] is Action.SERVE,
    )
