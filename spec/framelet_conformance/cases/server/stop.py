"""STOP: whose is allowed, and what it is answered with; the vectors about STOP are in ``vectors``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from framelet_conformance.expectations import error, reply
from framelet_conformance.judging.comparing import show_frame
from framelet_conformance.judging.judge import judge
from framelet_conformance.play import case
from framelet_conformance.targets.launch import listens_everywhere
from framelet_conformance.verdicts import Failed, Skipped, Verdict
from framelet_conformance.wire.conversation import Silence
from framelet_conformance.wire.frames import REPLY, STOP, STOPPED, frame, header
from framelet_conformance.wire.log import Ending

from .drain import await_pong, await_stopped, read_stopped, see_it_end

if TYPE_CHECKING:
    from framelet_conformance.play import Play
    from framelet_conformance.targets.setup import ServerUnderTest
    from framelet_conformance.wire.conversation import Conversation

_STOPPERS = 8
_LONG_TOKEN = "a long token, of more octets than what a careless program has room for; " + "secret" * 50


@case(
    "stop.refused-changes-nothing",
    "a refused STOP is answered with 403, and all goes on, for old and new connections",
    "REQ-STOP-3",
    "REQ-STOP-1",
)
def case_refused(play: Play) -> None:
    """Policy ``off``."""
    server = play.target.server(stop="off")
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
    server = play.target.server(stop=f"token:{token}")
    wrong = ["", token[:-1], token + " ", token + "\n", " " + token, token + token, token[:-1] + "\0"]
    wrong.append(token.swapcase() if token.swapcase() != token else token + "x")
    refused(play, server, [text.encode() for text in wrong])
    for conversation in play.conversations:
        if token.encode() in conversation.log.stream("received"):
            raise Failed("the ERROR that refuses a STOP shows the token", "REQ-SEC-3")


@case(
    "stop.odd-token",
    "policy token: tokens that are the right one as far as careless comparisons see are refused",
    "REQ-STOP-3",
    "REQ-STOP-1",
    "REQ-STOP-5",
    "REQ-TEXT-2",
    stops=True,
)
def case_odd_token(play: Play) -> None:
    """With NUL, line ends, beyond ASCII, very long, cut short, or no text; the right one is accepted."""
    token = play.options.stop_token or _LONG_TOKEN
    server = play.target.server(fresh=True, stop=f"token:{token}")
    wide = "".join(chr(ord(letter) + 0xFEE0) if "!" <= letter <= "~" else letter for letter in token)
    wrong = ["", "\0", token + "\0", token + "\0x", "\0" + token, token + "\r\n", "\n" + token]
    wrong += [token + "\u00e9", "\ufeff" + token, token + "\u200b", wide, token[::-1], token[1:]]
    wrong += [token[:size] for size in (1, 8, 16, 32, 64, len(token) - 1)]
    wrong += [token + "x", token + "x" * 60_000, "x" * 65_536]
    refused(play, server, [text.encode() for text in wrong if text != token])
    with play.open(server) as conversation:
        conversation.send(frame(STOP, token.encode() + b"\xff") + frame(STOP, b"\xff" + token.encode()))
        judge(conversation, [error(400)] * 2, "open", play=play)
        conversation.send(frame(STOP, token))
        await_stopped(conversation)
        play.ended(conversation.ending, Verdict.PASS)


def refused(play: Play, server: ServerUnderTest, tokens: list[bytes]) -> None:
    """Each is refused, without a trace of the token, and nothing has changed after it."""
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
    "REQ-SEC-4",
    stops=True,
)
def case_right_token(play: Play) -> None:
    """A wrong one before it does not."""
    token = play.options.stop_token or "secret"
    server = play.target.server(fresh=True, stop=f"token:{token}")
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
    server = play.target.server(fresh=True)
    if server.process is not None and listens_everywhere(server.address[1]):
        raise Skipped("the launched server listens on all addresses, where that policy allows no client")
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
    server = play.target.server(fresh=True, stop="local")
    stoppers = [play.open(server, f"stopper {number}") for number in range(_STOPPERS)]
    for conversation in stoppers:
        conversation.send(frame(6, "p"))
        await_pong(conversation)
    for conversation in stoppers:
        conversation.send(frame(1, "ab") + frame(STOP))
    counts = [count for conversation in stoppers if (count := count_closed(conversation)) is not None]
    if not counts:
        message = f"none of {_STOPPERS} STOPs was answered with STOPPED"
        raise Failed(message, "REQ-STOP-8")
    if max(counts) >= _STOPPERS:
        message = f"there were {_STOPPERS - 1} other connections, but STOPPED says that {max(counts)} ended"
        raise Failed(message, "REQ-STOP-8")
    play.ended(Ending.FIN, Verdict.PASS)
    see_it_end(play, server)


def count_closed(conversation: Conversation) -> int | None:
    """Of one among several STOPs: the connections that its STOPPED counts, None where it came too late."""
    try:
        found = conversation.read_frame()
        if found is not None and found == (REPLY, b"ba"):
            found = conversation.read_frame()
    except Silence:
        raise Failed("neither STOPPED nor the end of the stream came") from None
    if found is None:
        if conversation.ending is not Ending.FIN or conversation.waiting:
            message = f"a STOP that came too late was met with {conversation.ending}"
            raise Failed(message, "REQ-STOP-7")
        return None
    if found.type != STOPPED:
        message = f"a STOP among {_STOPPERS} was answered with {show_frame(found)}"
        raise Failed(message, "REQ-STOP-11")
    parameters = read_stopped(found)
    if conversation.read_end() is not Ending.FIN:
        message = f"{conversation.ending} came after STOPPED"
        raise Failed(message, "REQ-STOP-8")
    return int(parameters["closed"]) + int(parameters["cut"])


@case(
    "stop.discards-what-follows",
    "frames after an allowed STOP are not answered, and do not spoil the STOPPED",
    "REQ-STOP-10",
    stops=True,
)
def case_discards(play: Play) -> None:
    """Good frames, a fault and garbage."""
    server = play.target.server(fresh=True, stop="local")
    with play.open(server) as conversation:
        conversation.send(frame(STOP) + frame(1, "ab") * 100 + header(0, 0) + b"\xff" * 10_000)
        await_stopped(conversation)
        play.ended(conversation.ending, Verdict.PASS)
