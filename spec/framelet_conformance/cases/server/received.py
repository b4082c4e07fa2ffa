"""What the system holds for a server counts as received: drains of servers that were held up meanwhile.

The suite has the process that it launched stand still while frames and connections come; so all of them are
there before the STOP that ends the server can be looked at.
"""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from framelet_conformance.expectations import error, pong, reply
from framelet_conformance.judging.comparing import show
from framelet_conformance.judging.judge import judge
from framelet_conformance.play import case
from framelet_conformance.verdicts import Failed, NonStrict, Skipped, Verdict
from framelet_conformance.wire.conversation import Silence
from framelet_conformance.wire.frames import PONG, STOP, STOPPED, frame, header, text_of
from framelet_conformance.wire.log import Ending

from .drain import await_pong, await_stopped, read_stopped, see_counts, see_it_end

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from framelet_conformance.play import Play
    from framelet_conformance.targets.setup import ServerUnderTest
    from framelet_conformance.wire.conversation import Conversation


def held(server: ServerUnderTest) -> AbstractContextManager[None]:
    """Have the server stand still; raises Skipped where the suite did not launch it."""
    if server.process is None:
        raise Skipped("needs a server that the suite launched (--launch), to hold it up")
    return server.process.held()


def met(play: Play, server: ServerUnderTest, *names: str) -> list[Conversation]:
    """Connections that the server has accepted."""
    conversations = [play.open(server, name) for name in names]
    for conversation in conversations:
        conversation.send(frame(6, "p"))
        await_pong(conversation)
    return conversations


_REFUSED = {
    frame(1, b"\xff"): 400,
    frame(6, "x" * 65): 413,
    frame(8, "no"): 422,
    frame(8, "framelet/2"): 426,
    frame(0xC0): 404,
}


@case(
    "stop.answers-what-the-system-holds",
    "frames that the server's system holds when the drain begins are answered",
    "REQ-STOP-7",
    stops=True,
)
def case_system_holds(play: Play) -> None:
    """Thirty thousand octets on each of two connections, faults among them, and part of a frame after."""
    server = play.target.server(fresh=True, stop="local", application="none")
    *others, stopper = met(play, server, "first", "second", "stopper")
    texts = [text_of(300, number) for number in range(100)]
    with held(server):
        for conversation in others:
            good = b"".join(frame(1, text) for text in texts)
            conversation.send(good + b"".join(_REFUSED) + frame(6, "last") + header(1, 9))
        stopper.send(frame(STOP))
    errors = list(map(error, _REFUSED.values()))
    for conversation in others:
        judge(conversation, [*map(reply, texts), *errors, pong("last")], "closed", play=play)
        conversation.close()
    await_stopped(stopper)
    play.ended(stopper.ending, Verdict.PASS)


@case(
    "stop.answers-a-backlog",
    "frames that the server's system holds because the client does not read are answered, too",
    "REQ-STOP-7",
    stops=True,
)
def case_backlog(play: Play) -> None:
    """What the server's system has confirmed, it has received."""
    server = play.target.server(fresh=True, stop="local")
    other, stopper = met(play, server, "deaf", "stopper")
    text = text_of(50_000)
    octets = frame(1, text)
    sent = other.send(octets * 600, reading=False, within=play.times.quiet)
    due = (sent - other.unconfirmed) // len(octets)
    stopper.send(frame(STOP))
    stopper.pause(play.times.quiet)  # the drain begins, and no client has made room for an answer
    answers = 0
    while (found := other.read_frame()) is not None:
        if found.body != text[::-1].encode():
            raise Failed("an answer was changed or cut by the drain")
        answers += 1
    if answers < due or other.ending is not Ending.FIN:
        message = (
            f"the server had received {due} REQUESTs in full when the drain began, and answered {answers}; "
            f"then it ended the connection by {other.ending}"
        )
        raise Failed(message)
    other.close()
    await_stopped(stopper)
    play.ended(stopper.ending, Verdict.PASS)


@case(
    "stop.answers-who-has-just-connected",
    "connections that wait to be accepted when the drain begins are let in, and answered",
    "REQ-DRAIN-2",
    stops=True,
)
def case_waiting(play: Play) -> None:
    """A SHOULD: where they are lost that is non-strict."""
    server = play.target.server(fresh=True, stop="local")
    [stopper] = met(play, server, "stopper")
    with held(server):
        waiting = [play.open(server, f"waiting {number}") for number in range(3)]
        for conversation in waiting:
            conversation.send(frame(1, "ab"))
        stopper.send(frame(STOP))
    lost = 0
    for conversation in waiting:
        found = conversation.read_frame()
        lost += found is None
        if found is not None and found.body != b"ba":
            message = f"a REQUEST of a client that had just connected was answered with {show(found)}"
            raise Failed(message, "REQ-STOP-7")
        conversation.close()
    await_stopped(stopper)
    play.ended(stopper.ending, Verdict.PASS)
    if lost:
        message = f"{lost} of {len(waiting)} connections that waited to be accepted were lost to the drain"
        raise NonStrict(message)


@case(
    "stop.all-at-once",
    "of three STOPs on three connections, all received before the drain, each is answered with STOPPED",
    "REQ-STOP-11",
    "REQ-STOP-8",
    "REQ-DRAIN-1",
    stops=True,
)
def case_all_at_once(play: Play) -> None:
    """Another connection is ended meanwhile, and all three say so."""
    server = play.target.server(fresh=True, stop="local")
    other, *stoppers = met(play, server, "other", "first", "second", "third")
    with held(server):
        for conversation in stoppers:
            conversation.send(frame(1, "ab") + frame(STOP))
    if other.read_end() is not Ending.FIN:
        message = f"a draining server ended another connection by {other.ending}"
        raise Failed(message, "REQ-STOP-7")
    for number, conversation in enumerate(stoppers, 1):
        judge(conversation, [reply("ab")], "silent")
        parameters = await_stopped(conversation)
        if (parameters["closed"], parameters["cut"]) != ("1", "0"):
            message = f"one connection did not ask for the end, but STOPPED {number} says {parameters}"
            raise Failed(message, "REQ-DRAIN-1", "REQ-STOP-8")
    play.ended(Ending.FIN, Verdict.PASS)
    see_it_end(play, server)


def behind_a_large_answer(play: Play, server: ServerUnderTest, octets: bytes) -> tuple[Conversation, str]:
    """A client that does not take a large answer, and has sent these octets after its REQUEST; its text."""
    text = text_of(min(server.max_body or 1 << 16, 1 << 23))
    conversation = play.open(server, "behind an answer", receive_buffer=8_192)
    conversation.send(frame(1, text) + octets, reading=False)
    conversation.read_more()
    return conversation, text


@case(
    "stop.wrong-token-in-a-drain",
    "a STOP with a wrong token that was received before a drain is refused in it",
    "REQ-STOP-3",
    "REQ-STOP-7",
    stops=True,
)
def case_wrong_token(play: Play) -> None:
    """A server that serves a frame only when earlier answers have been taken comes to it in the drain."""
    token = play.options.stop_token or "secret"
    server = play.target.server(fresh=True, stop=f"token:{token}")
    other, text = behind_a_large_answer(play, server, frame(STOP, "wrong") + frame(1, "ab"))
    [stopper] = met(play, server, "stopper")
    stopper.send(frame(STOP, token))
    stopper.pause(play.times.quiet)
    judge(other, [reply(text), error(403), reply("ab")], "closed", play=play)
    other.close()
    await_stopped(stopper)
    play.ended(stopper.ending, Verdict.PASS)


@case(
    "stop.in-a-drain-by-signal",
    "a STOP received before SIGTERM is answered with STOPPED",
    "REQ-STOP-8",
    "REQ-STOP-7",
    "REQ-DRAIN-3",
    stops=True,
)
def case_stop_and_signal(play: Play) -> None:
    """Here, too, the server may come to the STOP only in the drain, or begin the drain by it."""
    server = play.target.server(fresh=True, stop="local")
    if server.process is None:
        raise Skipped("needs a server that the suite launched (--launch), to send it SIGTERM")
    stopper, text = behind_a_large_answer(play, server, frame(STOP))
    server.process.send_signal(signal.SIGTERM)
    judge(stopper, [reply(text)], "silent")
    await_stopped(stopper)
    play.ended(stopper.ending, Verdict.PASS)


def _room(play: Play, server: ServerUnderTest) -> Conversation | None:
    """One more connection that the server serves, None where it refuses one."""
    conversation = play.open(server, "one more")
    conversation.send(frame(6, "p"))
    found = conversation.read_frame()
    return conversation if found is not None and found.type == PONG else None


@case(
    "stop.counts",
    "STOPPED counts silent connections, not refused or lingering ones, and does not wait for their ends",
    "REQ-DRAIN-1",
    "REQ-STOP-8",
    stops=True,
)
def case_counts(play: Play) -> None:
    """Nobody closes: the linger timeout is long, and the drain timeout longer."""
    long = 4 * play.times.answer
    server = play.target.server(
        fresh=True, stop="local", max_connections=4, linger_timeout=long, drain_timeout=2 * long
    )
    stopper, busy, failed, silent = (
        play.open(server, name) for name in ("stopper", "busy", "lingering", "silent")
    )
    for conversation in (stopper, busy, failed):
        conversation.send(frame(6, "p"))
        await_pong(conversation)
    failed.send(header(0, 0))
    judge(failed, [error(501)], "closed")
    open_ones = [busy, silent]
    while more := _room(play, server):
        open_ones.append(more)
    stopper.send(frame(STOP))
    for conversation in open_ones:
        if conversation.read_end() is not Ending.FIN:
            message = f"a draining server ended another connection by {conversation.ending}"
            raise Failed(message, "REQ-STOP-7")
    try:
        found = stopper.read_frame()
    except Silence:
        message = f"the server has sent FIN to all others, and no STOPPED within {play.times.answer:.3g} s"
        raise Failed(message, "REQ-STOP-8") from None
    if found is None or found.type != STOPPED:
        message = f"{show(found)} came instead of STOPPED"
        raise Failed(message, "REQ-STOP-8")
    if read_stopped(found) != {"closed": f"{len(open_ones)}", "cut": "0"}:
        message = f"{len(open_ones)} others were open, but STOPPED is {show(found)}"
        raise Failed(message, "REQ-DRAIN-1", "REQ-STOP-8")
    play.ended(Ending.FIN, Verdict.PASS)


_SAID = {
    **_REFUSED,
    frame(STOP, b"\xff"): 400,
    frame(STOP, "wrong"): 403,
    frame(1, "ab"): None,
    frame(6, "p"): None,
    frame(8, "framelet/1"): None,
    frame(0x80, "i") + frame(6, "p"): None,
    frame(6, "p") + header(1, 9): None,
}


@case(
    "stop.counts-whatever-was-said",
    "STOPPED counts each connection, whatever was said on it, a refused STOP included",
    "REQ-DRAIN-1",
    "REQ-STOP-3",
    stops=True,
)
def case_said(play: Play) -> None:
    """One thing on each of them, and nothing on one more."""
    token = play.options.stop_token or "secret"
    server = play.target.server(fresh=True, stop=f"token:{token}", application="none")
    others = [play.open(server, "silent")]
    for octets, code in _SAID.items():
        others.append(play.open(server, f"says {octets.hex(' ')}"))
        others[-1].send(octets)
        if (found := others[-1].read_frame()) is None or (
            code is not None and found.body[:3] != b"%d" % code
        ):
            message = f"{show(found)} came instead of {f'ERROR {code}' if code else 'an answer'}"
            raise Failed(message, "REQ-ORDER-1")
    [stopper] = met(play, server, "stopper")
    stopper.send(frame(STOP, token))
    for conversation in others:
        if conversation.read_end() is not Ending.FIN:
            message = f"a draining server ended another connection by {conversation.ending}"
            raise Failed(message, "REQ-STOP-7")
    parameters = await_stopped(stopper)
    play.ended(stopper.ending, Verdict.PASS)
    see_counts(parameters, f"{len(others)} others were open", closed=len(others), cut=0)
