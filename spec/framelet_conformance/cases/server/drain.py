"""What a drain does to the connections there are, each time on a server of its own.

It may begin by STOP or by SIGTERM; who may send STOP is a question of ``stop``.
"""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING

import pytest

from framelet import grammar
from framelet_conformance.expectations import pong, reply
from framelet_conformance.judging.comparing import show
from framelet_conformance.judging.judge import judge
from framelet_conformance.play import case
from framelet_conformance.verdicts import Failed, NonStrict, SetupFailed, Skipped, Verdict
from framelet_conformance.wire.conversation import Conversation, Silence
from framelet_conformance.wire.frames import REPLY, STOP, STOPPED, frame, header, text_of
from framelet_conformance.wire.log import Ending

if TYPE_CHECKING:
    from framelet import Frame
    from framelet_conformance.play import Play
    from framelet_conformance.targets.setup import ServerUnderTest

_MUCH, _SMALL = 1 << 24, 1 << 16  # octets


def await_stopped(conversation: Conversation, within: float | None = None) -> dict[str, str]:
    """Read the STOPPED and the end after it; its parameters."""
    try:
        found = conversation.read_frame(within)
    except Silence:
        raise Failed("no STOPPED came") from None
    if found is None or found.type != STOPPED:
        message = f"{show(found)} came instead of STOPPED"
        raise Failed(message)
    parameters = read_stopped(found)
    if conversation.read_end() is Ending.SILENCE:
        raise Failed("octets came after STOPPED", "REQ-STOP-8")
    return parameters


def see_counts(parameters: dict[str, str], happened: str, *further: str, closed: int, cut: int) -> None:
    """See that STOPPED counts so many; if not, REQ-DRAIN-1 and ``further`` requirements are broken."""
    if (parameters["closed"], parameters["cut"]) != (str(closed), str(cut)):
        message = f"{happened}, but STOPPED says {parameters}"
        raise Failed(message, "REQ-DRAIN-1", *further)


def read_stopped(found: Frame) -> dict[str, str]:
    """The parameters of a STOPPED; raises Failed."""
    try:
        parameters: dict[str, str] = grammar.parse_body(grammar.StoppedBody, found.body)
    except ValueError:
        message = f"the body of STOPPED is not of the form stopped-body: {show(found)}"
        raise Failed(message, "REQ-STOP-9") from None
    return parameters


def refuses(play: Play, server: ServerUnderTest) -> bool:
    """Whether the server takes no connection any more."""
    try:
        conversation = Conversation.connect(server.address, play.times, "after the STOP")
    except SetupFailed:
        return True
    with conversation:
        conversation.send(frame(6, "p"))
        try:
            return conversation.read_frame(play.times.answer) is None
        except Silence:
            return True


def await_pong(conversation: Conversation) -> None:
    """The PONG of the PING that shows that the server has this connection."""
    found = conversation.read_frame()
    if found is None or found.body != b"p":
        message = f"a PING was answered with {show(found)}"
        raise Failed(message, "REQ-PING-1")


@case(
    "stop.drains",
    "an allowed STOP: what others sent is answered, they are closed, no new ones are taken, STOPPED is last",
    "REQ-STOP-6",
    "REQ-STOP-7",
    "REQ-STOP-8",
    "REQ-STOP-9",
    "REQ-DRAIN-1",
    stops=True,
)
def case_drains(play: Play) -> None:
    """Three others: one idle, one with answers on their way, one inside a frame."""
    server = play.target.server(fresh=True, stop="local")
    idle, busy, partial, stopper = (play.open(server, name) for name in ("idle", "busy", "inside", "stopper"))
    texts = [text_of(2_000, number) for number in range(50)]
    partial.send(frame(6, "p") + header(1, 100) + b"part")
    await_pong(partial)
    for conversation in (idle, busy):
        conversation.send(frame(6, "p"))
        await_pong(conversation)
    busy.send(b"".join(frame(1, text) for text in texts) + frame(6, "end"))
    judge(busy, [*map(reply, texts), pong("end")], "open")
    stopper.send(frame(1, "ab") + frame(STOP))
    for conversation in (idle, busy, partial):
        ending = conversation.read_end()
        if ending is not Ending.FIN:
            message = f"a draining server ended another connection by {ending}"
            raise Failed(message, "REQ-STOP-7")
        conversation.close()
    found = stopper.read_frame()
    if found is None or found.body != b"ba":
        message = f"the REQUEST before the STOP was answered with {show(found)}"
        raise Failed(message, "REQ-STOP-7")
    parameters = await_stopped(stopper)
    play.ended(stopper.ending, Verdict.PASS)
    see_counts(parameters, "three connections were closed", "REQ-STOP-8", closed=3, cut=0)
    if not refuses(play, server):
        raise Failed("a new connection was served after the drain", "REQ-STOP-6")


@case(
    "stop.answers-what-was-received",
    "frames received in full before the drain are answered, however slowly the client reads them",
    "REQ-STOP-7",
    "REQ-STOP-8",
    stops=True,
)
def case_answers_received(play: Play) -> None:
    """Answers of some MiB wait in the server while another client stops it."""
    server = play.target.server(fresh=True, stop="local")
    stopper = play.open(server, "stopper")
    other, text, count = have_answers_wait(play, server)
    stopper.send(frame(STOP))
    take_answers(other, text, count)
    other.close()
    await_stopped(stopper)
    play.ended(stopper.ending, Verdict.PASS)


def have_answers_wait(play: Play, server: ServerUnderTest) -> tuple[Conversation, str, int]:
    """A connection with more answers on their way than all buffers hold; the text of each, and their number.

    They are begun, so that the first REQUEST has been received in full; where it is one large REQUEST, it is
    all of them.
    """
    size = min(play.target.main.max_body or _SMALL, _MUCH)
    text, count = text_of(_SMALL) * (size // _SMALL), _MUCH // size
    conversation = play.open(server, "busy", receive_buffer=1 << 18)
    conversation.send(frame(1, text) * count, reading=False)
    conversation.read_more()
    return conversation, text, count


def take_answers(conversation: Conversation, text: str, count: int) -> None:
    """See that answers come, each of them whole, and FIN after the last."""
    expected = text[::-1].encode()
    came = 0
    while (found := conversation.read_frame()) is not None:
        came += 1
        if found.type != REPLY or found.body != expected:
            raise Failed("an answer was changed or cut by the drain", "REQ-STOP-7")
    if conversation.ending is not Ending.FIN or conversation.waiting:
        place = f"{len(conversation.waiting):,} octets into a frame"
        message = f"the drain ended another connection by {conversation.ending}, {place}"
        raise Failed(message, "REQ-STOP-7")
    if not 1 <= came <= count:
        message = f"{came} answers came to {count} REQUESTs that were sent before the drain"
        raise Failed(message, "REQ-STOP-7")


@case(
    "stop.ends-at-its-deadline",
    "a client that takes none of its answers does not hold up the drain beyond its deadline",
    "REQ-STOP-12",
    "REQ-STOP-8",
    "REQ-DRAIN-1",
    stops=True,
    slow=True,
)
def case_deadline(play: Play) -> None:
    """STOPPED says that one was cut off."""
    timeout = 0.8 * play.times.scale
    server = play.target.server(fresh=True, stop="local", drain_timeout=timeout)
    stuck = play.open(server, "stuck", receive_buffer=8_192)
    stuck.send(frame(1, text_of(65_536)) * 200, reading=False, within=play.times.answer / 2)
    stopper = play.open(server, "stopper")
    began = time.monotonic()
    stopper.send(frame(STOP))
    see_one_cut(play, stopper, began, timeout)


def see_one_cut(play: Play, stopper: Conversation, began: float, timeout: float) -> None:
    """See that STOPPED comes when the drain timeout is over, and tells of one connection that was cut off."""
    latest = began + timeout + play.times.grace
    parameters = await_stopped(stopper, max(0.0, latest - time.monotonic()))
    elapsed = time.monotonic() - began
    play.ended(stopper.ending, Verdict.PASS)
    if elapsed < timeout - 0.05:
        message = f"STOPPED came after {elapsed:.3f} s although a client still had answers to take"
        raise Failed(message, "REQ-STOP-7")
    if parameters["cut"] != "1":
        message = f"one connection had to be cut off, but STOPPED says {parameters}"
        raise Failed(message, "REQ-DRAIN-1", "REQ-STOP-8")


@pytest.mark.parametrize(
    "number",
    [
        pytest.param(
            number,
            marks=case(
                name,
                f"{number.name} begins the same drain: what was sent is answered, all are closed, "
                "and the process ends well",
                "REQ-DRAIN-3",
                "REQ-DRAIN-4",
                "REQ-STOP-6",
                "REQ-STOP-7",
                stops=True,
            ),
        )
        for name, number in (("stop.signal", signal.SIGTERM), ("stop.signal-int", signal.SIGINT))
    ],
)
def case_signal(play: Play, number: signal.Signals) -> None:
    """It goes to the process that --launch started; a script must pass it on."""
    if play.options.launch is None:
        message = f"needs a server that the suite launched (--launch), to send it {number.name}"
        raise Skipped(message)
    if number == signal.SIGINT and signal.getsignal(number) == signal.SIG_IGN:
        raise Skipped("the suite was started with SIGINT ignored, and so is what it launches")
    server = play.target.server(fresh=True)
    assert server.process is not None  # noqa: S101 - launched
    idle, inside = (play.open(server, name) for name in ("idle", "inside"))
    inside.send(frame(6, "p") + header(1, 100) + b"part")
    idle.send(frame(6, "p"))
    for conversation in (idle, inside):
        await_pong(conversation)
    busy, text, count = have_answers_wait(play, server)
    server.process.send_signal(number)
    for conversation in (idle, inside):
        ending = conversation.read_end()
        if ending is not Ending.FIN:
            message = f"{number.name} ended a connection by {ending}"
            raise Failed(message, "REQ-DRAIN-3", "REQ-STOP-7")
    if not refuses(play, server):
        message = f"a new connection was served after {number.name}"
        raise Failed(message, "REQ-STOP-6")
    try:
        take_answers(busy, text, count)
    except Failed as error:
        raise Failed(error.reason, "REQ-DRAIN-3", *error.broken) from None
    play.ended(busy.ending, Verdict.PASS)
    for conversation in (idle, inside, busy):
        conversation.close()
    see_it_end(play, server)


def see_it_end(play: Play, server: ServerUnderTest) -> None:
    """Where the suite launched the server: that its process ends, and with status 0."""
    if server.process is None:
        return
    for conversation in play.conversations:
        conversation.close()
    status = server.process.wait(play.times.launch)
    if status is None:
        message = f"its connections are closed, but after {play.times.launch:.3g} s its process still runs"
        raise Failed(message, "REQ-DRAIN-4")
    if status:
        message = f"it drained, but its process ended with status {status}"
        raise NonStrict(message)


@case(
    "stop.lingers-and-ends",
    "what is sent after the FIN of a drain is discarded, and the process ends although no client closes",
    "REQ-DRAIN-4",
    "REQ-STATE-1",
    "REQ-STOP-10",
    stops=True,
    slow=True,
)
def case_lingers(play: Play) -> None:
    """Two that were open, one of them with a frame begun, and the one that asks."""
    linger = 2.0 * play.times.scale
    server = play.target.server(fresh=True, stop="local", linger_timeout=linger)
    open_ones = [play.open(server, name) for name in ("idle", "inside", "stopper")]
    for conversation in open_ones:
        conversation.send(frame(6, "p"))
        await_pong(conversation)
    idle, inside, stopper = open_ones
    inside.send(frame(1, "late")[:7])
    inside.pause(play.times.quiet)
    stopper.send(frame(STOP))
    await_stopped(stopper)
    began = time.monotonic()
    for conversation in (idle, inside):
        conversation.read_end()
    for conversation in open_ones:
        if conversation.ending is not Ending.FIN:
            message = f"a draining server ended a connection by {conversation.ending}"
            raise Failed(message, "REQ-STATE-1")
    while time.monotonic() - began < linger / 4:
        for conversation in open_ones:
            conversation.send(frame(1, "late") * 100)
            conversation.pause(play.times.pause)
            if not conversation.writable and time.monotonic() - began < linger - 0.05:
                message = "a reset came for what was sent after the FIN of a drain"
                raise Failed(message, "REQ-STATE-1", "REQ-STOP-10")
    play.ended(Ending.FIN, Verdict.PASS)
    if server.process is not None:
        latest = linger + play.times.grace + play.times.answer
        if server.process.wait(latest) is None:
            message = f"the linger timeout of {linger:.3g} s is over, and its process still runs"
            raise Failed(message, "REQ-DRAIN-4")


@case(
    "stop.counts-to-300",
    "STOPPED counts 300 connections",
    "REQ-DRAIN-1",
    "REQ-STOP-9",
    stops=True,
)
def case_counts_many(play: Play) -> None:
    """More than eight bits hold."""
    server = play.target.server(fresh=True, stop="local", max_connections=400)
    stopper, *others = (play.open(server, f"connection {number}") for number in range(301))
    for conversation in others:
        conversation.send(frame(6, "p"))
    for conversation in others:
        await_pong(conversation)
    stopper.send(frame(STOP))
    for conversation in others:
        conversation.read_end()
        conversation.close()
    parameters = await_stopped(stopper)
    play.ended(stopper.ending, Verdict.PASS)
    see_counts(parameters, "300 connections were closed", closed=300, cut=0)


@case(
    "stop.behind-a-half-close",
    "a drain answers a client whose stream had ended, and counts it",
    "REQ-STOP-7",
    "REQ-DRAIN-1",
    "REQ-CLOSE-1",
    stops=True,
)
def case_half_closed(play: Play) -> None:
    """It takes its answer when the drain has begun."""
    server = play.target.server(fresh=True, stop="local")
    stopper = play.open(server, "stopper")
    text = text_of(min(server.max_body or _SMALL, _MUCH // 2))
    other = play.open(server, "half-closed", receive_buffer=8_192)
    other.send(frame(1, text) + frame(6, "last"), reading=False)
    other.send_fin()
    other.read_more()
    stopper.send(frame(STOP))
    stopper.pause(play.times.quiet)
    judge(other, [reply(text), pong("last")], "closed", play=play)
    other.close()
    parameters = await_stopped(stopper)
    see_counts(parameters, "one other connection was open", closed=1, cut=0)
