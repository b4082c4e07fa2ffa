"""Vectors on STOP and who may send it (section 10)."""

from __future__ import annotations

from .build import (
    ERROR,
    STOP,
    error,
    frame,
    header,
    ping,
    pong,
    raw,
    reply,
    request,
    server,
    stopped,
)

LOCAL, OFF, TOKEN = {"stop": "local"}, {"stop": "off"}, {"stop": "token:secret"}

STOPS = [
    server(
        "stop-local",
        "a local client stops the server",
        "REQ-STOP-1 REQ-STOP-2 REQ-STOP-8 REQ-STOP-9",
        [frame(STOP)],
        [stopped()],
        closed=True,
        needs=LOCAL,
    ),
    server(
        "stop-local-with-token",
        "a token means nothing to the policy local",
        "REQ-STOP-1",
        [frame(STOP, "anything")],
        [stopped()],
        closed=True,
        needs=LOCAL,
    ),
    server(
        "stop-first-frame-eof",
        "STOP, then the end of the stream",
        "REQ-STOP-8 REQ-CLOSE-1 REQ-ORDER-5",
        [frame(STOP)],
        [stopped()],
        eof=True,
        needs=LOCAL,
    ),
    server(
        "stop-behind-requests",
        "what came before STOP is answered before STOPPED",
        "REQ-STOP-7 REQ-STOP-8 REQ-ORDER-2",
        [request("ab"), ping(b"1"), frame(STOP)],
        [reply("ba"), pong(b"1"), stopped()],
        closed=True,
        needs=LOCAL,
    ),
    *(
        server(
            f"stop-discards-{name}",
            f"{title} behind an allowed STOP is discarded",
            "REQ-STOP-10 REQ-STATE-1",
            [frame(STOP), what],
            [stopped()],
            closed=True,
            valid=valid,
            needs=LOCAL,
        )
        for name, title, what, valid in (
            ("request", "a REQUEST", request("ab"), True),
            ("ping", "a PING", ping(b"x"), True),
            ("stop", "a second STOP", frame(STOP), True),
            ("error", "an ERROR", frame(ERROR, "400 no"), True),
            ("ill-formed", "what is no text", frame(STOP, b"\xff"), False),
            ("unknown", "a frame of an unknown type", frame(0x09), False),
            ("large", "a header of a frame that is too large", header(1, 0xFFFFFFFF), False),
            ("part", "part of a frame", raw(b"\x01\0\0"), False),
            ("garbage", "what is no frame", raw(b"\0" * 64 + b"\xff" * 64), False),
        )
    ),
    server(
        "stop-off",
        "the policy off allows nobody",
        "REQ-STOP-3",
        [frame(STOP), request("ab")],
        [error(403), reply("ba")],
        needs=OFF,
    ),
    server(
        "stop-off-with-token",
        "nor a token",
        "REQ-STOP-3",
        [frame(STOP, "secret")],
        [error(403)],
        needs=OFF,
    ),
    server(
        "stop-off-often",
        "refused as often as asked",
        "REQ-STOP-3 REQ-ERROR-4",
        [*(frame(STOP) for _ in range(20)), ping(b"next")],
        [error(403, times=20), pong(b"next")],
        needs=OFF,
    ),
    server(
        "stop-token",
        "the operator's token",
        "REQ-STOP-1 REQ-STOP-8 REQ-STOP-9",
        [frame(STOP, "secret")],
        [stopped()],
        closed=True,
        needs=TOKEN,
    ),
    *(
        server(
            f"stop-token-{name}",
            f"a wrong token: {title}",
            "REQ-STOP-3" + more,
            [frame(STOP, token), ping(b"next")],
            [error(403), pong(b"next")],
            needs=TOKEN,
        )
        for name, title, token, more in (
            ("other", "another word", "public", ""),
            ("empty", "none", "", " REQ-STOP-5"),
            ("shorter", "one octet short", "secre", ""),
            ("longer", "one octet more", "secrets", ""),
            ("first", "another first octet", "Secret", " REQ-TEXT-5"),
            ("last", "another last octet", "secreT", " REQ-TEXT-5"),
            ("newline", "LF behind it", "secret\n", " REQ-TEXT-5"),
            ("space", "a space in front", " secret", " REQ-TEXT-5"),
            ("nul", "NUL behind it", "secret\0", " REQ-TEXT-4"),
            ("bom", "U+FEFF in front", "\ufeffsecret", " REQ-TEXT-4"),
            ("fullwidth", "full-width letters", "\uff53ecret", " REQ-TEXT-5"),
            ("policy", "the setting itself", "token:secret", ""),
            ("long", "a long one", "secret" * 1_000, ""),
        )
    ),
    server(
        "stop-token-second-try",
        "a wrong token, then the right one",
        "REQ-STOP-3 REQ-STOP-8",
        [frame(STOP, "wrong"), request("ab"), frame(STOP, "secret")],
        [error(403), reply("ba"), stopped()],
        closed=True,
        needs=TOKEN,
    ),
    server(
        "stop-token-accented",
        "a token beyond ASCII",
        "REQ-STOP-1",
        [frame(STOP, "secr\xe9t")],
        [stopped()],
        closed=True,
        needs={"stop": "token:secr\xe9t"},
    ),
    server(
        "stop-token-not-normalised",
        "e and U+0301 are not U+00E9",
        "REQ-STOP-3 REQ-TEXT-5",
        [frame(STOP, "secre\u0301t")],
        [error(403)],
        needs={"stop": "token:secr\xe9t"},
    ),
]

TOPICS = {"stop": STOPS}
