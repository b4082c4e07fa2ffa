"""What the reference server answers to one frame (SPEC.md sections 4, 5, 7, 8, 9, 14)."""

from dataclasses import dataclass, replace
from typing import Any

from . import wrong_text
from .bugs import bug
from .wire import (
    ANSWER_TO,
    DEFAULT_MAXIMUM,
    HELLO,
    PING,
    PING_LIMIT,
    REQUEST,
    parse_hello,
)

ERROR_TEXT = {
    400: "ill-formed-text",
    403: "stop-refused",
    404: "no-handler",
    413: "ping-too-large",
    422: "hello-malformed",
    426: "version-unsupported",
    451: "answer-too-large",
    501: "type-unknown",
    502: "type-unexpected",
    503: "frame-too-large",
    504: "frame-timeout",
    505: "idle-timeout",
    506: "frame-truncated",
    507: "too-many-connections",
}


@dataclass(frozen=True)
class Options:
    """How the operator set the server up; times in seconds, sizes in octets."""

    port: int = 0
    max_body: int = DEFAULT_MAXIMUM
    frame_timeout: float = 30
    idle_timeout: float = 300
    linger_timeout: float = 2
    write_timeout: float = 30
    drain_timeout: float = 30
    stop: str = "local"
    stop_token: str = ""
    echo_type: int | None = None
    application: str = "none"
    max_connections: int = 256


class RefusedError(Exception):
    """A frame fails: the recoverable ERROR `code` answers it."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


def error_body(code: int) -> bytes:
    """The body of an ERROR (REQ-ERROR-1)."""
    text = ERROR_TEXT[code]
    if bug("error-text-too-long"):
        text += ", which must not happen again" * 40
    if bug("error-discloses-path"):
        text += f' (File "{__file__}", line 93, in {error_body.__name__})'
    if bug("timeout-codes-swapped"):
        code = {504: 505, 505: 504}.get(code, code)
    if bug("too-large-is-413") and code == 503:
        code = 413
    if bug("condition-is-460") and code < 500:
        code = 460
    if bug("error-without-space"):
        return f"{code}: {text}".encode()
    return f"{code} {text}".encode()


def read_text(body: bytes) -> str:
    """The text of a body.  Raises RefusedError(400) where it is not well-formed (REQ-TEXT-2)."""
    try:
        text = wrong_text.read(body)
        if text is None:
            text = body.decode("utf-8")
    except UnicodeDecodeError:
        raise RefusedError(400) from None
    if bug("refuses-noncharacters") and wrong_text.has_noncharacter(text):
        raise RefusedError(400)
    return text


def reverse(text: str) -> bytes:
    """The reverse by scalar value (REQ-REV-1)."""
    if bug("empty-reverse-is-nul") and not text:
        return b"\0"
    text = wrong_text.translate(text)
    wrong = wrong_text.reverse(text)
    return text[::-1].encode() if wrong is None else wrong


_survivor: dict[str, int | None] = {"maximum": None}


class Answers:
    """The answers on one connection; what a HELLO set is kept here."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self._client_maximum: int | None = _survivor["maximum"]  # until a HELLO states one
        self._greeted = False

    def answer(self, kind: int, body: bytes) -> tuple[int, bytes]:
        """Type and body of the answer to a frame other than STOP.  Raises RefusedError for an ERROR in its place."""
        self._look_at_size_first(kind, body)
        if bug("ping-size-before-text") and kind == PING and len(body) > PING_LIMIT:
            raise RefusedError(413)
        text = read_text(body)
        if kind == PING:
            answer = ANSWER_TO[PING], self._pong(body, text)
        elif kind == HELLO:
            answer = HELLO, self._hello(body)
        elif kind == REQUEST:
            answer = ANSWER_TO[REQUEST], reverse(text)
        else:
            answer = kind, self._application(kind, body, text)
            if bug("application-answered-by-reply"):
                answer = ANSWER_TO[REQUEST], answer[1]
        if self._is_too_large(len(answer[1])):
            raise RefusedError(451)
        return answer

    def _look_at_size_first(self, kind: int, body: bytes) -> None:
        """What a server does that holds the client's max-body against the frame itself, not its answer."""
        looks = {REQUEST: bug("451-before-400"), PING: bug("451-before-413"), HELLO: bug("451-before-422")}
        if looks.get(kind, bug("451-before-404")):
            self.refuse_large(body)

    def refuse_large(self, body: bytes) -> None:
        """Refuse a body that would be too large for an answer."""
        if self._is_too_large(len(body)):
            raise RefusedError(451)

    def _is_too_large(self, length: int) -> bool:
        """Whether the client, or the server itself, does not allow an answer of this length (REQ-HELLO-5)."""
        limit = self.options.max_body
        if self._client_maximum is not None and not bug("hello-limit-ignored"):
            limit = min(limit, self._kept(self._client_maximum) - bug("hello-limit-exclusive"))
        return length > limit

    @staticmethod
    def _kept(maximum: int) -> int:
        """The client's maximum in an integer of its own width."""
        if bug("hello-limit-of-16-bits"):
            return maximum & 0xFFFF
        return maximum - (1 << 32) * (bug("hello-limit-signed") and maximum >= 1 << 31)

    def _pong(self, body: bytes, text: str) -> bytes:
        length = len(text) if bug("ping-limit-in-characters") else len(body)
        limit = PING_LIMIT - bug("ping-limit-63") + bug("ping-limit-65")
        if length > limit:
            raise RefusedError(413)
        if bug("pong-cut-at-nul"):
            return body.partition(b"\0")[0]
        if bug("pong-cut-short"):
            return body[:32]
        if bug("pong-reversed"):
            return reverse(text)
        return body

    def _hello(self, body: bytes) -> bytes:
        if bug("version-before-form") and body.startswith(b"framelet/2"):
            raise RefusedError(426)
        try:
            version, parameters = parse_hello(body)
        except ValueError:
            raise RefusedError(422) from None
        maximum = int(parameters["max-body"]) if "max-body" in parameters else None
        if bug("hello-refused-limit-kept"):
            self._client_maximum = maximum
        if version != 1 and not bug("hello-any-version"):
            raise RefusedError(426)
        if bug("hello-only-once") and self._greeted:
            raise RefusedError(422)
        self._greeted = True
        if bug("client-sets-timeouts"):
            stated = {
                key.replace("-ms", "").replace("-", "_"): key for key in parameters if key.endswith("-ms")
            }
            timeouts: Any = {name: int(parameters[key]) / 1000 for name, key in stated.items()}
            self.options = replace(self.options, **timeouts)
        if maximum is not None or not bug("hello-limit-never-lifted"):
            self._client_maximum = maximum
            if bug("hello-limit-survives"):
                _survivor["maximum"] = maximum
        return self._own_hello()

    def _own_hello(self) -> bytes:
        options = self.options
        frame, idle = round(options.frame_timeout * 1000), round(options.idle_timeout * 1000)
        timeouts = f"frame-timeout-ms={frame} idle-timeout-ms={idle}"
        if bug("hello-without-max-body"):
            return f"framelet/1 {timeouts}".encode()
        return f"framelet/1 max-body={options.max_body} {timeouts}".encode()

    def _application(self, kind: int, body: bytes, text: str) -> bytes:
        if kind == self.options.echo_type:
            return body
        if self.options.application == "reverse":
            return reverse(text)
        raise RefusedError(404)
