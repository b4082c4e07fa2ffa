"""Changes that no test can notice, or need not, each with its reason."""

_AT_IMPORT = "it has run, when the module was imported, before the change is made"
_FOR_CHECKERS = "for type checkers: it is read where a header was read"
_AFTER_A_FAULT = "by the tables no state after a fault takes frames; this holds whatever they say"
_ANY_WAY = "both ways come to the same: one is the faster"
_NO_SUCH = "no character with that number is ever escaped"

EXPLAINED = {
    "limits.limit: `info = {'default': default, 'unit': unit, 'minimum': minimum, 'maximum': maximum` "
    "-> `pass`": _AT_IMPORT,
    "limits.limit: `return dataclasses.field(default=default, metadata=info)` -> `return None`": _AT_IMPORT,
    "events._code: `value <= 255` -> `value < 255`": _NO_SUCH,
    "events._code: `255` -> `256`": _NO_SUCH,
    "events._code: `value <= 65535` -> `value < 65535`": _NO_SUCH,
    "events._code: `65535` -> `65536`": _NO_SUCH,
    "events.escape: `len(text) <= _PIECE` -> `len(text) < _PIECE`": (
        "a text of one piece is escaped alike on both ways"
    ),
    "address._read: `1` -> `2`": "whatever follows is refused, in one piece or in two, and not shown",
    "codec.reverse: `len(text) < _SHORT` -> `len(text) <= _SHORT`": (
        "either encoding is there for the same texts: one is the faster"
    ),
    "codec.FrameDecoder._decode: `1` -> `2`": "no frame begins below 0",
    "codec.FrameDecoder._decode: `frame_type = length = 0` -> `pass`": _FOR_CHECKERS,
    "codec.FrameDecoder._decode: `0` -> `1`": _FOR_CHECKERS,
    "codec.FrameDecoder._decode: `start <= bound` -> `start < bound`": (
        "the last frame is then made of its octets when it is its turn, which comes to the same"
    ),
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
    "client_connection.ClientConnection._take_whole: `start > last` -> `start >= last`": _ANY_WAY,
    "client_connection.ClientConnection._take_whole: `length > max_body` -> `length >= max_body`": _ANY_WAY,
    "client_connection.ClientConnection._take_whole: `end > total` -> `end >= total`": _ANY_WAY,
    "frame_format.FormatDecoder.receive_data: `self._lacking = end - start` -> `pass`": (
        "the header is then read again with each piece"
    ),
    "states.rules: `set(actions) <= {Action.DISCARD, Action.NONE}` "
    "-> `set(actions) < {Action.DISCARD, Action.NONE}`": ("no state has both"),
    "connection.Connection._break_off: `self._decoder.clear()` -> `pass`": _AFTER_A_FAULT,
    "connection.Connection._break_off: `self._frame_started = None` -> `pass`": _AFTER_A_FAULT,
    "connection.Connection._break_off: `self._taking = self._reading = False` -> `pass`": _AFTER_A_FAULT,
    "codec.FrameDecoder.drop: `self.frames or ()` -> `self.frames and ()`": (
        "the frames are then taken one by one, which comes to the same"
    ),
    "codec.FrameDecoder._continue: `raise ConnectionStateError('there is no body under way')` -> `pass`": (
        "for type checkers: it is called where there is one"
    ),
}
