"""Vectors on well-formed UTF-8: each class of table 3-7 of the Unicode Standard, alone (section 4)."""

from __future__ import annotations

from .build import HELLO, PING, STOP, Vector, error, frame, ping, pong, reply, request, server

BAD = "REQ-TEXT-2 REQ-TEXT-3"

WELL_FORMED = {
    "U+0000": "00",
    "U+0001": "01",
    "U+007F": "7f",
    "U+0080": "c280",
    "U+00BF": "c2bf",
    "U+00C0": "c380",
    "U+07FF": "dfbf",
    "U+0800": "e0a080",
    "U+0FFF": "e0bfbf",
    "U+1000": "e18080",
    "U+CFFF": "ecbfbf",
    "U+D000": "ed8080",
    "U+D7FF": "ed9fbf",
    "U+E000": "ee8080",
    "U+EFFF": "eebfbf",
    "U+F000": "ef8080",
    "U+FFFD": "efbfbd",
    "U+FFFE": "efbfbe",
    "U+FFFF": "efbfbf",
    "U+10000": "f0908080",
    "U+1FFFF": "f09fbfbf",
    "U+3FFFF": "f0bfbfbf",
    "U+40000": "f1808080",
    "U+FFFFF": "f3bfbfbf",
    "U+100000": "f4808080",
    "U+10FFFF": "f48fbfbf",
}
"""The ends of each row of the table."""

OVERLONG = {
    "U+0000 in two octets": "c080",
    "U+002F in two octets": "c0af",
    "U+003F in two octets": "c0bf",
    "U+0040 in two octets": "c180",
    "U+007F in two octets": "c1bf",
    "U+0000 in three octets": "e08080",
    "U+002F in three octets": "e080af",
    "U+0080 in three octets": "e08280",
    "U+07FF in three octets": "e09fbf",
    "U+0000 in four octets": "f0808080",
    "U+002F in four octets": "f08080af",
    "U+0800 in four octets": "f080a080",
    "U+D800 in four octets": "f08da080",
    "U+FFFF in four octets": "f08fbfbf",
    "U+0000 in five octets": "f880808080",
    "U+10FFFF in five octets": "f8848fbfbf",
    "U+0000 in six octets": "fc8080808080",
}

SURROGATES = {
    "U+D800, the first high one": "eda080",
    "U+D801": "eda081",
    "U+DB7F": "edadbf",
    "U+DB80": "edae80",
    "U+DBFF, the last high one": "edafbf",
    "U+DC00, the first low one": "edb080",
    "U+DF80": "edbe80",
    "U+DFFF, the last low one": "edbfbf",
    "the pair of U+10000 (CESU-8)": "eda080edb080",
    "the pair of U+1F600 (CESU-8)": "eda0bdedb880",
    "the pair of U+10FFFF (CESU-8)": "edafbfedbfbf",
    "a pair in the wrong order": "edb080eda080",
    "two high ones": "eda080eda080",
}

TOO_HIGH = {
    "U+110000": "f4908080",
    "U+110001": "f4908081",
    "U+13FFFF": "f4bfbfbf",
    "U+140000": "f5808080",
    "U+1FFFFF": "f7bfbfbf",
    "U+200000 in five octets": "f888808080",
    "U+3FFFFFF in five octets": "fbbfbfbfbf",
    "U+4000000 in six octets": "fc8480808080",
    "U+7FFFFFFF in six octets": "fdbfbfbfbfbf",
}

TRUNCATED = (
    *("c2", "c3", "df"),
    *("e0", "e0a0", "e0bf", "e1", "e180", "ec", "ecbf", "ed", "ed80", "ed9f", "ee", "ee80", "ef", "efbb"),
    *("efbf", "f0", "f090", "f09080", "f0bf", "f0bfbf", "f1", "f180", "f18080", "f3", "f3bf", "f3bfbf"),
    *("f4", "f480", "f48080", "f48f", "f48fbf"),
)
"""Each lead octet with fewer continuations than it calls for; each start is well-formed so far."""

WRONG_SECOND = {
    # the octets next to the range that the row allows, with the rest in order
    "c2": ("7f", "c0", ""),
    "df": ("7f", "c0", ""),
    "e0": ("9f", "c0", "80"),
    "e1": ("7f", "c0", "80"),
    "ec": ("7f", "c0", "80"),
    "ed": ("7f", "a0", "80"),
    "ee": ("7f", "c0", "80"),
    "ef": ("7f", "c0", "80"),
    "f0": ("8f", "c0", "8080"),
    "f1": ("7f", "c0", "8080"),
    "f3": ("7f", "c0", "8080"),
    "f4": ("7f", "90", "8080"),
}

WRONG_LATER = (
    *("e0a07f", "e0a0c0", "e1807f", "e180c0", "ed9f7f", "ed9fc0", "efbf7f", "efbfc0"),
    *("f0907f80", "f090c080", "f090807f", "f09080c0", "f1807f80", "f180c080", "f180807f", "f18080c0"),
    *("f48f7f80", "f48fc080", "f48fbf7f", "f48fbfc0"),
)

NEVER_AN_OCTET = ("c0", "c1", *(f"{octet:02x}" for octet in range(0xF5, 0x100)))

OTHER_ENCODINGS = {
    "latin-1": "e9",
    "latin-1-word": "63616ce9",
    "windows-1252": "93686993",
    "utf-16-be-mark": "feff0061",
    "utf-16-le-mark": "fffe6100",
    "modified-utf8-nul": "61c08062",
    "shift-jis": "83658358",
}


def _bad(group: str, octets: str, title: str) -> Vector:
    """A REQUEST with an ill-formed body."""
    return server(
        f"utf8-{group}-{octets}",
        title,
        BAD,
        [request(bytes.fromhex(octets))],
        [error(400)],
        valid=False,
    )


UTF8 = [
    *(
        server(
            f"utf8-well-formed-{octets}",
            f"{name}, well-formed",
            "REQ-TEXT-4 REQ-REV-1",
            [request(bytes.fromhex(octets))],
            [reply(bytes.fromhex(octets))],
        )
        for name, octets in WELL_FORMED.items()
    ),
    server(
        "utf8-well-formed-all-ends",
        "the ends of all rows of the table in one text",
        "REQ-TEXT-4 REQ-REV-1",
        [request(bytes.fromhex("".join(WELL_FORMED.values())))],
        [reply(bytes.fromhex("".join(reversed(WELL_FORMED.values()))))],
    ),
    *(_bad("lone", f"{octet:02x}", f"continuation {octet:02X} alone") for octet in range(0x80, 0xC0)),
    *(_bad("overlong", octets, f"overlong: {name}") for name, octets in OVERLONG.items()),
    *(_bad("surrogate", octets, f"surrogate: {name}") for name, octets in SURROGATES.items()),
    *(_bad("too-high", octets, f"above U+10FFFF: {name}") for name, octets in TOO_HIGH.items()),
    *(_bad("no-octet", octets, f"{octets.upper()} stands nowhere in UTF-8") for octets in NEVER_AN_OCTET),
    *(
        _bad("no-lead", f"{lead}808080", f"{lead.upper()} leads no sequence")
        for lead in NEVER_AN_OCTET
        if lead != "f5"  # its sequence stands among those above U+10FFFF
    ),
    *(
        _bad("truncated", octets, f"{octets.upper()} cut short by the end of the body")
        for octets in TRUNCATED
    ),
    *(
        _bad("truncated", f"{octets}61", f"{octets.upper()} cut short by an ASCII octet")
        for octets in TRUNCATED
    ),
    *(
        _bad("truncated", f"{octets}c3a9", f"{octets.upper()} cut short by another sequence")
        for octets in TRUNCATED
    ),
    *(
        _bad("second", f"{lead}{second}{rest}", f"{lead.upper()} does not go with {second.upper()}")
        for lead, (below, above, rest) in WRONG_SECOND.items()
        for second in (below, above)
        if (lead, second) not in {("ed", "a0"), ("f4", "90"), ("e0", "9f"), ("f0", "8f")}
    ),
    *(
        _bad("second", octets, f"{octets.upper()}, second octet just outside its row")
        for octets in ("e09f80", "eda0bf", "f08f8080", "f490bfbf")
    ),
    *(_bad("later", octets, f"{octets.upper()}: a wrong octet behind the second") for octets in WRONG_LATER),
    *(
        _bad("after", f"{octets}80", f"{octets.upper()} and one continuation more")
        for octets in ("00", "7f", "c280", "dfbf", "e0a080", "ed9fbf", "efbfbf", "f0908080", "f48fbfbf")
    ),
    *(
        server(
            f"utf8-encoding-{name}",
            f"{name}, not UTF-8",
            BAD,
            [request(bytes.fromhex(octets))],
            [error(400)],
            valid=False,
        )
        for name, octets in OTHER_ENCODINGS.items()
    ),
    *(
        server(
            f"utf8-place-{place}",
            f"one bad octet {place.replace('-', ' ')} of a good text",
            BAD,
            [request(body)],
            [error(400)],
            valid=False,
        )
        for place, body in (
            ("at-the-start", b"\xffabc"),
            ("in-the-middle", b"ab\xffcd"),
            ("at-the-end", b"abc\xff"),
            ("behind-100-octets", b"\xc3\xa9" * 50 + b"\xff"),
        )
    ),
    *(
        server(
            f"utf8-in-{name.lower()}",
            f"an ill-formed body in a frame of type {name}",
            BAD + " REQ-ERROR-3",
            [frame(octet, body)],
            [error(400)],
            valid=False,
            needs=needs,
        )
        for octet, name, body, needs in (
            (PING, "PING", b"\xc0\x80", None),
            (HELLO, "HELLO", b"framelet/1 name=\xc3", None),
            (STOP, "STOP", b"\xed\xa0\x80", {"stop": "local"}),
            (0xC0, "application-C0", b"\xf4\x90\x80\x80", {"application": "reverse"}),
            (0xFF, "application-FF", b"\x80", {"application": "none"}),
        )
    ),
    server(
        "utf8-ignorable-unexamined",
        "the body of an ignorable frame may hold anything",
        "REQ-TYPE-3",
        [frame(0x80, bytes(range(0x80, 0x100))), ping(b"next")],
        [pong(b"next")],
    ),
    server(
        "utf8-between-good",
        "bad and good bodies in turn: each gets the answer of its own place",
        "REQ-TEXT-2 REQ-ORDER-2 REQ-ERROR-4",
        [request("ab"), request(b"\xff"), request("cd"), request(b"\xc3"), ping(b"end")],
        [reply("ba"), error(400), reply("dc"), error(400), pong(b"end")],
        valid=False,
    ),
    server(
        "utf8-split-between-frames",
        "the octets of one scalar value in two frames: each frame stands alone",
        "REQ-TEXT-2 REQ-FRAME-4",
        [request(b"ab\xc3"), request(b"\xa9cd")],
        [error(400, times=2)],
        valid=False,
    ),
    server(
        "utf8-many-bad",
        "a hundred ill-formed bodies do not end the connection",
        "REQ-TEXT-2 REQ-ERROR-4",
        [*(request(b"\xc0\x80") for _ in range(100)), ping(b"end")],
        [error(400, times=100), pong(b"end")],
        valid=False,
    ),
]

TOPICS = {"utf8": UTF8}
