"""What a server may send to a client and must not: RFC 9113 section by section, for the gateway towards endpoints."""

from __future__ import annotations

from dataclasses import dataclass

from tests.h2 import raw
from tests.h2.raw import (
    ACK,
    CALM,
    COMPRESSION,
    ENABLE_CONNECT,
    ENABLE_PUSH,
    END_HEADERS,
    END_STREAM,
    FLOW_CONTROL,
    FRAME_SIZE,
    INITIAL_WINDOW,
    MAX_FRAME,
    PADDED,
    PROTOCOL,
    STREAM_CLOSED,
    Sent,
    block,
    continuation,
    data,
    frame,
    goaway,
    headers,
    integer,
    literal,
    ping,
    priority,
    push_promise,
    request,
    rst,
    settings,
    window_update,
)

FRAME, WINDOW = 16_384, (1 << 31) - 1
GET = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"
HEAD = b"HEAD / HTTP/1.1\r\nhost: x\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n12345"


@dataclass(frozen=True)
class Broken:
    """The gateway ends the connection with one of these codes."""

    codes: tuple[int, ...]
    #: What the client gets; 0 when its response has begun, and breaks off.
    status: int = 502


@dataclass(frozen=True)
class Reset:
    """The gateway resets the stream with one of these codes; or breaks the connection, where that is allowed."""

    codes: tuple[int, ...]
    status: int = 502
    or_broken: tuple[int, ...] = ()


@dataclass(frozen=True)
class Served:
    """The client gets a complete response, and the connection goes on."""

    status: int = 200
    body: bytes = b"ok"
    interim: tuple[int, ...] = ()
    trailers: Sent = ()


@dataclass(frozen=True)
class Cut:
    """The endpoint's own doing: the response breaks off (status 0) or the gateway answers."""

    status: int = 502


Expectation = Broken | Reset | Served | Cut


@dataclass(frozen=True)
class Case:
    """Sent by the server when the request has come on stream 1; ``bare``: instead of its SETTINGS."""

    section: str
    name: str
    sent: tuple[bytes, ...]
    expected: Expectation
    request: bytes = GET
    bare: bool = False

    @property
    def id(self) -> str:
        return f"{self.section}-{self.name}".replace(" ", "_")


CASES: list[Case] = []


def case(
    section: str, name: str, expected: Expectation, *sent: bytes, request: bytes = GET, bare: bool = False
) -> None:
    CASES.append(Case(section, name, sent, expected, request, bare))


def broken(*codes: int, status: int = 502) -> Broken:
    return Broken(codes, status)


def status(code: bytes = b"200", *more: tuple[bytes, bytes]) -> Sent:
    return ((b":status", code), *more)


#: A head without an end, an end, and a whole response.
BEGIN = headers(1, status(), END_HEADERS)
OK = BEGIN + data(1, b"ok")
#: A stream error that may as well break the connection.
MALFORMED = Reset((PROTOCOL,))
MALFORMED_LATE = Reset((PROTOCOL,), 0)

# --- 3.4, 6.5 SETTINGS ------------------------------------------------------------------------------------------------

case("3.4", "first frame is PING", broken(PROTOCOL), ping(), bare=True)
case("3.4", "first frame is HEADERS", broken(PROTOCOL), OK, bare=True)
case("3.4", "first frame is a SETTINGS acknowledgement", broken(PROTOCOL), raw.SETTINGS_ACK, bare=True)
case("3.4", "HTTP/1.1", Reset((PROTOCOL, FRAME_SIZE), or_broken=(PROTOCOL, FRAME_SIZE)),
     b"HTTP/1.1 400 Bad Request\r\n\r\n", bare=True)  # fmt: skip
case("6.5", "more SETTINGS", Served(), settings((0x99, 1)), settings(), OK)
case("6.5", "acknowledgement with content", broken(FRAME_SIZE), frame(raw.SETTINGS, ACK, 0, bytes(6)))
case("6.5", "on a stream", broken(PROTOCOL), frame(raw.SETTINGS, 0, 1, bytes(6)))
case("6.5", "length no multiple of six", broken(FRAME_SIZE), frame(raw.SETTINGS, 0, 0, bytes(5)))
case("6.5.2", "ENABLE_PUSH 1 from a server", broken(PROTOCOL), settings((ENABLE_PUSH, 1)))
case("6.5.2", "ENABLE_PUSH 0 from a server", Served(), settings((ENABLE_PUSH, 0)), OK)
case("6.5.2", "INITIAL_WINDOW_SIZE too large", broken(FLOW_CONTROL), settings((INITIAL_WINDOW, 1 << 31)))
case("6.5.2", "MAX_FRAME_SIZE too small", broken(PROTOCOL), settings((MAX_FRAME, FRAME - 1)))
case("6.5.2", "MAX_FRAME_SIZE too large", broken(PROTOCOL), settings((MAX_FRAME, 1 << 24)))
case("8441", "3 ENABLE_CONNECT_PROTOCOL 2", broken(PROTOCOL), settings((ENABLE_CONNECT, 2)))

# --- 4 frames and blocks ----------------------------------------------------------------------------------------------

case("4.1", "unknown type", Served(), frame(0x16, 0xFF, 0, b"x"), frame(0x16, 0xFF, 1, b"x"), OK)
case("4.1", "reserved bit", Served(), frame(raw.HEADERS, 4, 1 | 1 << 31, block(status())), data(1, b"ok"))
case("4.2", "DATA above the largest size", Reset((FRAME_SIZE,), 0, or_broken=(FRAME_SIZE,)), BEGIN,
     data(1, b"x" * (FRAME + 1)))  # fmt: skip
case("4.2", "DATA of the largest size", Served(body=b"x" * FRAME), BEGIN, data(1, b"x" * FRAME))
case("4.2", "HEADERS above the largest size", broken(FRAME_SIZE), headers(1, status(b"200", (b"x", b"y" * FRAME))))
case("4.3", "block cut in a literal", broken(COMPRESSION), headers(1, block(status())[:-1]))
case("4.3", "index 0", broken(COMPRESSION), headers(1, block(status()) + b"\x80"))
case("4.3", "index behind the table", broken(COMPRESSION), headers(1, block(status()) + b"\xbe"))
case("4.3", "size update above the limit", broken(COMPRESSION), headers(1, integer(4097, 5, 0x20) + block(status())))
case("4.3", "PING in a block", broken(PROTOCOL), headers(1, status(), END_STREAM), ping(), continuation(1, b""))
case("4.3", "block in pieces", Served(body=b""), headers(1, block(status())[:3], END_STREAM),
     continuation(1, block(status())[3:], 0), continuation(1, b""))  # fmt: skip
case("4.3", "table is used", Served(), headers(1, block(status()) + literal(b"x", b"1", 0x40) + b"\xbe", END_HEADERS),
     data(1, b"ok"))  # fmt: skip
case("4.3", "index of a status", Served(body=b""), headers(1, b"\x88"))
case("6.10", "CONTINUATION without end", broken(CALM, PROTOCOL), headers(1, status(), END_STREAM),
     *[continuation(1, b"", 0)] * 2000)  # fmt: skip
case("6.10", "CONTINUATION of 16 KiB without end", broken(CALM, PROTOCOL, COMPRESSION),
     headers(1, status(), END_STREAM), *[continuation(1, block([(b"x", b"y" * 16_000)]), 0)] * 100)  # fmt: skip
case("10.5.1", "a header list that is too large", Reset((CALM, PROTOCOL, raw.CANCEL), or_broken=(CALM, PROTOCOL)),
     headers(1, literal(b":status", b"200") + literal(b"x", b"y" * 4000, 0x40) + b"\xbe" * 5000))  # fmt: skip

# --- 5 streams --------------------------------------------------------------------------------------------------------

case("5.1", "HEADERS on a stream that nobody opened", broken(PROTOCOL), headers(3, status()))
case("5.1", "DATA on a stream that nobody opened", broken(PROTOCOL), data(3, b"x"))
case("5.1", "RST_STREAM on a stream that nobody opened", broken(PROTOCOL), rst(3))
case("5.1", "WINDOW_UPDATE on a stream that nobody opened", broken(PROTOCOL), window_update(3, 1))
case("5.1", "PRIORITY on a stream that nobody opened", Served(), priority(3), OK)
case("5.1.1", "HEADERS on a stream of the server's", broken(PROTOCOL), headers(2, status()))
case("5.1", "closed and DATA", Served(), OK, ping(), window_update(1, 5), rst(1), priority(1))
case("8.4", "PUSH_PROMISE", broken(PROTOCOL), push_promise(1, 2, request()))
case("8.4", "PUSH_PROMISE behind the head", broken(PROTOCOL, status=0), BEGIN, push_promise(1, 2, request()))

# --- 6 frames ---------------------------------------------------------------------------------------------------------

case("6.1", "stream 0", broken(PROTOCOL), data(0, b"x"))
case("6.1", "padded", Served(), BEGIN, data(1, b"\x03ok\0\0\0", PADDED | END_STREAM))
case(
    "6.1", "padding as long as the frame", broken(PROTOCOL, status=0), BEGIN, data(1, b"\x04ok\0", PADDED | END_STREAM)
)
case("6.2", "stream 0", broken(PROTOCOL), headers(0, status()))
case("6.2", "padded, with a priority", Served(body=b""),
     headers(1, status(), 0x2D, before=b"\x03\0\0\0\0\x10", after=bytes(3)))  # fmt: skip
case("6.2", "padding longer than the frame", broken(PROTOCOL), headers(1, status(), 5 | PADDED, before=b"\xff"))
case("6.3", "stream 0", broken(PROTOCOL), priority(0))
case("6.4", "stream 0", broken(PROTOCOL), rst(0))
case("6.4", "wrong length", broken(FRAME_SIZE), frame(raw.RST_STREAM, 0, 1, b"\0\0\0"))
case("6.4", "before the head", Cut(), rst(1, raw.INTERNAL))
case("6.4", "in the middle of the content", Cut(0), BEGIN, data(1, b"half", 0), rst(1, raw.INTERNAL))
case("6.4", "NO_ERROR in the middle of the content", Cut(0), BEGIN, data(1, b"half", 0), rst(1, raw.NO_ERROR))
case("8.1", "NO_ERROR behind a response that does not wait for the request", Served(), OK, rst(1, raw.NO_ERROR),
     request=POST)  # fmt: skip
case("6.7", "on a stream", broken(PROTOCOL), ping(stream=1))
case("6.7", "wrong length", broken(FRAME_SIZE), ping(b"1234"))
case("6.7", "acknowledgement nobody waits for", Served(), ping(flags=ACK), OK)
case("6.8", "on a stream", broken(PROTOCOL), goaway(stream=1))
case("6.8", "cut", broken(FRAME_SIZE), frame(raw.GOAWAY, 0, 0, b"\0\0\0\0"))
case("6.9", "0 for the connection", broken(PROTOCOL), window_update(0, 0))
case("6.9", "0 for a stream", Reset((PROTOCOL,), or_broken=(PROTOCOL,)), window_update(1, 0))
case("6.9", "wrong length", broken(FRAME_SIZE), frame(raw.WINDOW_UPDATE, 0, 0, b"\0\0\1"))
case("6.9.1", "above the largest window", broken(FLOW_CONTROL), window_update(0, WINDOW))
case("6.9.1", "above the largest window of a stream", Reset((FLOW_CONTROL,)), window_update(1, WINDOW))
case("6.9.2", "new initial window overflows a stream", broken(FLOW_CONTROL), settings((INITIAL_WINDOW, 0)),
     window_update(1, WINDOW), settings((INITIAL_WINDOW, 100)), request=POST)  # fmt: skip
case("6.10", "without HEADERS", broken(PROTOCOL), continuation(1, block(status())))

# --- 8 messages -------------------------------------------------------------------------------------------------------

TRAILERS = headers(1, [(b"x-sum", b"1")])
HINTS = headers(1, status(b"103", (b"link", b"</a>")), END_HEADERS)

case("8.1", "content", Served(), OK)
case("8.1", "no content", Served(204, b""), headers(1, status(b"204")))
case("8.1", "an empty DATA ends it", Served(body=b""), BEGIN, data(1))
case("8.1", "trailers", Served(trailers=((b"x-sum", b"1"),)), BEGIN, data(1, b"ok", 0), TRAILERS)
case("8.1", "DATA before HEADERS", MALFORMED, data(1, b"x", 0))
case("8.1", "empty DATA before HEADERS", MALFORMED, data(1))
case("8.1", "trailers that do not end the stream", MALFORMED_LATE, BEGIN, data(1, b"ok", 0),
     headers(1, [(b"x", b"1")], END_HEADERS))  # fmt: skip
case("8.1", "trailers with a pseudo-field", MALFORMED_LATE, BEGIN, data(1, b"ok", 0), headers(1, status()))
case("8.1", "trailers in upper case", MALFORMED_LATE, BEGIN, data(1, b"ok", 0), headers(1, [(b"X-Sum", b"1")]))
case("8.1", "two interim responses", Served(interim=(103, 103)), HINTS, HINTS, OK)
case("8.1", "100 that nobody asked for", Served(), headers(1, status(b"100"), END_HEADERS), OK)
case("8.1", "an interim response that ends the stream", MALFORMED, headers(1, status(b"103")))
case("8.1", "an interim response behind the head", MALFORMED_LATE, BEGIN, HINTS)
case("8.1", "DATA behind an interim response", MALFORMED, headers(1, status(b"100"), END_HEADERS), data(1, b"x"))
case("8.6", "101", MALFORMED, headers(1, status(b"101"), END_HEADERS))


def length(name: str, expected: Expectation, value: bytes, *frames: bytes, request: bytes = GET) -> None:
    flags = END_HEADERS if frames else 5
    fields = status(b"200", (b"content-length", value))
    case("8.1.1", name, expected, headers(1, fields, flags), *frames, request=request)


length("content-length and as much", Served(), b"2", data(1, b"o", 0), data(1, b"k"))
length("content-length and less", MALFORMED_LATE, b"3", data(1, b"ok"))
length("content-length and less, trailers", MALFORMED_LATE, b"3", data(1, b"ok", 0), TRAILERS)
length("content-length and more", MALFORMED_LATE, b"1", data(1, b"ok"))
length("content-length and more in two frames", MALFORMED_LATE, b"2", data(1, b"o", 0), data(1, b"kay"))
length("content-length and nothing", MALFORMED, b"3")
length("content-length and nothing, for HEAD", Served(body=b""), b"3", request=HEAD)
length("content-length of letters", MALFORMED, b"3x", data(1, b"abc"))
length("content-length with a sign", MALFORMED, b"+2", data(1, b"ok"))
length("content-length empty", MALFORMED, b"", data(1, b"ok"))
case("8.1.1", "two content-lengths that differ", MALFORMED,
     headers(1, status(b"200", (b"content-length", b"1"), (b"content-length", b"2")), END_HEADERS),
     data(1, b"ok"))  # fmt: skip
case("8.1.1", "content-length of a 304", Served(304, b""), headers(1, status(b"304", (b"content-length", b"9"))))
case("8.1.1", "content for HEAD", Reset((PROTOCOL, raw.NO_ERROR, raw.CANCEL, STREAM_CLOSED), 200), BEGIN,
     data(1, b"ok"), request=HEAD)  # fmt: skip
case("8.1.1", "content of a 204", Reset((PROTOCOL, raw.NO_ERROR, raw.CANCEL, STREAM_CLOSED), 204),
     headers(1, status(b"204"), END_HEADERS), data(1, b"ok"))  # fmt: skip


def bad(name: str, fields: raw.Pairs, section: str = "8.3.2") -> None:
    case(section, name, MALFORMED, headers(1, fields))


bad("no status", [(b"x", b"1")])
bad("no fields", [])
bad("two statuses", [(b":status", b"200"), (b":status", b"200")])
bad("status of two digits", status(b"20"))
bad("status of four digits", status(b"2000"))
bad("status of letters", status(b"abc"))
bad("status 099", status(b"099"))
bad("status with a line end", status(b"200\r\nx: 1"))
bad("empty status", status(b""))
bad("status behind a field", [(b"x", b"1"), (b":status", b"200")], "8.3")
bad("pseudo-field of a request", status(b"200", (b":path", b"/")), "8.3")
bad("unknown pseudo-field", status(b"200", (b":x", b"1")), "8.3")
bad("upper case", status(b"200", (b"X-A", b"1")), "8.2")
bad("empty name", status(b"200", (b"", b"1")), "8.2.1")
for octet in (0x00, 0x0A, 0x0D, 0x20, 0x3A, 0x7F, 0x80):
    bad(f"name with {octet:#04x}", status(b"200", (b"a" + bytes([octet]) + b"b", b"1")), "8.2.1")
for octet in (0x00, 0x0A, 0x0D):
    bad(f"value with {octet:#04x}", status(b"200", (b"a", b"1" + bytes([octet]) + b"2")), "8.2.1")
bad("value begins with a space", status(b"200", (b"a", b" 1")), "8.2.1")
for name in (b"connection", b"proxy-connection", b"keep-alive", b"transfer-encoding", b"upgrade"):
    bad(name.decode(), status(b"200", (name, b"x")), "8.2.2")
case("8.2.1", "value with obs-text", Served(), headers(1, status(b"200", (b"a", b"\xe9\t1")), END_HEADERS),
     data(1, b"ok"))  # fmt: skip
