"""One HTTP/2 connection without its socket: frames in, calls on streams; calls in, bytes out (RFC 9113).

The two ends (``worker/net/h2_server.py`` and ``h2_client.py``) are subclasses and say what streams are for. What both
need is here: reading frames, windows both ways, settings, pings, going away, and the limits that keep a hostile peer
from costing more than its own connection.

Reading raises :class:`H2Error` for what ends the connection. What concerns one stream ends in
:meth:`H2Connection.stream_error`.
"""

from __future__ import annotations

from gatewright.wire.h2 import errors, frames
from gatewright.wire.h2.errors import H2Error
from gatewright.wire.h2.frames import CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, PADDED
from gatewright.wire.h2.hpack import Decoder, size_update
from gatewright.wire.h2.limits import Budget
from gatewright.wire.h2.sender import TINY, S, Sender
from gatewright.wire.h2.stream import WINDOW, Stream

_UNPACK = frames.HEAD.unpack_from
_ID = 0x7FFFFFFF
_PLAIN_HEADERS = END_HEADERS | PADDED | frames.PRIORITY_FLAG
_MOST_CONTINUATIONS = 8
#: Seconds. A stream that is reset later has been used; and there can only be so many at a time.
_RAPID = 1.0
#: In one frame; there are not a dozen.
_MOST_SETTINGS = 32
#: Streams that we have reset and whose last frames may still be on the way.
_MOST_REMEMBERED = 256

#: Size of a peer's table when it has not said otherwise.
_TABLE_SIZE = 4096

#: What the next frame has to be.
ANY, FIRST, CONTINUED = range(3)


class H2Connection(Sender[S]):
    """State of a connection. ``now`` is set by whoever feeds it."""

    __slots__ = (
        "acknowledged", "block", "block_flags", "block_stream", "buffer", "calm", "continuations", "credit_at_once",
        "decoder", "expect", "header_bytes", "now", "ours_reset", "recv_left", "resets", "unread", "window",
    )  # fmt: skip

    def __init__(self, now: float, header_bytes: int, window: int, resets: int, control_frames: int) -> None:
        """``window`` is how many octets all streams together may have on the way to us."""
        super().__init__()
        self.now = now
        self.buffer = b""
        self.expect = FIRST
        #: The peer knows our settings.
        self.acknowledged = False
        # a header block that has not ended
        self.block: list[bytes] = []
        self.block_stream = 0
        self.block_flags = 0
        self.continuations = 0
        self.header_bytes = header_bytes
        self.decoder = Decoder(header_bytes)
        # what we allow
        self.window = window
        self.recv_left = frames.DEFAULT_WINDOW
        self.unread = window - frames.DEFAULT_WINDOW
        #: The connection's window is not to be held by streams that are paused.
        self.credit_at_once = False
        #: Streams that we have reset: how much of them may still be on the way.
        self.ours_reset: dict[int, int] = {}
        # budgets
        self.resets = Budget(resets, now)
        self.calm = Budget(control_frames, now)

    # --- to be provided -----------------------------------------------------------------------------------------------

    def on_block(self, stream_id: int, block: bytes, end: int) -> None:
        """A header block is complete. ``end``: END_STREAM came with it."""
        raise NotImplementedError

    def on_goaway(self, last: int, code: int) -> None:
        """The peer takes no more streams; those above ``last`` it has not looked at."""
        raise NotImplementedError

    def on_setting(self, name: int, value: int) -> None:
        """A setting that concerns streams: how many, and of which kinds."""
        raise NotImplementedError

    def on_pong(self, payload: bytes) -> None:
        """The answer to a PING of ours."""
        raise NotImplementedError

    def on_forgotten(self, stream: S) -> None:
        """``stream`` is over and out of the table."""
        raise NotImplementedError

    def was_opened(self, stream_id: int) -> bool:
        """Whether there has been such a stream: it is closed, not idle."""
        raise NotImplementedError

    # --- reading ------------------------------------------------------------------------------------------------------

    def feed(self, data: bytes) -> None:
        """Read what is complete of ``data``, keep the rest. Raises H2Error. Hot."""
        if self.buffer:
            data = self.buffer + data
            self.buffer = b""
        at, size = 0, len(data)
        while size - at >= 9:
            high, low, kind, flags, stream_id = _UNPACK(data, at)
            begin = at + 9
            at = begin + low
            if high or low > frames.FRAME_SIZE:
                raise H2Error(errors.FRAME_SIZE_ERROR, "a frame is larger than we allow")
            if at > size:
                at = begin - 9
                break
            if self.expect:
                self._expected(kind, flags, stream_id & _ID)
            if kind == HEADERS and flags & _PLAIN_HEADERS == END_HEADERS:
                self.on_block(stream_id & _ID, data[begin:at], flags & END_STREAM)
            elif kind == DATA:
                self._data(flags, stream_id & _ID, data[begin:at])
            else:
                self._other(kind, flags, stream_id & _ID, data[begin:at])
        if at < size:
            self.buffer = data[at:]

    def _expected(self, kind: int, flags: int, stream_id: int) -> None:
        """The first frame is SETTINGS (section 3.4); a header block is not interrupted (section 6.10)."""
        if self.expect == FIRST:
            if kind != frames.SETTINGS or flags & frames.ACK:
                raise H2Error(errors.PROTOCOL_ERROR, "the first frame is not SETTINGS")
            self.expect = ANY
        elif kind != CONTINUATION or stream_id != self.block_stream:
            raise H2Error(errors.PROTOCOL_ERROR, "a header block is interrupted")

    def _data(self, flags: int, stream_id: int, payload: bytes) -> None:  # noqa: C901 - each call here costs a frame
        """DATA (section 6.1). Hot."""
        size = len(payload)
        if flags & PADDED:
            payload = frames.unpadded(payload)
        if size:
            self.recv_left -= size
            if self.recv_left < 0:
                raise H2Error(errors.FLOW_CONTROL_ERROR, "more than the connection's window")
        stream = self.streams.get(stream_id)
        if stream is None or stream.remote_done:
            return self._data_on_closed(stream_id, size, payload)
        stream.recv_left -= size
        if stream.recv_left < 0 or stream.left >= 0:
            code = _excess(stream, len(payload), flags)
            if code:
                self.unread += size
                self._credit_connection()
                return self.stream_error(stream_id, code)
        if payload:
            self.useful += 1
            stream.on_data(payload)
        elif not flags & END_STREAM:
            self._chatter()
        stream.unread += size
        if stream.paused and not self.credit_at_once:
            stream.held += size
        else:
            self.unread += size
        if stream.unread * 2 >= WINDOW or self.unread * 2 >= self.window:
            self.credit(stream)
        return self._end(stream) if flags & END_STREAM else None

    def _end(self, stream: S) -> None:
        """END_STREAM came with DATA."""
        if stream.id in self.streams:
            stream.remote_done = True
            stream.on_end()
            if stream.local_done and stream.id in self.streams:
                self.forget(stream)

    def _data_on_closed(self, stream_id: int, size: int, payload: bytes) -> None:
        """Data nobody takes. It counts for the connection's window all the same."""
        if not self.was_opened(stream_id):
            raise H2Error(errors.PROTOCOL_ERROR, "DATA on an idle stream")
        if not payload:
            self._chatter()
        self.unread += size
        self._credit_connection()
        left = self.ours_reset.get(stream_id)
        if left is None:
            if stream_id in self.streams:
                self.stream_error(stream_id, errors.STREAM_CLOSED)
            else:
                self.refuse(stream_id, errors.STREAM_CLOSED)
        elif left < size:
            raise H2Error(errors.FLOW_CONTROL_ERROR, "DATA without an end on a stream that was reset")
        else:
            self.ours_reset[stream_id] = left - size

    def _other(self, kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        """Everything but DATA and ordinary HEADERS. Unknown kinds are ignored (section 5.5)."""
        if kind == frames.WINDOW_UPDATE:
            self._window_update(stream_id, payload)
        elif kind == frames.RST_STREAM:
            self._rst_stream(stream_id, payload)
        elif kind == HEADERS:
            self._headers(flags, stream_id, payload)
        elif kind == CONTINUATION:
            self._continuation(flags, payload)
        elif kind == frames.SETTINGS:
            self._settings(flags, stream_id, payload)
        elif kind == frames.PING:
            self._ping(flags, stream_id, payload)
        elif kind == frames.GOAWAY:
            self._goaway(stream_id, payload)
        elif kind == frames.PRIORITY:
            self._priority(stream_id, payload)
        elif kind == frames.PUSH_PROMISE:
            raise H2Error(errors.PROTOCOL_ERROR, "PUSH_PROMISE, which nobody allowed")
        else:
            self._chatter()

    # --- header blocks ------------------------------------------------------------------------------------------------

    def _headers(self, flags: int, stream_id: int, payload: bytes) -> None:
        """HEADERS with padding, a priority, or more to come (section 6.2)."""
        if flags & PADDED:
            payload = frames.unpadded(payload)
        if flags & frames.PRIORITY_FLAG:
            if len(payload) < 5:
                raise H2Error(errors.FRAME_SIZE_ERROR, "a HEADERS frame is too short")
            payload = payload[5:]
        if flags & END_HEADERS:
            return self.on_block(stream_id, payload, flags & END_STREAM)
        self.block = [payload]
        self.block_stream = stream_id
        self.block_flags = flags
        self.continuations = 0
        self.expect = CONTINUED
        return None

    def _continuation(self, flags: int, payload: bytes) -> None:
        """The rest of a header block (section 6.10), bounded in frames and octets."""
        if self.expect != CONTINUED:
            raise H2Error(errors.PROTOCOL_ERROR, "CONTINUATION without HEADERS")
        self.block.append(payload)
        self.continuations += 1
        if self.continuations > _MOST_CONTINUATIONS or sum(map(len, self.block)) > self.header_bytes:
            raise H2Error(errors.ENHANCE_YOUR_CALM, "a header block is too large")
        if flags & END_HEADERS:
            block, self.block = b"".join(self.block), []
            self.expect = ANY
            self.on_block(self.block_stream, block, self.block_flags & END_STREAM)

    # --- control ------------------------------------------------------------------------------------------------------

    def _settings(self, flags: int, stream_id: int, payload: bytes) -> None:
        """SETTINGS (section 6.5)."""
        if stream_id:
            raise H2Error(errors.PROTOCOL_ERROR, "SETTINGS on a stream")
        if flags & frames.ACK:
            if payload:
                raise H2Error(errors.FRAME_SIZE_ERROR, "an acknowledgement with a payload")
            self.acknowledged = True
            return self._chatter()
        if len(payload) % 6:
            raise H2Error(errors.FRAME_SIZE_ERROR, "SETTINGS of a wrong size")
        if len(payload) > 6 * _MOST_SETTINGS:
            raise H2Error(errors.ENHANCE_YOUR_CALM, "too many settings in a frame")
        self._chatter()
        # Before what the new values let go: only behind it the peer goes by them.
        self.out.append(frames.SETTINGS_ACK)
        self.touch()
        before = self.peer_window
        for at in range(0, len(payload), 6):
            self._setting(int.from_bytes(payload[at : at + 2], "big"), int.from_bytes(payload[at + 2 : at + 6], "big"))
        if self.peer_window != before:
            self._change_windows(self.peer_window - before)
        return None

    def _setting(self, name: int, value: int) -> None:
        if name == frames.INITIAL_WINDOW_SIZE:
            if value > frames.LARGEST_WINDOW:
                raise H2Error(errors.FLOW_CONTROL_ERROR, "the initial window is too large")
            self.peer_window = value
        elif name == frames.MAX_FRAME_SIZE:
            if not frames.FRAME_SIZE <= value <= frames.LARGEST_FRAME_SIZE:
                raise H2Error(errors.PROTOCOL_ERROR, "a frame size out of bounds")
            # Not larger than ours: other streams want their turn between two frames.
            self.largest_frame = frames.FRAME_SIZE
        elif name in {frames.ENABLE_PUSH, frames.ENABLE_CONNECT_PROTOCOL} and value > 1:
            raise H2Error(errors.PROTOCOL_ERROR, "a switch that is neither 0 nor 1")
        elif name == frames.HEADER_TABLE_SIZE and value < _TABLE_SIZE:
            # Our encoder never uses a table; the peer waits to be told that its new size is respected.
            self.prefix = size_update(0)
        else:
            self.on_setting(name, value)

    def _change_windows(self, change: int) -> None:
        """The initial window applies to streams that are open; theirs may become negative (section 6.9.2).

        Once for each frame, whatever stands in it again and again: it concerns all streams.
        """
        for stream in tuple(self.streams.values()):
            stream.send_window += change
            if stream.send_window > frames.LARGEST_WINDOW:
                raise H2Error(errors.FLOW_CONTROL_ERROR, "a window is too large")
            if change > 0 and stream.waiting is not None:
                self._send_waiting(stream)

    def _ping(self, flags: int, stream_id: int, payload: bytes) -> None:
        """PING (section 6.7)."""
        if stream_id:
            raise H2Error(errors.PROTOCOL_ERROR, "PING on a stream")
        if len(payload) != 8:
            raise H2Error(errors.FRAME_SIZE_ERROR, "PING of a wrong size")
        if flags & frames.ACK:
            self.on_pong(payload)
            return self._chatter()
        self._chatter()
        self.out.append(frames.ping_ack(payload))
        self.touch()
        return None

    def _goaway(self, stream_id: int, payload: bytes) -> None:
        """GOAWAY (section 6.8)."""
        if stream_id:
            raise H2Error(errors.PROTOCOL_ERROR, "GOAWAY on a stream")
        if len(payload) < 8:
            raise H2Error(errors.FRAME_SIZE_ERROR, "GOAWAY of a wrong size")
        self._chatter()
        self.on_goaway(int.from_bytes(payload[:4], "big") & _ID, int.from_bytes(payload[4:8], "big"))

    def _priority(self, stream_id: int, payload: bytes) -> None:
        """PRIORITY (section 6.3): checked and ignored."""
        if not stream_id:
            raise H2Error(errors.PROTOCOL_ERROR, "PRIORITY without a stream")
        self._chatter()
        if len(payload) != 5:
            if not self.was_opened(stream_id):  # an idle stream cannot be reset
                raise H2Error(errors.FRAME_SIZE_ERROR, "PRIORITY of a wrong size")
            self.stream_error(stream_id, errors.FRAME_SIZE_ERROR)

    def _rst_stream(self, stream_id: int, payload: bytes) -> None:
        """RST_STREAM (section 6.4). Many soon after the request are an attack (CVE-2023-44487)."""
        if len(payload) != 4:
            raise H2Error(errors.FRAME_SIZE_ERROR, "RST_STREAM of a wrong size")
        if not self.was_opened(stream_id):
            raise H2Error(errors.PROTOCOL_ERROR, "RST_STREAM on an idle stream")
        stream = self.streams.get(stream_id)
        if stream is None:
            self._chatter()
            return
        if self.now - stream.born < _RAPID and not self.resets.take(self.now):
            raise H2Error(errors.ENHANCE_YOUR_CALM, "too many streams are reset")
        self.forget(stream)
        stream.on_reset(int.from_bytes(payload, "big"))

    def _chatter(self) -> None:
        """A frame that does nothing for anybody; those that did are set against it."""
        useful, self.useful = self.useful, 0
        if self.blocked_writing:
            useful = 0  # the answers pile up
        if not self.calm.take(self.now, useful):
            raise H2Error(errors.ENHANCE_YOUR_CALM, "too many frames that do nothing")

    # --- windows ------------------------------------------------------------------------------------------------------

    def _window_update(self, stream_id: int, payload: bytes) -> None:
        """WINDOW_UPDATE (section 6.9)."""
        if len(payload) != 4:
            raise H2Error(errors.FRAME_SIZE_ERROR, "WINDOW_UPDATE of a wrong size")
        increment = int.from_bytes(payload, "big") & _ID
        if increment < TINY:
            self._chatter()
        if stream_id:
            self._open_stream_window(stream_id, increment)
            return
        if not increment:
            raise H2Error(errors.PROTOCOL_ERROR, "a window update of 0")
        self.send_window += increment
        if self.send_window > frames.LARGEST_WINDOW:
            raise H2Error(errors.FLOW_CONTROL_ERROR, "the connection's window is too large")
        if self.blocked:
            self._send_blocked()

    def _open_stream_window(self, stream_id: int, increment: int) -> None:
        stream = self.streams.get(stream_id)
        if stream is None:
            if not self.was_opened(stream_id):
                raise H2Error(errors.PROTOCOL_ERROR, "WINDOW_UPDATE on an idle stream")
            self._chatter()
            return
        stream.send_window += increment
        if not increment:
            self.stream_error(stream_id, errors.PROTOCOL_ERROR)
        elif stream.send_window > frames.LARGEST_WINDOW:
            self.stream_error(stream_id, errors.FLOW_CONTROL_ERROR)
        elif stream.waiting is not None:
            self._send_waiting(stream)

    def credit(self, stream: Stream) -> None:
        """Tell the peer what has been taken: of the stream and of all streams, each when that is half of a window."""
        if not stream.paused:
            self.unread += stream.held
            stream.held = 0
            unread = stream.unread
            if unread * 2 >= WINDOW and not stream.remote_done:
                self.out.append(frames.window_update(stream.id, unread))
                stream.recv_left += unread
                stream.unread = 0
                self.touch()
        self._credit_connection()

    def _credit_connection(self) -> None:
        unread = self.unread
        if unread * 2 >= self.window:
            self.unread = 0
            self.recv_left += unread
            self.out.append(frames.window_update(0, unread))
            self.touch()

    # --- ends ---------------------------------------------------------------------------------------------------------

    def stream_error(self, stream_id: int, code: int) -> None:
        """The peer has broken a rule about one stream (section 5.4.2). Provoking many is an attack (CVE-2025-8671)."""
        stream = self.streams.get(stream_id)
        self.refuse(stream_id, code)
        if stream is not None:
            self.forget(stream)
            stream.on_error(code)

    def refuse(self, stream_id: int, code: int) -> None:
        """Reset a stream through the peer's own doing. Raises H2Error when that happens too often."""
        if not self.resets.take(self.now):
            raise H2Error(errors.ENHANCE_YOUR_CALM, "too many streams had to be reset")
        self.reset(stream_id, code)

    def reset(self, stream_id: int, code: int) -> None:
        """Send RST_STREAM; frames of that stream that are still on the way are ignored."""
        ours = self.ours_reset
        if len(ours) >= _MOST_REMEMBERED:
            del ours[next(iter(ours))]
        ours[stream_id] = WINDOW
        self.out.append(frames.rst_stream(stream_id, code))
        self.touch()

    def forget(self, stream: S | Stream) -> None:
        """``stream`` is over: what it holds of windows and memory is released. Acts once."""
        found = self.streams.pop(stream.id, None)
        if found is None:
            return
        if found.waiting is not None:
            found.waiting = None
            self.blocked.pop(stream.id, None)
        if found.held:
            self.unread += found.held
            self._credit_connection()
        self.on_forgotten(found)


def _excess(stream: Stream, size: int, flags: int) -> int:
    """The error when a stream gets more than its window or other than its Content-Length; 0 when all is well."""
    if stream.recv_left < 0:
        return errors.FLOW_CONTROL_ERROR
    stream.left = left = stream.left - size
    return errors.PROTOCOL_ERROR if left < 0 or (flags & END_STREAM and left) else errors.NO_ERROR
