"""Active checks over HTTP/2: a request whose status counts, and gRPC's own health protocol (grpc.health.v1).

Made with the library ``h2``, which is slow and well tried: a check is one request every few seconds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Final

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
)
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes, Settings

from gatewright.controller.probe import HEAD_LIMIT, ProbeFailed, host_of
from gatewright.proxy.grpc import NAMES
from gatewright.snapshot.model import ActiveHealth, Endpoint, Upstream

#: Longest body of an answer that is looked at.
BODY_LIMIT: Final = 16 * 1024
#: HealthCheckResponse.ServingStatus
SERVING: Final = 1
#: Type of the frame that comes first, in its fourth octet (RFC 9113 section 3.4).
_SETTINGS: Final = b"\x04"
_STATES: Final = ("UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN")

Fields = list[tuple[str, str]]


class _Call:
    """One request on a connection of its own."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, fields: Fields, body: bytes) -> None:
        self._reader = reader
        self._writer = writer
        self._fields = fields
        self._unsent = body
        self._connection = H2Connection(H2Configuration(client_side=True, header_encoding="latin-1"))
        limits = {SettingCodes.ENABLE_PUSH: 0, SettingCodes.MAX_HEADER_LIST_SIZE: HEAD_LIMIT}
        self._connection.local_settings = Settings(client=True, initial_values=limits)
        self._heard = False
        self.status = 0
        #: Of the head and of the trailers.
        self.answer: dict[str, str] = {}
        self.body = b""

    async def run(self, *, whole: bool) -> None:
        """Send it and read the answer's head, or with ``whole`` all of it. Raises ProbeFailed."""
        try:
            self._connection.initiate_connection()
            self._connection.send_headers(1, self._fields, end_stream=not self._unsent)
            while True:
                self._send()
                data = await self._reader.read(HEAD_LIMIT)
                if not data:
                    raise ProbeFailed("closed before the end of the answer" if self.status else "closed without answer")
                if not self._heard and data[3:4] not in {b"", _SETTINGS}:  # the library would wait for more
                    raise ProbeFailed("the answer is not HTTP/2")
                self._heard = True
                for event in self._connection.receive_data(data):
                    if self._take(event) or (self.status and not whole):
                        return
        except ProtocolError as error:
            raise ProbeFailed(f"the answer is not HTTP/2: {error}") from error

    def _send(self) -> None:
        """Write what may be written: the body goes as far as the endpoint's windows let it."""
        connection = self._connection
        while self._unsent and (room := connection.local_flow_control_window(1)):
            size = min(room, connection.max_outbound_frame_size)
            piece, self._unsent = self._unsent[:size], self._unsent[size:]
            connection.send_data(1, piece, end_stream=not self._unsent)
        self._writer.write(connection.data_to_send())

    def _take(self, event: Event) -> bool:
        """Take an event over; True when the answer is complete."""
        match event:
            case ResponseReceived(headers=headers):
                self.answer.update(_decoded(headers))
                self.status = int(self.answer.get(":status", "0"))
            case TrailersReceived(headers=headers):
                self.answer.update(_decoded(headers))
            case DataReceived(data=data, flow_controlled_length=length):
                self.body += data
                if len(self.body) > BODY_LIMIT:
                    raise ProbeFailed("the answer is too long")
                if length:
                    self._connection.acknowledge_received_data(length, 1)
            case StreamEnded():
                return True
            case StreamReset(error_code=code):
                raise ProbeFailed(f"refused with the HTTP/2 error {_name(code)}")
            case ConnectionTerminated(error_code=code) if code:
                raise ProbeFailed(f"closed with the HTTP/2 error {_name(code)}")
            case _:
                pass  # settings, windows, pings: the library has seen to them
        return False


def _decoded(headers: object) -> Iterator[tuple[str, str]]:
    for name, value in headers or ():  # type: ignore[attr-defined]
        yield str(name), str(value)


def _name(code: object) -> str:
    return str(getattr(code, "name", code))


def _head(method: str, path: str, upstream: Upstream, endpoint: Endpoint, check: ActiveHealth) -> Fields:
    return [
        (":method", method),
        (":scheme", endpoint.scheme),
        (":authority", check.host or host_of(upstream, endpoint)),
        (":path", path),
        ("user-agent", "gatewright-health"),
    ]


async def ask(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    upstream: Upstream,
    endpoint: Endpoint,
    check: ActiveHealth,
) -> int:
    """Make the request of a check of type http. Returns the status. Raises ProbeFailed or OSError."""
    body = check.body.encode()
    fields = {"accept": "*/*"}
    if body or check.method in {"POST", "PUT", "PATCH"}:
        fields["content-length"] = str(len(body))
    fields |= {name.lower(): value for name, value in check.headers.items()}
    head = _head(check.method, check.path, upstream, endpoint, check)
    call = _Call(reader, writer, head + list(fields.items()), body)
    await call.run(whole=False)
    return call.status


async def ask_grpc(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    upstream: Upstream,
    endpoint: Endpoint,
    check: ActiveHealth,
) -> str:
    """Call ``grpc.health.v1.Health/Check``. Returns ``SERVING``. Raises ProbeFailed for everything else, or OSError."""
    head = _head("POST", "/grpc.health.v1.Health/Check", upstream, endpoint, check)
    head += [
        ("te", "trailers"),
        ("content-type", "application/grpc"),
        ("grpc-timeout", f"{max(1, int(check.timeout * 1000))}m"),
    ]
    head += [(name.lower(), value) for name, value in check.headers.items()]
    call = _Call(reader, writer, head, _message(check.service))
    await call.run(whole=True)
    code = call.answer.get("grpc-status")
    if code is None:
        raise ProbeFailed(f"the answer is not gRPC: status {call.status}")
    if code != "0":
        name = NAMES[int(code)] if code.isdigit() and int(code) < len(NAMES) else code
        raise ProbeFailed(f"grpc-status {name}")
    state = _serving_status(call.body)
    shown = _STATES[state] if 0 <= state < len(_STATES) else str(state)
    if state != SERVING:
        raise ProbeFailed(shown)
    return shown


def _message(service: str) -> bytes:
    """A HealthCheckRequest with its gRPC prefix: field 1 is the service's name."""
    name = service.encode()
    message = b"\x0a" + _varint(len(name)) + name if name else b""
    return b"\0" + len(message).to_bytes(4, "big") + message


def _varint(number: int) -> bytes:
    out = b""
    while number > 0x7F:
        out += bytes((number & 0x7F | 0x80,))
        number >>= 7
    return out + bytes((number,))


def _serving_status(body: bytes) -> int:
    """Field 1 of a HealthCheckResponse, 0 when it is not there. Raises ProbeFailed for what is no such message."""
    if len(body) < 5 or body[0] or len(body) != 5 + int.from_bytes(body[1:5], "big"):
        raise ProbeFailed("the answer is no message of the health protocol")
    message = body[5:]
    if not message:
        return 0
    if message[0] != 0x08 or len(message) < 2:
        raise ProbeFailed("the answer is no message of the health protocol")
    return message[1]
