"""What a case works with: its connections, its bounds, and the peer under test."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from framelet_conformance.wire.conversation import Conversation, Times

if TYPE_CHECKING:
    from collections.abc import Mapping

    from framelet_conformance.targets.servers import Server

    from .replay import Replay
    from .results import Ending, Verdict

_LOGS_KEPT = 4


@dataclasses.dataclass(frozen=True, slots=True)
class Options:
    """How a run was asked for; patterns are case ids or requirements, with ``*`` and ``?``."""

    role: str
    address: tuple[str, int] | str | None = None
    launch: str | None = None
    only: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    expect_fail: tuple[str, ...] = ()
    times: Times = dataclasses.field(default_factory=Times)
    stop_policy: str | None = None
    stop_token: str | None = None
    allow_stop: bool = False
    slow: bool = False
    strict: bool = False
    workers: int = 16
    examples: int = 100
    seed: int | None = None
    replay_folder: Path = Path("framelet-replays")
    command: str = ""


def case(  # noqa: PLR0913 - each keyword is one property of a case
    name: str,
    title: str,
    *requirements: str,
    alone: bool = False,
    stops: bool = False,
    reruns: int = 1,
    slow: bool = False,
) -> pytest.MarkDecorator:
    """Make a function a case of the suite.

    ``name`` is the case's id, for ever.  The function takes ``play`` (and its parameters), and may be run on
    any thread beside other cases, unless it is ``alone``; ``slow`` ones are begun first.  One that ``stops``
    the peer is run after all others.  A failure is repeated ``reruns`` times before it counts.  With
    ``pytest.mark.parametrize`` give each ``pytest.param`` a mark of its own.
    """
    return pytest.mark.case(name, title, requirements, alone=alone, stops=stops, reruns=reruns, slow=slow)


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

    @classmethod
    def of(cls, item: pytest.Item) -> Case | None:
        """The case that a collected item is, None where it is none."""
        mark = item.get_closest_marker("case")
        if mark is None:
            return None
        name, title, requirements = mark.args
        return cls(name, title, tuple(requirements), **mark.kwargs)


class Play:
    """One attempt at a case.

    ``peer`` is what is tested: for servers a ``Servers`` (see ``target``), for clients what
    ``client_cases`` makes of the launch command.  Connections that the case makes or attaches are closed at
    its end, and their logs go into the report.
    """

    def __init__(
        self,
        which: Case,
        options: Options,
        peer: Any,  # noqa: ANN401 - either role's
        verdicts: Mapping[str, Verdict],
    ) -> None:
        """``verdicts`` are those of the cases that are done."""
        self.verdicts = verdicts
        self.case = which
        self.options = options
        self.times = options.times
        self.peer = peer
        self.conversations: list[Conversation] = []
        self.count = 0
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
        """A new connection to the server under test, set up as ``setup`` says (see ``target.Setup``).

        Raises Skipped where the suite has no server with this setup and cannot launch one, and SetupFailed
        where it cannot be reached.
        """
        return self.open(self.peer.server(**setup), name, receive_buffer=receive_buffer)

    def open(self, server: Server, name: str = "", *, receive_buffer: int = 0) -> Conversation:
        """A new connection to this server; raises SetupFailed where it cannot be reached."""
        if server.spare and not receive_buffer:
            return self.attach(Conversation(server.spare.pop(), self.times, name))
        return self.attach(
            Conversation.connect(server.address, self.times, name, receive_buffer=receive_buffer)
        )

    def ended(self, ending: Ending, verdict: Verdict) -> None:
        """Note how the peer ended the connection, and what to think of that."""
        self.close = ending
        self.close_verdict = verdict

    def finish(self) -> None:
        """Close what is open."""
        for conversation in self.conversations:
            conversation.close()
