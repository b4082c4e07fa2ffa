"""Vectors on text that must arrive unchanged, and on its reversal (sections 4 and 14)."""

from __future__ import annotations

from .build import REPLY, Run, answer, ping, pong, reply, request, server

KEPT = "REQ-TEXT-4 REQ-TEXT-5 REQ-REV-1"

NONCHARACTERS = [
    *range(0xFDD0, 0xFDF0),
    *(plane + last for plane in range(0, 0x110000, 0x10000) for last in (0xFFFE, 0xFFFF)),
]
PRINTABLE = "".join(map(chr, range(0x20, 0x7F)))
CONTROLS = [*range(0x20), 0x7F, *range(0x80, 0xA0)]

# Written with escapes where the eye could not tell: name, title, text, and its reverse.
TEXTS = (
    ("nul-inside", "NUL ends nothing", "ab\0cd", "dc\0ba"),
    ("nul-last", "NUL at the end is no padding", "ab\0\0", "\0\0ba"),
    ("bom", "U+FEFF alone is no empty text", "\ufeff", "\ufeff"),
    ("bom-first", "U+FEFF at the start is not stripped", "\ufeffab", "ba\ufeff"),
    ("bom-middle", "U+FEFF in the middle", "a\ufeffb", "b\ufeffa"),
    ("bom-last", "U+FEFF at the end, which the reverse begins with", "ab\ufeff", "\ufeffba"),
    ("bom-twice", "two of U+FEFF stay two", "\ufeff\ufeffa", "a\ufeff\ufeff"),
    ("bom-swapped", "U+FFFE is a noncharacter and no mark", "\ufffea", "a\ufffe"),
    ("cr", "CR", "a\rb", "b\ra"),
    ("lf", "LF", "a\nb", "b\na"),
    ("lf-last", "LF at the end is not trimmed", "ab\n", "\nba"),
    ("lf-only", "LF alone", "\n", "\n"),
    ("crlf", "CR LF becomes LF CR", "a\r\nb", "b\n\ra"),
    ("crlf-last", "CR LF at the end", "ab\r\n", "\n\rba"),
    ("lf-cr", "LF CR becomes CR LF", "a\n\rb", "b\r\na"),
    ("crlf-twice", "two of CR LF", "\r\n\r\n", "\n\r\n\r"),
    ("nel", "U+0085", "a\x85b", "b\x85a"),
    ("line-separator", "U+2028 and U+2029", "a\u2028b\u2029", "\u2029b\u2028a"),
    ("vertical", "VT and FF", "a\v\fb", "b\f\va"),
    ("tab", "tabs are not expanded", "\ta\tb", "b\ta\t"),
    ("space", "a space alone", " ", " "),
    ("spaces", "spaces at both ends are kept", "  ab   ", "   ba  "),
    ("wide-spaces", "U+00A0, U+3000 and U+200B", "\xa0a\u3000b\u200b", "\u200bb\u3000a\xa0"),
    ("escape", "ESC and a terminal sequence", "\x1b[31mred", "derm13[\x1b"),
    ("substitute", "SUB ends nothing", "a\x1ab", "b\x1aa"),
    ("eot", "EOT ends nothing", "a\x04b", "b\x04a"),
    ("delete", "DEL", "a\x7fb", "b\x7fa"),
    ("case", "case is kept", "aBcD", "DcBa"),
    ("case-sharp-s", "U+00DF is not folded to ss", "Stra\xdfe", "e\xdfartS"),
    ("case-dotted-i", "dotted and dotless i", "\u0130\u0131iI", "Ii\u0131\u0130"),
    ("case-final-sigma", "final sigma", "\u03c3\u03c2", "\u03c2\u03c3"),
    ("nfc", "U+00E9 is not taken apart", "caf\xe9", "\xe9fac"),
    ("nfd", "e and U+0301 are not put together", "cafe\u0301", "\u0301efac"),
    ("nfc-and-nfd", "both forms in one text stay apart", "\xe9e\u0301", "\u0301e\xe9"),
    ("angstrom", "U+212B is not U+00C5", "\u212b\xc5", "\xc5\u212b"),
    ("ohm", "U+2126 is not U+03A9", "\u2126\u03a9", "\u03a9\u2126"),
    ("ligature", "U+FB01 is not fi", "\ufb01fi", "if\ufb01"),
    ("fullwidth", "full-width letters stay so", "\uff21A", "A\uff21"),
    ("hangul", "syllable and jamo", "\uac00\u1100\u1161", "\u1161\u1100\uac00"),
    ("cedilla-order", "marks of another order are not sorted", "a\u0301\u0327", "\u0327\u0301a"),
    ("compatibility", "U+2460, U+00B2 and U+FDFA", "\u2460\xb2\ufdfa", "\ufdfa\xb2\u2460"),
    ("replacement", "U+FFFD is text like any other", "a\ufffdb", "b\ufffda"),
    (
        "private-use",
        "private use, all three areas",
        "\ue000\U000f0000\U0010fffd",
        "\U0010fffd\U000f0000\ue000",
    ),
    ("unassigned", "unassigned U+0378 and U+E0080", "\u0378\U000e0080", "\U000e0080\u0378"),
    ("soft-hyphen", "characters that do not show", "a\xad\u200c\u2060b", "b\u2060\u200c\xada"),
    ("tags", "tag characters", "\U000e0001\U000e0061", "\U000e0061\U000e0001"),
    ("percent", "nothing is decoded", "%41&amp;\\u0041", "1400u\\;pma&14%"),
    ("digits", "digits that look like a header", "0100000005", "5000000010"),
)

REVERSALS = (
    ("ascii", "all printable ASCII", PRINTABLE, PRINTABLE[::-1]),
    ("palindrome", "a palindrome", "abcba", "abcba"),
    ("latin", "two octets each", "\xe4\xf6\xfc\xdf", "\xdf\xfc\xf6\xe4"),
    ("euro", "one, two, three and four octets", "a\xe9\u20ac\U0001f600", "\U0001f600\u20ac\xe9a"),
    ("greek", "Greek", "\u03b1\u03b2\u03b3", "\u03b3\u03b2\u03b1"),
    ("cjk", "Chinese", "\u4f60\u597d", "\u597d\u4f60"),
    ("emoji", "beyond U+FFFF: not by UTF-16 unit", "\U0001f600\U0001f601", "\U0001f601\U0001f600"),
    ("gothic", "Gothic", "\U00010330\U00010331", "\U00010331\U00010330"),
    ("mark", "a combining mark changes its base", "ae\u0301i", "i\u0301ea"),
    ("marks", "several combining marks", "o\u0302\u0323x", "x\u0323\u0302o"),
    ("mark-first", "a combining mark without base", "\u0301a", "a\u0301"),
    ("flag", "regional indicators: DE becomes ED", "\U0001f1e9\U0001f1ea", "\U0001f1ea\U0001f1e9"),
    (
        "flags",
        "two flags",
        "\U0001f1e9\U0001f1ea\U0001f1eb\U0001f1f7",
        "\U0001f1f7\U0001f1eb\U0001f1ea\U0001f1e9",
    ),
    (
        "family",
        "a sequence with zero-width joiners",
        "\U0001f468\u200d\U0001f469\u200d\U0001f467",
        "\U0001f467\u200d\U0001f469\u200d\U0001f468",
    ),
    ("joiner-last", "a zero-width joiner at the end", "a\u200d", "\u200da"),
    ("skin-tone", "a skin tone comes before its hand", "\U0001f44b\U0001f3fd", "\U0001f3fd\U0001f44b"),
    ("keycap", "a keycap sequence", "1\ufe0f\u20e3", "\u20e3\ufe0f1"),
    ("variation", "a variation selector", "\u2764\ufe0f", "\ufe0f\u2764"),
    ("crlf", "CR LF is two scalar values, whatever a grapheme is", "\r\n", "\n\r"),
    ("lf-cr", "LF CR makes CR LF", "\n\r", "\r\n"),
    ("hangul-jamo", "Hangul in jamo", "\u1112\u1161\u11ab", "\u11ab\u1161\u1112"),
    ("hangul-syllables", "Hangul in syllables", "\ud55c\uae00", "\uae00\ud55c"),
    (
        "devanagari",
        "a vowel sign",
        "\u0928\u092e\u0938\u094d\u0924\u0947",
        "\u0947\u0924\u094d\u0938\u092e\u0928",
    ),
    ("thai", "a vowel before its consonant", "\u0e40\u0e01", "\u0e01\u0e40"),
    ("hebrew", "right to left", "\u05d0\u05d1\u05d2", "\u05d2\u05d1\u05d0"),
    ("arabic-mixed", "both directions", "ab\u0627\u0628", "\u0628\u0627ba"),
    ("bidi-override", "overrides are ordinary text", "\u202eab\u202c", "\u202cba\u202e"),
    ("bidi-isolates", "isolates are ordinary text", "\u2067a\u2069\u200f", "\u200f\u2069a\u2067"),
    ("bidi-brackets", "brackets are not mirrored", "(a[b<", "<b[a("),
    ("prepend", "a prepended mark", "\u06001", "1\u0600"),
    (
        "planes",
        "a scalar value of each used plane",
        "a\U00010000\U00020000\U000e0100\U0010fffd",
        "\U0010fffd\U000e0100\U00020000\U00010000a",
    ),
    ("ends", "next to the surrogates", "\ud7ff\ue000", "\ue000\ud7ff"),
    (
        "concatenation",
        "r(s + t) = r(t) + r(s), for a text cut inside a cluster",
        "e\u0301\u0301",
        "\u0301\u0301e",
    ),
)


def _scalars(values: list[int]) -> str:
    return "".join(map(chr, values))


TEXT = [
    *(
        server(f"text-{name}", title, KEPT, [request(text)], [reply(back)])
        for name, title, text, back in TEXTS
    ),
    server(
        "text-noncharacters",
        "all 66 noncharacters",
        KEPT,
        [request(_scalars(NONCHARACTERS))],
        [reply(_scalars(NONCHARACTERS[::-1]))],
    ),
    server(
        "text-controls",
        "all 65 control characters",
        KEPT,
        [request(_scalars(CONTROLS))],
        [reply(_scalars(CONTROLS[::-1]))],
    ),
    server(
        "text-nul-many",
        "a thousand of NUL",
        KEPT,
        [request(Run(b"\0", 1000))],
        [reply(Run(b"\0", 1000))],
    ),
    *(
        server(
            f"text-ping-{name}",
            f"echoed octet for octet: {title}",
            "REQ-PING-1 REQ-TEXT-4 REQ-TEXT-5",
            [ping(text.encode())],
            [pong(text.encode())],
        )
        for name, title, text, _ in TEXTS
        if name in {"nul-last", "bom-first", "crlf-last", "spaces", "nfc", "nfd", "bom-swapped"}
    ),
]

REVERSAL = [
    server("reversal-empty", "the empty text", "REQ-REV-2", [request()], [reply()]),
    *(
        server(f"reversal-{name}", title, "REQ-REV-1", [request(text)], [reply(back)])
        for name, title, text, back in REVERSALS
    ),
    *(
        server(
            f"reversal-{name}-back",
            f"the reverse of the reverse: {title}",
            "REQ-REV-1",
            [request(back)],
            [reply(text)],
        )
        for name, title, text, back in REVERSALS
        if name in {"marks", "flags", "family", "keycap", "euro", "arabic-mixed"}
    ),
    server(
        "reversal-parts",
        "r(s + t) = r(t) + r(s): a text and its two parts",
        "REQ-REV-1",
        [request("ae\u0301b"), request("ae"), request("\u0301b")],
        [reply("b\u0301ea"), reply("ea"), reply("b\u0301")],
    ),
    server(
        "reversal-long",
        "ten thousand scalar values of one to four octets",
        "REQ-REV-1",
        [request(Run("a\xe9\u20ac\U0001f600".encode(), 2_500))],
        [answer(REPLY, Run("\U0001f600\u20ac\xe9a".encode(), 2_500))],
    ),
    server(
        "reversal-long-mark",
        "a base under a thousand marks",
        "REQ-REV-1",
        [request("a" + "\u0301" * 1_000)],
        [reply("\u0301" * 1_000 + "a")],
    ),
]

TOPICS = {"text": TEXT, "reversal": REVERSAL}
