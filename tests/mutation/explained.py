"""Changes that no test can notice, or need not, each with its reason."""

_AT_IMPORT = "it has run, when the module was imported, before the change is made"
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
    "codec.FrameDecoder.drop: `self.frames or ()` -> `self.frames and ()`": (
        "the frames are then taken one by one, which comes to the same"
    ),
    "codec.FrameDecoder._continue: `raise ConnectionStateError('there is no body under way')` -> `pass`": (
        "for type checkers: it is called where there is one"
    ),
}
