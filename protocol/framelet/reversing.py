"""The server's end of a connection whose REQUESTs are all answered with their reversal: shortcuts for those.

They do what the events of ServerConnection do, for a fraction of the time; property tests hold them to that.
"""

from __future__ import annotations

from . import codec
from .connection import LARGE
from .registry import FrameType
from .reversal import Reversal, reversed_octets
from .server_connection import ServerConnection
from .states import State

_REQUEST, _REPLY = int(FrameType.REQUEST), int(FrameType.REPLY)


class ReversingConnection(ServerConnection):
    """A ServerConnection that can answer REQUESTs by itself, straight from octets to octets."""

    __slots__ = ()

    def reverse_requests(self, most: int) -> None:
        """Answer the REQUESTs that come next with their reversal, straight from octets to octets.

        It is what ``send_reply(reverse(event.text))`` does at each RequestReceived, for a fraction of the
        time.  It ends at the first frame that is anything but a well-formed REQUEST, and where more than
        ``most`` octets wait to be sent; ask for events then.
        """
        if not self._may_reverse():
            return
        taken = 0
        for frame_type, body in self._decoder.frames:
            if frame_type != _REQUEST or self._output_size > most:
                break
            pieces = reversed_octets(body)
            if pieces is None:
                break
            self._write(_REPLY, len(body), pieces)
            taken += 1
        self._decoder.drop(taken)

    def receive_and_reverse(self, data: bytes, now: float, most: int) -> None:
        """Do what ``receive_data`` and then ``reverse_requests`` do, for a fraction of their time."""
        start, decoder = 0, self._decoder
        if not decoder.at_rest:
            start = self._receive_to_boundary(data, now)
            self.reverse_requests(most)
        if decoder.at_rest and not (self._draining or self._input_ended) and self._may_reverse():
            self._idle_since = now
            start += self._reverse_whole(data, start, most)
        if start < len(data) or not start:
            self.receive_data(data[start:], now)
            self.reverse_requests(most)
        begun = decoder.pending_header
        if begun is not None and begun[0] == _REQUEST and begun[1] >= LARGE and self._may_reverse():
            decoder.gather_in(Reversal)

    def _may_reverse(self) -> bool:
        """Whether the next frame, if it is a REQUEST, may be answered as soon as it is there."""
        return (
            self._state is State.OPEN
            and not (self._owed or self._events)  # an answer must not overtake another
            and self._peer_max_body >= self._limits.max_body  # nor be too large for this client
        )

    def _reverse_whole(self, data: bytes, start: int, most: int) -> int:
        """Answer the REQUESTs that ``data`` holds as a whole from ``start`` on; their octets in all.

        No body is looked at by itself where all are ASCII, and none is copied but in reverse: half a
        microsecond for a frame became a third of one.
        """
        unpack, append, total = codec.HEADER.unpack_from, self._output.append, len(data)
        largest, ascii_only = min(self._limits.max_body, LARGE - 1), data.isascii()
        # An answer is as long as its request, so what is read bounds what is to be sent.
        last = min(total - codec.HEADER_SIZE, start + most - self._output_size)
        begin, before, header, header_length = start, len(self._output), b"", -1
        while start <= last:
            frame_type, length = unpack(data, start)
            body = start + codec.HEADER_SIZE
            end = body + length
            if frame_type != _REQUEST or length > largest or end > total:
                break
            if ascii_only:
                answer = data[end - 1 : body - 1 : -1]
            else:
                try:
                    answer = data[body:end].decode("utf-8")[::-1].encode("utf-8")
                except UnicodeDecodeError:
                    break
            if length != header_length:
                header, header_length = codec.HEADER.pack(_REPLY, length), length
            append(header)
            append(answer)
            start = end
        count = (len(self._output) - before) // 2
        self._output_size += start - begin
        self._output_frames += count
        self.frames_received += count
        return start - begin
