"""What a server says of itself when it is asked: its limits, and who serves its application types."""

from __future__ import annotations

from typing import TYPE_CHECKING

from framelet import grammar
from framelet.registry import FrameType, TypeRange
from framelet_conformance.verdicts import CaseEnded
from framelet_conformance.wire.conversation import Silence

if TYPE_CHECKING:
    from framelet_conformance.wire.times import Times

    from .setup import ServerUnderTest

APPLICATION = sorted(TypeRange.APPLICATION.types)


def learn(server: ServerUnderTest, times: Times) -> None:
    """Ask a server for its limits and its handlers; what it does not say stays unknown."""
    with server.connect(times) as conversation:
        conversation.send_frame(FrameType.HELLO, b"framelet/1")
        try:
            frame = conversation.read_frame()
            if frame is not None and frame.type == FrameType.HELLO:
                server.parameters = dict(grammar.parse_body(grammar.HelloBody, frame.body).parameters)
        except (Silence, CaseEnded, ValueError):
            pass
    with server.connect(times) as conversation:
        for octet in APPLICATION:
            conversation.send_frame(octet, b"ab")
        try:
            for octet in APPLICATION:
                frame = conversation.read_frame()
                if frame is None:
                    break
                kinds = {b"ab": "echo", b"ba": "reverse"}
                none = frame.type == FrameType.ERROR and frame.body.startswith(b"404")
                server.application[octet] = "none" if none else kinds.get(frame.body, "another handler")
        except (Silence, CaseEnded):
            pass
