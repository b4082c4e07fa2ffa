"""STOP and drain, each on a server of its own; the vectors about STOP are in ``vectors``."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from framelet import grammar
from framelet_conformance.judging.judge import judge, show_frame
from framelet_conformance.play import case
from framelet_conformance.results import Ending, Failed, NonStrict, SetupFailed, Skipped, Verdict
from framelet_conformance.wire.conversation import Conversation, Silence
from framelet_conformance.wire.frames import STOP, error, frame, header, pong, reply, text_of

if TYPE_CHECKING:
    from framelet_conformance.play import Play
    from framelet_conformance.targets.servers import Server
    from framelet_conformance.wire.conversation import Frame

_STOPPERS = 8
_MUCH, _SMALL = 1 << 24, 1 << 16  # octets


def await_stopped(conversation: Conversation, within: float | None = None) -> dict[str, str]:
    """Read the STOPPED and the end behind it; its parameters."""
    try:
        found = conversation.read_frame(within)
    except Silence:
        raise Failed("no STOPPED came") from None
    if found is None or found.type != 0x04:  # noqa: PLR2004 - STOPPED
        message = f"in place of STOPPED came {found or conversation.ending}"
        raise Failed(message)
    parameters = read_stopped(found)
    if conversation.read_end() is Ending.SILENCE:
        raise Failed("the stream went on behind STOPPED", "REQ-STOP-8")
    return parameters


def read_stopped(found: Frame) -> dict[str, str]:
    """The parameters of a STOPPED; raises Failed."""
    try:
        parameters: dict[str, str] = grammar.parse_body(grammar.StoppedBody, found.body)
    except ValueError:
        message = f"the body of STOPPED is no stopped-body: {found.body[:100]!r}"
        raise Failed(message, "REQ-STOP-9") from None
    return parameters


def refuses(play: Play, server: Server) -> bool:
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


@case(
    "stop.drains",
    "an allowed STOP: what others sent is answered, they are closed, no new ones are taken, STOPPED is last",
    "REQ-STOP-6",
    "REQ-STOP-7",
    "REQ-STOP-8",
    "REQ-STOP-9",
    stops=True,
)
def case_drains(play: Play) -> None:
    """Three others: one idle, one with answers on their way, one inside a frame."""
    server = play.peer.server(fresh=True, stop="local")
    idle, busy, partial, stopper = (play.open(server, name) for name in ("idle", "busy", "inside", "stopper"))
    texts = [text_of(2_000, number) for number in range(50)]
    partial.send(frame(6, "p") + header(1, 100) + b"part")
    judge_first(partial)
    for conversation in (idle, busy):
        conversation.send(frame(6, "p"))
        judge_first(conversation)
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
        message = f"the REQUEST before the STOP was answered with {found}"
        raise Failed(message, "REQ-STOP-7")
    parameters = await_stopped(stopper)
    play.ended(stopper.ending, Verdict.PASS)
    if (parameters["closed"], parameters["cut"]) != ("3", "0"):
        message = f"three connections were closed in order, and STOPPED says {parameters}"
        raise Failed(message, "REQ-STOP-8")
    if not refuses(play, server):
        raise Failed("a new connection was served after the drain", "REQ-STOP-6")


def judge_first(conversation: Conversation) -> None:
    """The PONG of the PING that shows that the server has this connection."""
    found = conversation.read_frame()
    if found is None or found.body != b"p":
        message = f"a PING was answered with {found}"
        raise Failed(message, "REQ-PING-1")


@case(
    "stop.answers-what-was-received",
    "frames received in full before the drain are answered, however slowly the client reads them",
    "REQ-STOP-7",
    "REQ-STOP-8",
    stops=True,
)
def case_answers_received(play: Play) -> None:
    """Answers of some MiB wait in the server while another client stops it."""
    server = play.peer.server(fresh=True, stop="local")
    stopper = play.open(server, "stopper")
    other, text, count = have_answers_wait(play, server)
    stopper.send(frame(STOP))
    take_answers(other, text, count)
    other.close()
    await_stopped(stopper)
    play.ended(stopper.ending, Verdict.PASS)


def have_answers_wait(play: Play, server: Server) -> tuple[Conversation, str, int]:
    """A connection with more answers on their way than all buffers hold; the text of each, and their number.

    They are begun, so that the first REQUEST has been received in full; where it is one large REQUEST, it is
    all of them.
    """
    size = min(play.peer.main.max_body or _SMALL, _MUCH)
    text, count = text_of(_SMALL) * (size // _SMALL), _MUCH // size
    conversation = play.open(server, "busy", receive_buffer=1 << 18)
    conversation.send(frame(1, text) * count, reading=False)
    conversation.read_more()
    return conversation, text, count


def take_answers(conversation: Conversation, text: str, count: int) -> None:
    """See that answers come, each of them whole, and FIN behind the last."""
    expected = text[::-1].encode()
    came = 0
    while (found := conversation.read_frame()) is not None:
        came += 1
        if found.type != 2 or found.body != expected:  # noqa: PLR2004 - REPLY
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
    stops=True,
    slow=True,
)
def case_deadline(play: Play) -> None:
    """STOPPED says that one was cut off."""
    timeout = 0.8 * play.times.scale
    server = play.peer.server(fresh=True, stop="local", drain_timeout=timeout)
    stuck = play.open(server, "stuck", receive_buffer=8_192)
    stuck.send(frame(1, text_of(65_536)) * 200, reading=False, within=play.times.answer / 2)
    stopper = play.open(server, "stopper")
    began = time.monotonic()
    stopper.send(frame(STOP))
    parameters = await_stopped(stopper, timeout + play.times.grace)
    elapsed = time.monotonic() - began
    play.ended(stopper.ending, Verdict.PASS)
    if elapsed < timeout - 0.05:
        message = f"STOPPED came after {elapsed:.3f} s although a client still had answers to take"
        raise Failed(message, "REQ-STOP-7")
    if parameters["cut"] != "1":
        message = f"one connection had to be cut off, and STOPPED says {parameters}"
        raise Failed(message, "REQ-STOP-8")


@case(
    "stop.refused-changes-nothing",
    "a refused STOP is answered with 403, and all goes on, for old and new connections",
    "REQ-STOP-3",
    "REQ-STOP-1",
)
def case_refused(play: Play) -> None:
    """Policy ``off``."""
    server = play.peer.server(stop="off")
    refused(play, server, [b"", b"secret", b"x" * 1_000])


@case(
    "stop.wrong-token",
    "policy token: an empty token, a part of it, more than it, other case, are all refused",
    "REQ-STOP-3",
    "REQ-STOP-5",
    "REQ-STOP-1",
    "REQ-SEC-3",
)
def case_wrong_token(play: Play) -> None:
    """None of these is the token."""
    token = play.options.stop_token or "secret"
    server = play.peer.server(stop=f"token:{token}")
    wrong = ["", token[:-1], token + " ", token + "\n", " " + token, token + token, token[:-1] + "\0"]
    wrong.append(token.swapcase() if token.swapcase() != token else token + "x")
    refused(play, server, [text.encode() for text in wrong])
    for conversation in play.conversations:
        if token.encode() in conversation.log.stream("received"):
            raise Failed("the ERROR that refuses a STOP shows the token", "REQ-SEC-3")


def refused(play: Play, server: Server, tokens: list[bytes]) -> None:
    """Each is refused, without a trace of the token, and nothing has changed behind it."""
    with play.open(server, "neighbour") as neighbour:
        for token in tokens:
            with play.open(server) as conversation:
                conversation.send(frame(STOP, token) + frame(1, "ab"))
                judge(conversation, [error(403), reply("ab")], "open", play=play)
            neighbour.send(frame(1, "cd"))
            judge(neighbour, [reply("cd")], "open", play=play)


@case(
    "stop.right-token",
    "policy token: the token stops the server",
    "REQ-STOP-1",
    "REQ-STOP-8",
    stops=True,
)
def case_right_token(play: Play) -> None:
    """A wrong one before it does not."""
    token = play.options.stop_token or "secret"
    server = play.peer.server(fresh=True, stop=f"token:{token}")
    with play.open(server) as conversation:
        conversation.send(frame(STOP, "wrong") + frame(1, "ab"))
        judge(conversation, [error(403), reply("ab")], "open")
        conversation.send(frame(STOP, token))
        await_stopped(conversation)
        play.ended(conversation.ending, Verdict.PASS)


@case(
    "stop.local-unless-told",
    "the policy is local unless the operator chose otherwise: a STOP from this machine is allowed",
    "REQ-STOP-2",
    stops=True,
)
def case_default(play: Play) -> None:
    """A server launched with no word about STOP."""
    server = play.peer.server(fresh=True)
    with play.open(server) as conversation:
        conversation.send(frame(STOP))
        await_stopped(conversation)
        play.ended(conversation.ending, Verdict.PASS)


@case(
    "stop.twice",
    f"of {_STOPPERS} clients that send STOP at once each gets STOPPED, or comes too late and gets only FIN",
    "REQ-STOP-11",
    "REQ-STOP-8",
    "REQ-STOP-9",
    stops=True,
)
def case_twice(play: Play) -> None:
    """Whether a STOP was received before the drain began cannot be known from here; that one was, can."""
    server = play.peer.server(fresh=True, stop="local")
    stoppers = [play.open(server, f"stopper {number}") for number in range(_STOPPERS)]
    for conversation in stoppers:
        conversation.send(frame(6, "p"))
        judge_first(conversation)
    for conversation in stoppers:
        conversation.send(frame(1, "ab") + frame(STOP))
    counts = [count for conversation in stoppers if (count := count_closed(conversation)) is not None]
    if not counts:
        message = f"none of {_STOPPERS} STOPs was answered with STOPPED"
        raise Failed(message, "REQ-STOP-8")
    if max(counts) >= _STOPPERS:
        message = f"there were {_STOPPERS - 1} other connections, and STOPPED says that {max(counts)} ended"
        raise Failed(message, "REQ-STOP-8")
    play.ended(Ending.FIN, Verdict.PASS)
    see_it_end(play, server)


def count_closed(conversation: Conversation) -> int | None:
    """Of one among several STOPs: the connections that its STOPPED counts, None where it came too late."""
    try:
        found = conversation.read_frame()
        if found is not None and found.octets == frame(2, "ba"):
            found = conversation.read_frame()
    except Silence:
        raise Failed("neither STOPPED nor the end of the stream came") from None
    if found is None:
        if conversation.ending is not Ending.FIN or conversation.waiting:
            message = f"a STOP that came too late was met with {conversation.ending}"
            raise Failed(message, "REQ-STOP-7")
        return None
    if found.type != 0x04:  # noqa: PLR2004 - STOPPED
        message = f"a STOP among {_STOPPERS} was answered with {show_frame(found)}"
        raise Failed(message, "REQ-STOP-11")
    parameters = read_stopped(found)
    if conversation.read_end() is not Ending.FIN:
        message = f"behind STOPPED came {conversation.ending}"
        raise Failed(message, "REQ-STOP-8")
    return int(parameters["closed"]) + int(parameters["cut"])


@case(
    "stop.signal",
    "SIGTERM begins the same drain: what was sent is answered, all are closed, and the process ends well",
    "REQ-STOP-6",
    "REQ-STOP-7",
    stops=True,
)
def case_signal(play: Play) -> None:
    """It goes to the process that --launch started; a script must pass it on."""
    if play.options.launch is None:
        raise Skipped("needs a server that the suite launched (--launch), to send it SIGTERM")
    server = play.peer.server(fresh=True)
    assert server.process is not None  # noqa: S101 - launched
    idle, inside = (play.open(server, name) for name in ("idle", "inside"))
    inside.send(frame(6, "p") + header(1, 100) + b"part")
    idle.send(frame(6, "p"))
    for conversation in (idle, inside):
        judge_first(conversation)
    busy, text, count = have_answers_wait(play, server)
    server.process.terminate()
    for conversation in (idle, inside):
        ending = conversation.read_end()
        if ending is not Ending.FIN:
            message = f"SIGTERM ended a connection by {ending}"
            raise Failed(message, "REQ-STOP-7")
    if not refuses(play, server):
        raise Failed("a new connection was served after SIGTERM", "REQ-STOP-6")
    take_answers(busy, text, count)
    play.ended(busy.ending, Verdict.PASS)
    for conversation in (idle, inside, busy):
        conversation.close()
    see_it_end(play, server)


def see_it_end(play: Play, server: Server) -> None:
    """Where the suite launched the server: that its process ends, and with status 0."""
    if server.process is None:
        return
    for conversation in play.conversations:
        conversation.close()
    status = server.process.wait(play.times.launch)
    if status is None:
        message = f"its connections are closed, but after {play.times.launch:.3g} s its process still runs"
        raise Failed(message)
    if status:
        message = f"it drained, but its process ended with status {status}"
        raise NonStrict(message)


@case(
    "stop.discards-what-follows",
    "frames behind an allowed STOP are not answered, and do not spoil the STOPPED",
    "REQ-STOP-10",
    stops=True,
)
def case_discards(play: Play) -> None:
    """Good frames, a fault and garbage."""
    server = play.peer.server(fresh=True, stop="local")
    with play.open(server) as conversation:
        conversation.send(frame(STOP) + frame(1, "ab") * 100 + header(0, 0) + b"\xff" * 10_000)
        await_stopped(conversation)
        play.ended(conversation.ending, Verdict.PASS)
