"""Framelet: a length-prefixed binary framing protocol for text, without I/O.

``ServerConnection`` and ``ClientConnection`` speak the protocol for a program that brings its own sockets
and clock; ``encode`` and ``FrameDecoder`` are the framing alone; ``grammar`` is the wire format itself.
"""

from . import grammar
from .address import Address, TcpAddress, TlsAddress, UnixAddress, parse_address
from .answering import ErrorAnswer
from .client_connection import ClientConnection
from .codec import HEADER_SIZE, Frame, FrameDecoder, decode_text, encode, encode_text, reverse
from .connection import Connection
from .errors import (
    AddressError,
    AnswerMalformedError,
    AnswerTimeoutError,
    ConfigurationError,
    ConnectionStateError,
    ErrorReceivedError,
    FrameletError,
    FrameTimeoutError,
    FrameTooLargeError,
    HandlerError,
    HeaderRefusedError,
    HelloMalformedError,
    IdleTimeoutError,
    IllFormedTextError,
    MissingExtraError,
    PingTooLargeError,
    ProtocolError,
    TruncatedFrameError,
    UnexpectedTypeError,
    UnknownTypeError,
    VersionUnsupportedError,
)
from .events import (
    ApplicationReceived,
    ClientEvent,
    ConnectionFailed,
    ErrorReceived,
    FrameRefused,
    HelloReceived,
    InputEnded,
    PongReceived,
    ReplyReceived,
    RequestReceived,
    ServerEvent,
    StoppedReceived,
    StopReceived,
    escape,
)
from .frame_format import FormatDecoder, FormatFrame, FrameFormat
from .limits import ClientConnectionLimits, ConnectionLimits
from .registry import VERSION, ErrorCode, FrameType, Role, TypeRange
from .server_connection import ServerConnection
from .states import State

__all__ = [
    "HEADER_SIZE",
    "VERSION",
    "Address",
    "AddressError",
    "AnswerMalformedError",
    "AnswerTimeoutError",
    "ApplicationReceived",
    "ClientConnection",
    "ClientConnectionLimits",
    "ClientEvent",
    "ConfigurationError",
    "Connection",
    "ConnectionFailed",
    "ConnectionLimits",
    "ConnectionStateError",
    "ErrorAnswer",
    "ErrorCode",
    "ErrorReceived",
    "ErrorReceivedError",
    "FormatDecoder",
    "FormatFrame",
    "Frame",
    "FrameDecoder",
    "FrameFormat",
    "FrameRefused",
    "FrameTimeoutError",
    "FrameTooLargeError",
    "FrameType",
    "FrameletError",
    "HandlerError",
    "HeaderRefusedError",
    "HelloMalformedError",
    "HelloReceived",
    "IdleTimeoutError",
    "IllFormedTextError",
    "InputEnded",
    "MissingExtraError",
    "PingTooLargeError",
    "PongReceived",
    "ProtocolError",
    "ReplyReceived",
    "RequestReceived",
    "Role",
    "ServerConnection",
    "ServerEvent",
    "State",
    "StopReceived",
    "StoppedReceived",
    "TcpAddress",
    "TlsAddress",
    "TruncatedFrameError",
    "TypeRange",
    "UnexpectedTypeError",
    "UnixAddress",
    "UnknownTypeError",
    "VersionUnsupportedError",
    "decode_text",
    "encode",
    "encode_text",
    "escape",
    "grammar",
    "parse_address",
    "reverse",
]

__version__ = "0.1.0"
"""Of the distribution; the build takes it from here."""
