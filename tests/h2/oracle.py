"""A well-behaved peer of either role, made of the ``h2`` library, which objects to whatever breaks the rules."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.settings import SettingCodes, Settings
from tests.h2.raw import Link, Pairs, Sent

from h2 import events


@dataclass
class Heard:
    """What the other side has sent on a stream, and what is to be sent to it."""

    id: int
    fields: Sent = ()
    informational: list[Sent] = field(default_factory=list)
    body: bytearray = field(default_factory=bytearray)
    trailers: Sent = ()
    #: It has ended its side; it has reset the stream, with this code.
    ended: bool = False
    reset: int | None = None
    #: Octets that have not been given back to its windows.
    owed: int = 0
    #: Ours: what waits for the window, whether our side has ended or is to end, and with which trailers.
    out: deque[bytes] = field(default_factory=deque)
    finishing: bool = False
    finished: bool = False
    last: Sent = ()

    def get(self, name: bytes) -> bytes | None:
        """The only value of a field."""
        values = [value for other, value in self.fields if other == name]
        assert len(values) < 2, f"{name!r} is repeated: {values}"
        return values[0] if values else None


class Oracle:
    """One end of a connection.

    ``pump`` moves octets both ways; everything else calls it. A violation by the other side raises the library's
    ProtocolError there.

    Args:
        link: To the other side.
        client: The role.
        grant: Give back what has been received at once; otherwise when ``give`` is called.
        local: Settings to announce.
    """

    def __init__(
        self, link: Link, *, client: bool, grant: bool = True, local: dict[SettingCodes, int] | None = None
    ) -> None:
        self.link = link
        self.client = client
        self.grant = grant
        config = H2Configuration(client_side=client, header_encoding=False, normalize_inbound_headers=False)
        self.connection = H2Connection(config)
        values = dict(local or {}) | ({} if client else {SettingCodes.ENABLE_CONNECT_PROTOCOL: 1})
        self.connection.local_settings = Settings(client=client, initial_values=values)
        self.streams: dict[int, Heard] = {}
        #: Of the other side's GOAWAY frames: last id and code.
        self.goaways: list[tuple[int, int]] = []
        self.pongs: list[bytes] = []
        self.moved = 0
        #: The connection has come to an end: GOAWAY has come, after which the library does no more, or it is closed.
        self.over = False
        self.connection.initiate_connection()
        self.pump()

    # --- octets -------------------------------------------------------------------------------------------------------

    def pump(self) -> None:
        """Send and receive until nothing moves."""
        while not self.over:
            self._send_bodies()
            out = self.connection.data_to_send()
            if out:
                self.link.send(out)
            came = self.link.receive()
            self.over = self.link.closed
            if not came and not out:
                return
            self.moved += 1
            for event in self.connection.receive_data(came) if came else ():
                self._on(event)

    def _send_bodies(self) -> None:
        for stream in self.streams.values():
            while stream.out and stream.reset is None:
                room = min(
                    self.connection.local_flow_control_window(stream.id), self.connection.max_outbound_frame_size
                )
                if room <= 0 and stream.out[0]:
                    break
                piece = stream.out.popleft()
                if len(piece) > room:
                    stream.out.appendleft(piece[room:])
                    piece = piece[:room]
                self.connection.send_data(stream.id, piece)
            if stream.finishing and not stream.finished and not stream.out and stream.reset is None:
                stream.finished = True
                if stream.last:
                    self.connection.send_headers(stream.id, stream.last, end_stream=True)
                else:
                    self.connection.end_stream(stream.id)

    def _on(self, event: events.Event) -> None:
        if isinstance(event, events.ConnectionTerminated):
            self.goaways.append((event.last_stream_id or 0, int(event.error_code or 0)))
            self.over = True
        elif isinstance(event, events.PingAckReceived):
            self.pongs.append(event.ping_data)
        elif isinstance(event, (events.RequestReceived, events.ResponseReceived)):
            self._heard(event.stream_id).fields = _pairs(event.headers)
        elif isinstance(event, events.InformationalResponseReceived):
            self._heard(event.stream_id).informational.append(_pairs(event.headers))
        elif isinstance(event, events.TrailersReceived):
            self._heard(event.stream_id).trailers = _pairs(event.headers)
        elif isinstance(event, events.DataReceived):
            stream = self._heard(event.stream_id)
            stream.body += event.data
            stream.owed += event.flow_controlled_length
            if self.grant:
                self._give(stream)
        elif isinstance(event, events.StreamEnded):
            self._heard(event.stream_id).ended = True
        elif isinstance(event, events.StreamReset):
            assert event.remote_reset, f"the library itself has reset stream {event.stream_id}"
            self._heard(event.stream_id).reset = int(event.error_code)
        else:
            assert not isinstance(event, events.PushedStreamReceived)

    def _heard(self, stream: int | None) -> Heard:
        assert stream is not None
        return self.streams.setdefault(stream, Heard(stream))

    # --- windows ------------------------------------------------------------------------------------------------------

    def _give(self, stream: Heard) -> None:
        if stream.owed and not self.over:
            owed, stream.owed = stream.owed, 0
            self.connection.acknowledge_received_data(owed, stream.id)

    def give(self, stream: int) -> None:
        """Give back to the windows what has come on ``stream``."""
        self._give(self.streams[stream])
        self.pump()

    def widen(self, increment: int, stream: int | None = None) -> None:
        """Enlarge a window beyond what has come."""
        self.connection.increment_flow_control_window(increment, stream)
        self.pump()

    def set(self, **values: int) -> None:
        """Change settings, named as in :class:`h2.settings.SettingCodes`."""
        self.connection.update_settings({SettingCodes[name]: value for name, value in values.items()})
        self.pump()

    # --- streams ------------------------------------------------------------------------------------------------------

    def open(self, fields: Pairs, *, end: bool = False) -> Heard:
        """Begin a request."""
        stream = self.connection.get_next_available_stream_id()
        made = self.streams[stream] = Heard(stream, finishing=end, finished=end)
        self.connection.send_headers(stream, list(fields), end_stream=end)
        self.pump()
        return made

    def head(self, stream: Heard, fields: Pairs, *, end: bool = False) -> None:
        """A response's head, interim or final."""
        self.connection.send_headers(stream.id, list(fields), end_stream=end)
        stream.finishing = stream.finished = end
        self.pump()

    def send(self, stream: Heard, data: bytes, *, end: bool = False, trailers: Sent = ()) -> None:
        """A piece of the body, as far as the windows allow at once, the rest later."""
        if data:
            stream.out.append(data)
        if end:
            stream.finishing, stream.last = True, trailers
        self.pump()

    def reset(self, stream: Heard, code: int = 8) -> None:
        """Give a stream up."""
        self.pump()  # the library does not expect 1xx on a stream that it has reset
        if self.over or stream.reset is not None or (stream.ended and stream.finished):
            return
        stream.out.clear()
        stream.reset = code
        self.connection.reset_stream(stream.id, code)
        self.pump()

    def ping(self, payload: bytes = b"pingpong") -> None:
        self.connection.ping(payload)
        self.pump()


def _pairs(fields: object) -> Sent:
    return tuple((bytes(name), bytes(value)) for name, value in fields)  # type: ignore[attr-defined]
