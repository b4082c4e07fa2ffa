"""The bugs that a reference peer can be given, and the switch that the peers ask for them.

Each breaks one requirement of SPEC.md and is small enough that an implementer could make it.  A bug in the
code that both peers share stands once for each role.
"""

import argparse
import json
import sys
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Bug:
    """One wrong behaviour of one role."""

    role: str
    name: str
    requirement: str  # the one that it breaks
    description: str


_SERVER = """
little-endian-length          REQ-FRAME-2   reads and writes the length with its least significant octet first
length-includes-header        REQ-FRAME-3   counts the five octets of the header in the length
signed-length                 REQ-FRAME-2   takes a length of 2^31 or more for negative, so for an empty body
length-of-24-bits             REQ-FRAME-2   drops the most significant octet of the length
one-read-one-frame            REQ-FRAME-4   forgets the part of a frame that stands at the end of a read
drops-pipelined-frames        REQ-ORDER-1   takes the first frame of a read and forgets what is behind it
header-in-one-read            REQ-FRAME-4   forgets a header that came in parts
body-in-one-read              REQ-FRAME-6   serves a frame with as much of its body as came with the header
waits-for-next-frame          REQ-ORDER-1   serves a frame only when the next one has begun
empty-body-dropped            REQ-FRAME-5   does not answer a frame with an empty body
maximum-refused               REQ-SIZE-2    refuses a body of exactly the maximum
maximum-plus-one-accepted     REQ-SIZE-2    serves a body one octet above the maximum
limit-of-16-bits              REQ-SIZE-1    refuses every body above 65,535 octets
size-checked-after-body       REQ-SIZE-4    refuses a frame that is too large only when all of its body has come
allocates-announced-length    REQ-SIZE-5    fills memory of the announced length before the body comes
accepts-surrogates            REQ-TEXT-2    takes surrogates for text
accepts-overlong              REQ-TEXT-2    takes overlong forms of two octets for text
accepts-above-10ffff          REQ-TEXT-2    takes code points above U+10FFFF for text
accepts-cut-short             REQ-TEXT-2    drops a sequence that is cut short at the end of the body
checks-only-the-start         REQ-TEXT-2    does not check the text of bodies above 4,096 octets
ill-formed-closes             REQ-TEXT-2    closes the connection behind ERROR 400
repairs-text                  REQ-TEXT-3    puts U+FFFD in the place of ill-formed octets
ignores-ill-formed            REQ-TEXT-3    leaves ill-formed octets out
strips-bom                    REQ-TEXT-4    drops U+FEFF at the start
stops-at-nul                  REQ-TEXT-4    ends the text at U+0000
refuses-noncharacters         REQ-TEXT-4    takes noncharacters for ill-formed
translates-crlf               REQ-TEXT-5    turns CR LF into LF
normalises                    REQ-TEXT-5    brings the text into normal form C
trims                         REQ-TEXT-5    drops white space at both ends
folds-case                    REQ-TEXT-5    turns capital letters into small ones
error-quotes-body             REQ-TEXT-1    quotes the ill-formed octets in ERROR 400
unknown-type-discarded        REQ-TYPE-1    reads and discards unknown critical types
type-00-discarded             REQ-TYPE-1    reads and discards type 00, as if it kept the connection alive
type-checked-after-body       REQ-TYPE-1    refuses a type only when all of the body has come
fatal-not-closed              REQ-ERROR-8   goes on with the next frame behind a fatal ERROR
answers-discarded             REQ-TYPE-2    reads and discards REPLY, STOPPED and PONG
unexpected-type-is-501        REQ-TYPE-2    refuses REPLY, STOPPED and PONG with 501
ignorable-closes              REQ-TYPE-3    refuses ignorable types with 501
ignorable-answered            REQ-TYPE-3    answers ignorable types with 404
ignorable-bf-refused          REQ-TYPE-3    does not take BF for an ignorable type
ignorable-body-not-discarded  REQ-TYPE-3    takes the body of an ignorable frame for frames
ignorable-body-examined       REQ-TYPE-3    answers an ignorable frame with 400 if its body is ill-formed
ignorable-length-of-16-bits   REQ-TYPE-3    keeps the length of an ignorable frame in sixteen bits
discarded-frame-unlimited     REQ-TYPE-4    does not hold ignorable frames to the maximum body size
discarded-frame-untimed       REQ-TYPE-4    does not hold ignorable frames to the frame timeout
application-answered-by-reply REQ-TYPE-5    answers an application frame with a REPLY
no-handler-not-answered       REQ-TYPE-6    does not answer an application type without a handler
same-frame-twice-dropped      REQ-ORDER-1   takes a frame equal to the last one for a repetition, and drops it
frame-256-not-answered        REQ-ORDER-1   does not answer the 256th frame of a connection
frame-65536-not-answered      REQ-ORDER-1   does not answer the 65,536th frame of a connection
pong-sent-twice               REQ-ORDER-1   answers a PING twice
closes-after-one-answer       REQ-ORDER-1   serves one frame on each connection
connection-257-waits          REQ-ORDER-1   leaves the 257th connection of its life waiting
pong-overtakes                REQ-ORDER-2   sends a PONG before the answers that wait
refused-stop-overtakes        REQ-ORDER-2   sends ERROR 403 before the answers that wait
greets-first                  REQ-ORDER-3   sends a HELLO of its own at the start
wants-hello-first             REQ-ORDER-5   refuses a connection that does not begin with HELLO
error-without-space           REQ-ERROR-1   puts a colon behind the code of an ERROR
too-large-is-413              REQ-ERROR-2   sends 413 for a frame that is too large
timeout-codes-swapped         REQ-ERROR-2   sends 505 for the frame timeout, and 504 for the idle timeout
size-before-type              REQ-ERROR-3   looks at the size of a frame before its type
ping-size-before-text         REQ-ERROR-3   looks at the size of a PING before its text
451-before-400                REQ-ERROR-3   sends 451 for an ill-formed frame above the client's max-body
451-before-413                REQ-ERROR-3   sends 451 for a PING above the client's max-body
451-before-422                REQ-ERROR-3   sends 451 for a HELLO above the client's max-body
451-before-404                REQ-ERROR-3   sends 451 for a frame without a handler above the client's max-body
451-before-403                REQ-ERROR-3   sends 451 for a refused STOP above the client's max-body
version-before-form           REQ-ERROR-3   looks at the version of a HELLO before its form
recoverable-closes            REQ-ERROR-4   closes the connection behind every ERROR
error-drops-rest-of-read      REQ-ERROR-4   forgets the rest of a read behind a recoverable ERROR
fatal-drops-answers           REQ-ERROR-5   forgets the answers owed when it sends a fatal ERROR
two-fatal-errors              REQ-ERROR-6   sends each fatal ERROR twice
goes-on-behind-fatal          REQ-ERROR-7   answers the frames that it has behind the fault, then closes
does-not-linger               REQ-ERROR-8   closes both directions behind the last answer, unread input or not
resets-behind-fatal           REQ-ERROR-8   resets the connection behind a fatal ERROR
no-fin-behind-fatal           REQ-ERROR-8   does not close its side behind a fatal ERROR until the linger timeout
lingers-for-ever              REQ-ERROR-8   waits for the client to close without a deadline
no-linger-behind-timeout      REQ-ERROR-8   closes both directions at once behind ERROR 504 and 505
client-error-refused          REQ-ERROR-9   answers an ERROR with ERROR 502
client-error-ignored          REQ-ERROR-9   reads and discards an ERROR
client-error-awaited          REQ-ERROR-9   waits for the body of an ERROR before it closes
error-text-too-long           REQ-ERROR-14  sends ERROR bodies of more than 1,024 octets
condition-is-460              REQ-ERROR-15  sends 460, a code of applications, where a frame fails
ping-limit-63                 REQ-PING-1    refuses a PING of 64 octets
pong-cut-short                REQ-PING-1    sends back the first 32 octets of a PING
pong-reversed                 REQ-PING-1    reverses the body of a PING
pong-cut-at-nul               REQ-PING-1    sends back a PING up to its first NUL
ping-limit-65                 REQ-PING-2    answers a PING of 65 octets
ping-limit-in-characters      REQ-PING-2    counts the scalar values of a PING, not its octets
ping-too-large-closes         REQ-PING-2    closes the connection behind ERROR 413
hello-without-max-body        REQ-HELLO-1   does not state its max-body
hello-unknown-key-refused     REQ-HELLO-2   refuses a HELLO with a key that it does not know
hello-key-twice-accepted      REQ-HELLO-3   takes the last value of a key that stands twice
hello-any-max-body            REQ-HELLO-3   takes a max-body out of range
hello-any-length              REQ-HELLO-3   takes a HELLO of more than 1,024 octets
hello-any-case                REQ-HELLO-3   takes capital letters in a HELLO
hello-spaces-loose            REQ-HELLO-3   takes several spaces, and spaces at the ends of a HELLO
hello-version-padded          REQ-HELLO-3   takes zeros before the version
hello-any-version             REQ-HELLO-4   answers a HELLO of any version as one of version 1
hello-version-of-8-bits       REQ-HELLO-4   keeps the version in eight bits, so that 257 is 1
hello-version-of-16-bits      REQ-HELLO-4   keeps the version in sixteen bits, so that 65,537 is 1
hello-refused-limit-kept      REQ-HELLO-4   takes the max-body of a HELLO of another version
hello-limit-ignored           REQ-HELLO-5   sends answers above the client's max-body
hello-limit-exclusive         REQ-HELLO-5   sends 451 in place of an answer of exactly the client's max-body
hello-limit-signed            REQ-HELLO-5   takes a max-body of 2^31 or more for negative
hello-limit-of-16-bits        REQ-HELLO-5   keeps max-body in sixteen bits
hello-limit-survives          REQ-HELLO-5   keeps max-body from one connection to the next
hello-limit-never-lifted      REQ-HELLO-6   keeps max-body when a later HELLO has none
hello-only-once               REQ-HELLO-6   refuses a second HELLO
client-sets-timeouts          REQ-HELLO-8   keeps the timeouts that a client's HELLO states
stop-off-obeyed               REQ-STOP-3    obeys every STOP where the policy is off
stop-any-token                REQ-STOP-3    obeys a STOP with a wrong token
stop-token-prefix             REQ-STOP-3    obeys a STOP with the first octets of the token
stop-empty-token              REQ-STOP-5    obeys a STOP with an empty token
refused-stop-closes           REQ-STOP-3    closes the connection of a STOP that it refuses
refused-stop-ends-listening   REQ-STOP-3    stops accepting connections when it refuses a STOP
drain-goes-on-accepting       REQ-STOP-6    accepts connections while it drains
stop-without-drain            REQ-STOP-7    sends STOPPED and exits at once
signal-without-drain          REQ-STOP-7    exits at once at SIGTERM
drain-drops-answers           REQ-STOP-7    closes the other connections without the answers owed
drain-forgets-system          REQ-STOP-7    answers in a drain only what it had read from the system
stopped-too-early             REQ-STOP-8    sends STOPPED before the other connections have ended
stopped-never-sent            REQ-STOP-8    closes without STOPPED
stopped-waits-for-close       REQ-STOP-8    sends STOPPED only when the other clients have closed, too
stopped-malformed             REQ-STOP-9    puts a comma between the parameters of STOPPED
frames-behind-stop-answered   REQ-STOP-10   answers frames that came with a STOP, behind it
second-stop-refused           REQ-STOP-11   answers a further STOP with 403
no-drain-deadline             REQ-STOP-12   waits without a deadline for clients that do not read
end-drops-answers             REQ-CLOSE-1   forgets the answers owed at the end of the stream
end-not-answered-by-end       REQ-CLOSE-1   does not close its side when the client has closed its own
linger-cuts-answers           REQ-CLOSE-1   cuts off answers that are not taken for the linger timeout
part-answered-at-end          REQ-CLOSE-2   serves the part of a frame before the end of the stream
part-refused-at-end           REQ-CLOSE-2   sends ERROR 506 at an end of the stream inside a frame
closes-inside-frame           REQ-CLOSE-5   begins a frame at the end of the stream, and closes inside it
no-frame-deadline             REQ-TIME-1    waits without a deadline for the rest of a frame
frame-deadline-from-header    REQ-TIME-1    counts the frame timeout from the end of the header
frame-deadline-anew-at-body   REQ-TIME-2    counts the frame timeout anew from the end of the header
octets-extend-frame-deadline  REQ-TIME-2    counts the frame timeout from the octets that came last
no-idle-timeout               REQ-TIME-3    never ends an idle connection
idle-closes-silently          REQ-TIME-3    closes an idle connection without ERROR 505
idle-in-spite-of-ping         REQ-TIME-3    does not count the idle timeout anew from a PING
idle-in-spite-of-ignorable    REQ-TIME-3    does not count the idle timeout anew from an ignorable frame
idle-from-frame-start         REQ-TIME-3    counts the idle timeout from the first octet of a frame
idle-inside-frame             REQ-TIME-4    applies the idle timeout inside a frame
idle-while-owing              REQ-TIME-4    applies the idle timeout while answers wait to be taken
no-write-timeout              REQ-TIME-5    waits without a deadline for a client that takes nothing
deadlines-early               REQ-TIME-9    ends a frame or an idle connection after 70 % of its timeout
lingers-half                  REQ-TIME-9    lingers for half of the linger timeout
write-timeout-early           REQ-TIME-9    cuts a client off after 40 % of the write timeout
frame-clock-while-unread      REQ-TIME-8    goes on counting the frame timeout while it does not read
unbounded-answers             REQ-FLOW-1    keeps any number of unsent answers
never-reads-again             REQ-FLOW-3    does not read again after it stopped for unsent answers
too-many-closed-silently      REQ-FLOW-6    closes a connection too many without ERROR 507
one-connection-too-many       REQ-FLOW-6    serves one connection more than it allows
refused-connections-count     REQ-FLOW-6    counts those that it has refused until they close
lingering-do-not-count        REQ-FLOW-6    does not count connections that linger
reset-keeps-its-place         REQ-FLOW-6    counts connections that were reset for ever
connections-of-8-bits         REQ-FLOW-6    allows 255 connections at most, whatever it is told
bound-of-200-mib              REQ-FLOW-8    keeps up to 200 MiB of unsent answers
reverses-octets               REQ-REV-1     reverses the octets of the text
reverses-utf16                REQ-REV-1     reverses the UTF-16 code units of the text
reverses-graphemes            REQ-REV-1     keeps combining marks behind their letters, and CR LF together
reverses-by-chunks            REQ-REV-1     reverses each 1,024 characters of a long text by themselves
right-length-wrong-text       REQ-REV-1     answers with a text that has only the length right
empty-reverse-is-nul          REQ-REV-2     reverses the empty text into U+0000
error-discloses-path          REQ-SEC-2     names its source file in each ERROR
error-quotes-token            REQ-SEC-3     quotes the token of a STOP in ERROR 403
token-file-line-end           REQ-SEC-4     takes the line end of a token file for part of the token
stopped-forgets-silent        REQ-DRAIN-1   does not count connections on which nothing was asked
stopped-counts-lingering      REQ-DRAIN-1   counts connections that it had closed before the drain
stopped-counts-askers         REQ-DRAIN-1   counts the connections whose STOP it allowed
stopped-swaps-counts          REQ-DRAIN-1   states the connections cut off as closed, and those closed as cut off
sigint-without-drain          REQ-DRAIN-3   exits at once at SIGINT
process-stays                 REQ-DRAIN-4   drains, and does not exit
"""

_CONCURRENT = """
answers-as-they-finish        REQ-ORDER-2   sends each answer as soon as it is ready
refusal-in-the-oldest-place   REQ-ORDER-2   answers the oldest frame under way with the refusal of a STOP
end-cancels-answers           REQ-CLOSE-1   forgets at the end of the stream the answers that are being made
fault-cancels-answers         REQ-ERROR-5   forgets at a fault the answers that are being made
drain-cancels-answers         REQ-STOP-7    forgets in a drain the answers that are being made
answers-made-late             REQ-HELLO-5   holds answers to the limit that is in force when they are ready
any-number-under-way          REQ-FLOW-1    takes in any number of frames, whatever is unsent
stopped-before-answers        REQ-STOP-8    sends STOPPED while the answers to others are being made
"""

_CLIENT = """
little-endian-length          REQ-FRAME-2   reads and writes the length with its least significant octet first
length-includes-header        REQ-FRAME-3   counts the five octets of the header in the length
newline-behind-frames         REQ-FRAME-1   sends LF behind each frame
signed-length                 REQ-SIZE-2    takes a length of 2^31 or more for negative, so for an empty body
one-read-one-frame            REQ-FRAME-4   forgets the part of a frame that stands at the end of a read
coalesced-answers-dropped     REQ-FRAME-4   takes the first answer of a read and forgets what is behind it
inbox-survives                REQ-FRAME-4   keeps part of a frame from one connection to the next
empty-body-is-end             REQ-FRAME-5   takes an empty answer for the end of the stream
no-maximum                    REQ-SIZE-2    takes answers of any size
allocates-announced-length    REQ-SIZE-5    sets memory of the announced length aside before the body comes
size-checked-after-body       REQ-SIZE-4    refuses an answer that is too large only when all of it has come
sends-too-large               REQ-SIZE-6    sends bodies above the maximum that the server announced
sends-ill-formed              REQ-TEXT-1    sends bodies that are not well-formed UTF-8
ill-formed-repaired           REQ-TEXT-3    puts U+FFFD in the place of ill-formed octets
ill-formed-delivered          REQ-TEXT-6    delivers an answer that is not well-formed UTF-8
strips-bom                    REQ-TEXT-4    drops U+FEFF at the start of an answer
normalises                    REQ-TEXT-5    brings answers into normal form C
trims                         REQ-TEXT-5    drops white space at both ends of an answer
ignorable-refused             REQ-TYPE-3    closes the connection at a frame of an ignorable type
ignorable-takes-a-place       REQ-TYPE-3    takes a frame of an ignorable type for an answer
ignorable-bf-refused          REQ-TYPE-3    does not take BF for an ignorable type
unknown-critical-skipped      REQ-TYPE-7    reads and discards unknown critical types
client-types-skipped          REQ-TYPE-7    reads and discards REQUEST, STOP and PING
sends-any-type                REQ-TYPE-8    sends a frame of any type that it is asked for
newest-answered-first         REQ-ORDER-6   gives an answer to the newest unanswered frame
answers-taken-by-type         REQ-ORDER-6   gives an answer to the oldest unanswered frame of the fitting type
answer-65536-dropped          REQ-ORDER-6   loses what came with the 65,536th answer
unanswered-survive            REQ-ORDER-6   awaits answers of the connection before
answer-type-unchecked         REQ-ORDER-7   takes any answer for any frame
unasked-answer-ignored        REQ-ORDER-7   reads and discards an answer while none is awaited
recoverable-is-fatal          REQ-ERROR-12  ends the connection at a recoverable ERROR
fatal-is-recoverable          REQ-ERROR-12  takes a fatal ERROR for an answer, and goes on
fatal-answers-oldest          REQ-ERROR-12  takes a fatal ERROR for the answer to the oldest unanswered frame
fatal-not-heeded              REQ-ERROR-12  waits for further answers behind a fatal ERROR
unknown-recoverable-is-fatal  REQ-ERROR-10  takes an unknown 4xx code for fatal
unknown-fatal-is-recoverable  REQ-ERROR-10  takes an unknown 5xx code for recoverable
unknown-code-is-400           REQ-ERROR-16  hands on 400 for a 4xx code that it does not know
error-form-unchecked          REQ-ERROR-11  takes any three digits at the start for an ERROR
error-length-unchecked        REQ-ERROR-11  takes an ERROR of more than 1,024 octets
error-length-in-characters    REQ-ERROR-11  counts the scalar values of an ERROR, not its octets
error-text-decides            REQ-ERROR-13  takes an ERROR for fatal if its text says so
pong-compared-to-nul          REQ-PING-3    compares a PONG with its PING up to the first NUL
pong-unchecked                REQ-PING-3    takes a PONG with any body
hello-unchecked               REQ-HELLO-7   takes a malformed HELLO
hello-any-version             REQ-HELLO-7   takes a HELLO of any version
hello-unknown-key-refused     REQ-HELLO-2   refuses a HELLO with a key that it does not know
hello-version-of-16-bits      REQ-HELLO-7   keeps the version in sixteen bits, so that 65,537 is 1
hello-without-limit-refused   REQ-HELLO-9   closes at a HELLO that states no max-body
hello-without-limit-lifts     REQ-HELLO-9   forgets an earlier limit at a HELLO that states none
hello-limit-signed            REQ-SIZE-6    takes a max-body of 2^31 or more for negative
limit-survives                REQ-SIZE-6    keeps the max-body of a server from one connection to the next
stopped-limit-31-bits         REQ-STOP-9    refuses a count of 2^31 or more in STOPPED
stopped-unchecked             REQ-STOP-14   takes a malformed STOPPED
stopped-any-length            REQ-STOP-17   takes a STOPPED of more than 1,024 octets
end-answers-rest              REQ-CLOSE-3   reports an empty answer for each frame left at the end of the stream
part-taken-at-end             REQ-CLOSE-4   takes part of a frame before the end of the stream for an answer
no-answer-timeout             REQ-TIME-6    waits without a deadline for an answer
goes-on-after-timeout         REQ-TIME-6    takes a late answer for the next frame's
octets-extend-wait            REQ-TIME-6    waits anew with each octet that comes
ignorable-extends-wait        REQ-TIME-6    waits anew with each ignorable frame
wait-counts-from-first        REQ-TIME-9    counts the wait for a later answer from the first frame
gives-up-early                REQ-TIME-9    gives up after 70 % of the time that it is to wait
writes-before-it-reads        REQ-FLOW-4    reads no answer while it has frames to write
"""


def _read(role: str, table: str) -> list[Bug]:
    return [Bug(role, *line.split(maxsplit=2)) for line in table.strip().splitlines()]


BUGS = _read("server", _SERVER) + _read("concurrent", _CONCURRENT) + _read("client", _CLIENT)

_active: set[str] = set()


def bug(name: str) -> bool:
    """Whether the peer was started with this bug."""
    return name in _active


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that both peers have."""
    parser.add_argument(
        "--bug", action="append", default=[], metavar="NAME", help="behave wrongly in this way"
    )
    parser.add_argument("--list-bugs", action="store_true", help="list the bugs and exit")
    parser.add_argument("--json", action="store_true", help="list them as JSON")


def use_options(role: str, given: dict[str, Any]) -> bool:
    """Take these options out of `given` and obey them; True where the list was all that was asked for."""
    names, listing, as_json = given.pop("bug"), given.pop("list_bugs"), given.pop("json")
    known = [each for each in BUGS if each.role == role]
    unknown = set(names) - {each.name for each in known}
    if unknown:
        raise SystemExit(f"no such bug of a {role}: {', '.join(sorted(unknown))}")
    _active.update(names)
    if listing and as_json:
        sys.stdout.write(json.dumps([asdict(each) for each in known], indent=1) + "\n")
    elif listing:
        for each in known:
            sys.stdout.write(f"{each.name:29} {each.requirement:13} {each.description}\n")
    return bool(listing)
