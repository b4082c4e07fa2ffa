"""Wrong ways to read and to reverse a text.  Only a bug leads here; the right ways are one line each."""

import re
import unicodedata

from .bugs import bug

_PROLOGUE = 4096  # octets that a server checks which trusts the rest


def read(body: bytes) -> str | None:
    """The text as the active bug reads it, or None where the right way is to be taken."""
    if bug("accepts-surrogates"):
        return body.decode("utf-8", "surrogatepass")
    if bug("accepts-overlong"):  # C0 80 and its kin, as "modified UTF-8" has them
        return re.sub(rb"[\xc0\xc1][\x80-\xbf]", _shorten, body).decode()
    if bug("accepts-above-10ffff"):
        return re.sub(rb"\xf4[\x90-\xbf][\x80-\xbf]{2}|[\xf5-\xf7][\x80-\xbf]{3}", b"?", body).decode()
    if bug("accepts-cut-short"):
        return re.sub(
            rb"(?:[\xc2-\xdf]|[\xe0-\xef][\x80-\xbf]?|[\xf0-\xf4][\x80-\xbf]{0,2})$", b"", body
        ).decode()
    if bug("checks-only-the-start"):
        return body.decode("utf-8", "strict" if len(body) <= _PROLOGUE else "surrogateescape")
    if bug("repairs-text"):
        return body.decode("utf-8", "replace")
    if bug("ignores-ill-formed"):
        return body.decode("utf-8", "ignore")
    return None


def _shorten(match: re.Match[bytes]) -> bytes:
    first, second = match[0]
    return chr((first & 0x1F) << 6 | second & 0x3F).encode()


def translate(text: str) -> str:
    """The text with what the active bug takes out or puts in, before it is reversed (REQ-TEXT-4, REQ-TEXT-5)."""
    if bug("strips-bom"):
        return text.removeprefix("\ufeff")
    if bug("stops-at-nul"):
        return text.partition("\0")[0]
    if bug("translates-crlf"):
        return text.replace("\r\n", "\n")
    if bug("normalises"):
        return unicodedata.normalize("NFC", text)
    if bug("trims"):
        return text.strip()
    if bug("folds-case"):
        return text.lower()
    return text


def has_noncharacter(text: str) -> bool:
    """Whether the text has a noncharacter, which is as good as any other scalar value (REQ-TEXT-4)."""
    return any(ord(c) & 0xFFFE == 0xFFFE or 0xFDD0 <= ord(c) <= 0xFDEF for c in text)


def reverse(text: str) -> bytes | None:
    """The reverse as the active bug makes it, or None where the right way is to be taken (REQ-REV-1)."""
    if bug("accepts-surrogates"):
        return text[::-1].encode("utf-8", "surrogatepass")
    if bug("checks-only-the-start"):
        return text[::-1].encode("utf-8", "surrogateescape")
    if bug("reverses-octets"):
        return text.encode()[::-1]
    if bug("reverses-utf16"):
        units = text.encode("utf-16-le")
        turned = b"".join(units[i : i + 2] for i in range(len(units) - 2, -1, -2))
        return turned.decode("utf-16-le", "surrogatepass").encode("utf-8", "surrogatepass")
    if bug("reverses-graphemes") and len(text) <= 1 << 20:  # of longer ones it would hold up all others
        clusters = re.findall(r"\r\n|.[\u0300-\u036f\u200d\ufe0f]*", text, re.DOTALL)
        return "".join(reversed(clusters)).encode()
    if bug("reverses-by-chunks"):
        return b"".join(text[i : i + 1024][::-1].encode() for i in range(0, len(text), 1024))
    if bug("right-length-wrong-text"):
        return b"x" * len(text.encode())
    return None
