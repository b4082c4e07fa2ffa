"""What a client makes of single answers: types, sizes, text, and the forms that bodies must have."""

from __future__ import annotations

import functools
import json
from typing import TYPE_CHECKING

import pytest

from framelet_conformance.judging.judge import octets
from framelet_conformance.play import case
from framelet_conformance.specification import data_path
from framelet_conformance.targets.adapter import perform
from framelet_conformance.targets.scripted_server import asked
from framelet_conformance.wire.frames import SAMPLE, frame, header

from .shapes import ANSWERS, PONG, REPLY, REQUEST, STOPPED, body, error, exchange, refused, taken

if TYPE_CHECKING:
    from framelet_conformance.play import Play

_MIN_MAX = 65_536
_DEFAULT_MAX = 16_777_216
_ERROR, _HELLO = 0x05, 0x08

# Types.

_NEVER = (0x00, 0x16, 0x47, 0x50, 0x53)
_CRITICAL = tuple(octet for octet in range(0x09, 0x80) if octet not in _NEVER)


@pytest.mark.parametrize(
    "types",
    [
        pytest.param(types, marks=case(f"client.type.{name}", title, "REQ-TYPE-7", "REQ-STATE-1"))
        for name, title, types in (
            ("never-assigned", "it closes at each type that is never assigned", _NEVER),
            ("critical", "it closes at each unassigned critical type", _CRITICAL),
            ("client-only", "it closes at each type that only a client sends", (0x01, 0x03, 0x06)),
        )
    ],
)
def case_refused_types(play: Play, types: tuple[int, ...]) -> None:
    """Each in place of a REPLY, with the body that the REPLY would have."""
    perform(play, *(refused(REQUEST, frame(octet, "ba")) for octet in types))


@case(
    "client.type.refused-at-header",
    "it closes at the header of a critical type, however long the body is said to be",
    "REQ-TYPE-7",
)
def case_refused_at_header(play: Play) -> None:
    """No octet of the body comes."""
    perform(play, *(refused(REQUEST, header(octet, 0x7FFF_FFFF)) for octet in (0x00, 0x09, 0x7F)))


@case(
    "client.type.ignorable",
    "it discards all 64 ignorable types, whatever they hold",
    "REQ-TYPE-3",
    "REQ-TYPE-4",
)
def case_ignorable(play: Play) -> None:
    """Before, between and behind answers; empty, ill-formed, and full of what looks like frames."""
    bodies = [b"", b"\xff", frame(REPLY, "no") * 3, frame(_ERROR, "500 no")]
    noise = [frame(octet, bodies[octet % len(bodies)]) for octet in range(0x80, 0xC0)]
    answers = [(asked("REQUEST", f"{n}"), frame(REPLY, f"{n}"), body(REPLY, f"{n}")) for n in range(64)]
    perform(
        play,
        exchange((ask, one + answer, want) for one, (ask, answer, want) in zip(noise, answers, strict=True)),
    )


@case(
    "client.type.other-application",
    "it closes at an application frame of another type than it asked with",
    "REQ-ORDER-7",
)
def case_other_application(play: Play) -> None:
    """All 63 others."""
    perform(play, *(refused(asked("C0", "ab"), frame(octet, "ab")) for octet in range(0xC1, 0x100)))


_KINDS = {"reply": REPLY, "pong": PONG, "hello": _HELLO, "stopped": STOPPED, "application": 0xC0}


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(
            kind,
            marks=case(
                f"client.type.wrong-for-{kind}", f"it closes at each answer but {kind}", "REQ-ORDER-7"
            ),
        )
        for kind in _KINDS
    ],
)
def case_wrong_answer(play: Play, kind: str) -> None:
    """Each other kind of answer, well-formed by itself, in its place."""
    others = [name for name in _KINDS if name != kind]
    ask = ANSWERS[kind][0]
    perform(play, *(refused(ask, frame(ANSWERS[name][1], ANSWERS[name][2])) for name in others))


# Text.


@functools.cache
def ill_formed() -> dict[str, dict[str, bytes]]:
    """The ill-formed texts of the vectors, by class and name."""
    document = json.loads((data_path("vectors") / "utf8.json").read_text(encoding="utf-8"))
    found: dict[str, dict[str, bytes]] = {}
    for vector in document["vectors"]:
        sent = octets(vector["send"])
        alone = not vector["valid"] and sent[0] == 1 and len(sent) == 5 + int.from_bytes(sent[1:5], "big")
        if alone and [item.get("code") for item in vector["expect"]] == [400]:
            words = vector["id"].removeprefix("utf8-").split("-")
            kind = "-".join(words[:-1]) or words[0]
            found.setdefault(kind, {})[vector["id"]] = sent[5:]
    return found


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(
            kind,
            marks=case(
                f"client.utf8.{kind}",
                f"it closes at an ill-formed REPLY: {kind.replace('-', ' ')}, {len(texts)} alone",
                "REQ-TEXT-6",
                "REQ-TEXT-3",
            ),
        )
        for kind, texts in ill_formed().items()
    ],
)
def case_ill_formed(play: Play, kind: str) -> None:
    """Each text alone, on a connection of its own."""
    perform(play, *(refused(REQUEST, frame(REPLY, text)) for text in ill_formed()[kind].values()))


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(
            kind,
            marks=case(f"client.utf8.in-{kind}", f"it closes at an ill-formed text in {kind}", "REQ-TEXT-6"),
        )
        for kind in ("pong", "hello", "stopped", "application", "error")
    ],
)
def case_ill_formed_elsewhere(play: Play, kind: str) -> None:
    """The same in the other answers, inside and at the end."""
    ask, octet, text = ANSWERS[kind]
    bad = [b"\xff", b"\xc3", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80"]
    perform(play, *(refused(ask, frame(octet, text.encode() + end)) for end in bad))


@case(
    "client.utf8.well-formed",
    "it delivers all that is well-formed, octet for octet",
    "REQ-TEXT-4",
    "REQ-TEXT-5",
)
def case_well_formed(play: Play) -> None:
    """The ends of each range, and what careless programs change."""
    edges = (
        "\0\x7f\x80\u07ff\u0800\u0fff\u1000\ud7ff\ue000\ufffd\ufffe\uffff"
        "\U00010000\U0003ffff\U00040000\U0010ffff"
    )
    texts = [
        *edges,
        SAMPLE,
        "\ufeff",
        "\r\n",
        " ",
        "e\u0301",
        "\u212b",
        "\u1100\u1161",
        "\u0130\u00df",
        "\u202e\u2028",
    ]
    perform(play, exchange((REQUEST, frame(REPLY, text), body(REPLY, text)) for text in texts))


# Forms.

_HELLOS = {
    "key-twice": "framelet/1 max-body=65536 max-body=65536",
    "unknown-key-twice": "framelet/1 a=1 max-body=65536 a=1",
    "too-small": "framelet/1 max-body=65535",
    "too-large": "framelet/1 max-body=4294967296",
    "leading-zero": "framelet/1 max-body=065536",
    "no-number": "framelet/1 max-body=many",
    "timeout-no-number": "framelet/1 max-body=65536 idle-timeout-ms=soon",
    "trailing-space": "framelet/1 max-body=65536 ",
    "leading-space": " framelet/1 max-body=65536",
    "nul": "framelet/1 max-body=65536\0",
    "bom": "\ufeffframelet/1 max-body=65536",
    "no-value": "framelet/1 max-body",
    "capital-key": "framelet/1 Max-Body=65536",
    "long-key": f"framelet/1 max-body=65536 {'k' * 33}=1",
    "version-leading-zero": "framelet/01 max-body=65536",
    "version-10": "framelet/10 max-body=65536",
    "version-six-digits": "framelet/100000 max-body=65536",
    "too-long": "framelet/1 max-body=65536 x=" + "y" * 1_000,
}
_STOPPEDS = {
    "empty": "",
    "no-cut": "closed=0",
    "no-closed": "cut=0",
    "key-twice": "closed=0 cut=0 cut=0",
    "unknown-key-twice": "closed=0 cut=0 a=1 a=1",
    "leading-zero": "closed=00 cut=0",
    "negative": "closed=-1 cut=0",
    "no-number": "closed=x cut=0",
    "two-spaces": "closed=0  cut=0",
    "trailing-space": "closed=0 cut=0 ",
    "newline": "closed=0 cut=0\n",
    "words": "stopped",
}
_ERRORS = {
    "no-space": "400",
    "colon": "400: x",
    "five": "40000 x",
    "class-1": "100 x",
    "class-9": "900 x",
    "arabic-digits": "\u0664\u0660\u0660 x",
    "nul": "400\0x",
    "newline-first": "\n400 x",
}


def _forms(kind: str, bodies: dict[str, str], title: str, requirement: str) -> list[object]:
    ask, octet, _ = ANSWERS[kind]
    return [
        pytest.param(
            refused(ask, frame(octet, text)),
            marks=case(
                f"client.form.{kind}-{name}", f"it closes at {title}: {name.replace('-', ' ')}", requirement
            ),
        )
        for name, text in bodies.items()
    ]


@pytest.mark.parametrize(
    "scenario",
    [
        *_forms("hello", _HELLOS, "a HELLO of another form", "REQ-HELLO-7"),
        *_forms("stopped", _STOPPEDS, "a STOPPED of another form", "REQ-STOP-14"),
        *_forms("error", _ERRORS, "an ERROR of another form", "REQ-ERROR-11"),
        *(
            pytest.param(
                refused(asked("PING", "x\u20acy"), frame(PONG, text)),
                marks=case(
                    f"client.form.pong-{name}", f"it closes at a PONG that differs: {name}", "REQ-PING-3"
                ),
            )
            for name, text in (
                ("empty", ""),
                ("shorter", "x\u20ac"),
                ("longer", "x\u20acy "),
                ("reversed", "y\u20acx"),
                ("case", "X\u20acy"),
                ("other", "xxxxx"),
            )
        ),
    ],
)
def case_forms(play: Play, scenario: object) -> None:
    """A body of another form in the right type."""
    perform(play, scenario)  # type: ignore[arg-type]  # pytest's parameters have no types


@case("client.form.hello-good", "it takes every HELLO that is well-formed", "REQ-HELLO-2", "REQ-HELLO-7")
def case_good_hellos(play: Play) -> None:
    """Keys it knows, keys it does not know, none at all but max-body; the largest and the smallest."""
    ask, octet, _ = ANSWERS["hello"]
    bodies = [
        ("65536", "framelet/1 max-body=65536"),
        ("4294967295", "framelet/1 max-body=4294967295"),
        ("70000", "framelet/1 x=~! max-body=70000 frame-timeout-ms=0 idle-timeout-ms=9999999999"),
        ("70000", f"framelet/1 {'k' * 32}=1 a-9=b max-body=70000"),
        ("70000", "framelet/1 max-body=70000 x=" + "y" * 994),
    ]
    perform(
        play,
        *(
            taken(ask, frame(octet, text), {"type": "HELLO", "parameters": {"max-body": size}})
            for size, text in bodies
        ),
    )


@case(
    "client.error.all-recoverable",
    "it takes each code from 400 to 499 as recoverable",
    "REQ-ERROR-10",
    "REQ-ERROR-12",
)
def case_recoverable(play: Play) -> None:
    """All hundred, each in place of the answer to one frame."""
    perform(
        play,
        exchange((REQUEST, frame(_ERROR, f"{code} text {code}"), error(code)) for code in range(400, 500)),
    )


@case("client.error.all-fatal", "it takes each code from 500 to 599 as fatal", "REQ-ERROR-10", "REQ-ERROR-12")
def case_fatal(play: Play) -> None:
    """All hundred, each on a connection of its own."""
    perform(play, *(refused(REQUEST, frame(_ERROR, f"{code} 400 x"), fatal=code) for code in range(500, 600)))
