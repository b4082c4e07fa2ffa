"""The client under test, as its adapter makes it speak: see ADAPTER.md for what an adapter must do."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

from framelet_conformance.expectations import pong, reply
from framelet_conformance.play import Case, Play
from framelet_conformance.scenario import Asked, Scenario, read, send
from framelet_conformance.verdicts import Failed, SetupFailed, Skipped
from framelet_conformance.wire.frames import PONG, REPLY, frame

from .adapter_run import AdapterRun

if TYPE_CHECKING:
    from framelet_conformance.options import RunOptions
    from framelet_conformance.replay import Replay

_SANITY = Case("sanity", "plain conversations", (), alone=True, stops=False, reruns=0, slow=False)
_SANE = Scenario(
    ask=(Asked("REQUEST", b"abc"), Asked("PING", b"end")),
    steps=(read(), send(frame(REPLY, "cba")), read(), send(frame(PONG, "end"))),
    expect=(reply("abc"), pong("end")),
    pipeline=False,
)


class Adapter:
    """The launch command of a client; each scenario is played against a process of it.

    An adapter that understands ``repeat`` holds several conversations in one process, so that splitting a
    reply at each octet costs one process; for others there is a process for each.
    """

    def __init__(self, options: RunOptions) -> None:
        """Take the command; nothing is started yet."""
        assert options.launch is not None  # noqa: S101 - the command line demands it
        self.options = options
        self.command: str = options.launch
        self.repeats: bool = True
        self._starting = threading.BoundedSemaphore(2 * (os.cpu_count() or 1))  # what the machine can bear
        self._runs = 0
        self.odd: str | None = None

    def sanity(self) -> None:
        """See that the adapter keeps its contract in two plain conversations; raises SetupFailed.

        What the client does in them is not judged here: a client that gets the first frame wrong shall
        learn from the cases which requirement it breaks.
        """
        play = Play(_SANITY, self.options, self, {})
        try:
            self.perform(play, _SANE, _SANE)
        except Skipped as error:
            message = f"the adapter supports nothing: {error.reason}"
            raise SetupFailed(message) from None
        except Failed as error:
            if self.odd is None:
                self.odd = error.reason
        else:
            self.odd = self.odd or ""
        finally:
            play.finish()

    def facts(self) -> dict[str, str]:
        """What was found out, for the reports."""
        return {
            "adapter": self.command,
            "several conversations in one process": "yes" if self.repeats else "no",
            "processes started": str(self._runs),
        }

    def close(self) -> None:
        """Nothing outlives its case."""

    def replay(self, play: Play, replay: Replay) -> None:
        """Play the scenario of a replay file; raises CaseEnded."""
        try:
            scenario = Scenario.of(replay.setup, replay.steps, replay.expect or [], replay.then or "closed")
        except (KeyError, TypeError, ValueError) as error:
            message = f"the replay file holds no scenario for a client: {error!r}"
            raise SetupFailed(message) from None
        self.perform(play, scenario)

    def perform(self, play: Play, *scenarios: Scenario) -> None:
        """Play scenarios that ask for the same, each on a connection of its own; the first failure counts.

        Raises Failed; Skipped where the adapter does not support what is asked; SetupFailed where it does
        not keep its contract.
        """
        todo = list(scenarios)
        while todo:
            run = AdapterRun(self.command, self._starting, play, todo if self.repeats else todo[:1])
            self._runs += 1
            try:
                done = run.play_all()
            except Failed as error:
                error.place += len(scenarios) - len(todo)
                raise
            if done < len(run.scenarios):
                self.repeats = False
            del todo[:done]
