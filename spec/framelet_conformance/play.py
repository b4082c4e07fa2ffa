"""What a case works with: its connections, its bounds, and the peer under test."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Protocol

import pytest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from framelet_conformance.wire.conversation import Conversation
    from framelet_conformance.wire.log import Ending
    from framelet_conformance.wire.times import Times

    from .options import RunOptions
    from .replay import Replay
    from .verdicts import Verdict

_LOGS_KEPT = 4


def case(  # noqa: PLR0913 - each keyword is one property of a case
    name: str,
    title: str,
    *requirements: str,
    alone: bool = False,
    stops: bool = False,
    reruns: int = 1,
    slow: bool = False,
    thorough: bool = False,
) -> pytest.MarkDecorator:
    """Make a function a case of the suite.

    ``name`` is the case's id, for ever.  The function takes ``play`` (and its parameters), and may be run on
    any thread beside other cases, unless it is ``alone``; ``slow`` ones are begun first.  One that ``stops``
    the peer is run after all others, and a ``thorough`` one only with --slow.  A failure is repeated
    ``reruns`` times before it counts.  With ``pytest.mark.parametrize`` give each ``pytest.param`` a mark of
    its own.
    """
    return pytest.mark.case(
        name, title, requirements, alone=alone, stops=stops, reruns=reruns, slow=slow, thorough=thorough
    )


@dataclasses.dataclass(frozen=True, slots=True)
class Case:
    """What the mark of a case says."""

    id: str
    title: str
    requirements: tuple[str, ...]
    alone: bool
    stops: bool
    reruns: int
    slow: bool
    thorough: bool = False

    @classmethod
    def of(cls, item: pytest.Item) -> Case | None:
        """The case that a collected item is, or None."""
        mark = item.get_closest_marker("case")
        if mark is None:
            return None
        name, title, requirements = mark.args
        return cls(name, title, tuple(requirements), **mark.kwargs)


class Reachable(Protocol):
    """A server that connections can be made to."""

    def connect(self, times: Times, name: str = "", *, receive_buffer: int = 0) -> Conversation:
        """A new connection; raises SetupFailed."""
        raise NotImplementedError


class Play:
    """One attempt at a case.

    ``target`` is what is tested: for servers a ``targets.servers.Servers``, for clients a
    ``targets.adapter.Adapter``.  Connections that the case makes or attaches are closed at its end, and
    their logs go into the report.
    """

    def __init__(
        self,
        which: Case,
        options: RunOptions,
        target: Any,  # noqa: ANN401 - either role's
        verdicts: Mapping[str, Verdict],
    ) -> None:
        """``verdicts`` are those of the cases that are done."""
        self.verdicts = verdicts
        self.case = which
        self.options = options
        self.times: Times = options.times
        self.target = target
        self.conversations: list[Conversation] = []
        self.count: int = 0
        self.close: Ending | None = None
        self.close_verdict: Verdict | None = None
        self.remark = ""
        self.replay: Replay | None = None

    def attach(self, conversation: Conversation) -> Conversation:
        """Have a conversation logged with the case, and closed at its end."""
        self.count += 1
        self.conversations.append(conversation)
        while len(self.conversations) > _LOGS_KEPT and not self.conversations[0].alive:
            self.conversations.pop(0)
        return conversation

    def dial(self, name: str = "", *, receive_buffer: int = 0, **setup: Any) -> Conversation:  # noqa: ANN401 - see Setup
        """A new connection to the server under test, set up as ``setup`` says (see ``targets.setup.Setup``).

        Raises Skipped where the suite has no server with this setup and cannot launch one, and SetupFailed
        where it cannot be reached.
        """
        return self.open(self.target.server(**setup), name, receive_buffer=receive_buffer)

    def open(self, server: Reachable, name: str = "", *, receive_buffer: int = 0) -> Conversation:
        """A new connection to this server; raises SetupFailed where it cannot be reached."""
        return self.attach(server.connect(self.times, name, receive_buffer=receive_buffer))

    def ended(self, ending: Ending, verdict: Verdict) -> None:
        """Note how the peer ended the connection, and what to think of that."""
        self.close = ending
        self.close_verdict = verdict

    def finish(self) -> None:
        """Close what is open."""
        for conversation in self.conversations:
            conversation.close()
