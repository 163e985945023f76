"""What a client may send to a server and must not: RFC 9113, RFC 7541 and RFC 8441, section by section."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from tests.h2 import raw
from tests.h2.expect import ON_CLOSED, Answered, Broken, Expectation, Gone, Ignored, Malformed, Reset
from tests.h2.raw import (
    ACK,
    COMPRESSION,
    CONTINUATION,
    ENABLE_CONNECT,
    ENABLE_PUSH,
    END_HEADERS,
    END_STREAM,
    FLOW_CONTROL,
    FRAME_SIZE,
    HEADERS,
    INITIAL_WINDOW,
    MAX_FRAME,
    PADDED,
    PREFACE,
    PRIORITIZED,
    PROTOCOL,
    REFUSED_STREAM,
    STREAM_CLOSED,
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

#: The largest frame that everybody takes, and the largest window.
FRAME, WINDOW = 16_384, (1 << 31) - 1
#: Keeps a response from ending: no window for its body.
STALL = settings((INITIAL_WINDOW, 0))

POST = request(method=b"POST")
OPEN = headers(1, POST, END_HEADERS)
GET = headers(1, request())


@dataclass(frozen=True)
class Case:
    """Sent after preface and SETTINGS, unless ``bare``."""

    section: str
    name: str
    sent: tuple[bytes, ...]
    expected: Expectation
    bare: bool = False
    #: Why nghttpd is not asked, or does otherwise.
    not_nghttpd: str = ""

    @property
    def id(self) -> str:
        return f"{self.section}-{self.name}".replace(" ", "_")


CASES: list[Case] = []


def case(
    section: str, name: str, expected: Expectation, *sent: bytes, bare: bool = False, not_nghttpd: str = ""
) -> None:
    CASES.append(Case(section, name, sent, expected, bare, not_nghttpd))


def broken(*codes: int) -> Broken:
    return Broken(codes)


# --- 3.4 the preface --------------------------------------------------------------------------------------------------

case("3.4", "preface", Answered(), PREFACE, settings(), GET, bare=True)
case("3.4", "not quite the preface", Gone(), PREFACE[:-6] + b"XX\r\n\r\n", settings(), GET, bare=True)
case("3.4", "first frame is PING", broken(PROTOCOL), PREFACE, ping(), bare=True)
case("3.4", "first frame is HEADERS", broken(PROTOCOL), PREFACE, GET, bare=True)
case("3.4", "first frame is a SETTINGS acknowledgement", broken(PROTOCOL), PREFACE, raw.SETTINGS_ACK, bare=True,
     not_nghttpd="takes it as any SETTINGS")  # fmt: skip
case("3.4", "requests behind the preface without waiting", Answered(streams=(1, 3)),
     PREFACE, settings((MAX_FRAME, 20_000)), GET, headers(3, request()), bare=True)  # fmt: skip

# --- 4 frames ---------------------------------------------------------------------------------------------------------

case("4.1", "unknown type", Ignored(), frame(0x16, 0, 0, b"12345678"))
case("4.1", "unknown type on a stream", Answered(), OPEN, frame(0xFE, 0xFF, 1, b"x"), data(1))
case("4.1", "unknown flags", Ignored(), frame(raw.PING, 0xFE, 0, b"12345678"))
case("4.1", "reserved bit", Answered(), frame(HEADERS, 5, 1 | 1 << 31, block(request())))
case("4.2", "DATA of the largest size", Answered(), OPEN, data(1, b"x" * FRAME))
case("4.2", "DATA above the largest size", Reset((FRAME_SIZE,), or_broken=(FRAME_SIZE,)), OPEN,
     data(1, b"x" * (FRAME + 1)))  # fmt: skip
case("4.2", "HEADERS above the largest size", broken(FRAME_SIZE), headers(1, request((b"x", b"y" * (FRAME + 1)))))
case("4.2", "SETTINGS above the largest size", broken(FRAME_SIZE), settings(*[(0xF0, 1)] * (FRAME // 6 + 1)))
case("4.2", "unknown type above the largest size", broken(FRAME_SIZE), frame(0x16, 0, 0, b"x" * (FRAME + 1)))
case("4.2", "CONTINUATION above the largest size", broken(FRAME_SIZE),
     headers(1, request(), END_STREAM), continuation(1, block([(b"x", b"y" * (FRAME + 1))])),
     not_nghttpd="takes it")  # fmt: skip

# --- 4.3 field blocks, and RFC 7541 -----------------------------------------------------------------------------------

OK_BLOCK = block(request())


def hpack(
    name: str, payload: bytes, section: str = "7541", expected: Expectation | None = None, skip: str = ""
) -> None:
    case(section, name, expected or broken(COMPRESSION), headers(1, payload), not_nghttpd=skip)


hpack("block cut in a literal", OK_BLOCK[:-1], "4.3")
hpack("empty block", b"", "8.3.1", Malformed())
hpack("2.3.3 index 0", OK_BLOCK + b"\x80")
hpack("2.3.3 index behind the table", OK_BLOCK + b"\xbe")
hpack("2.3.3 name index behind the table", OK_BLOCK + integer(62, 4) + integer(1, 7) + b"x")
hpack("5.1 integer without end", OK_BLOCK + b"\xff" + b"\xff" * 20)
hpack("5.1 integer cut", OK_BLOCK + b"\xff\x80")
hpack("5.1 integer with leading zeros", OK_BLOCK + b"\x0f\x80\x80\x00" + b"\x00", expected=Answered())
hpack("5.2 string longer than the block", OK_BLOCK + b"\x00\x01x\x05y")
hpack("5.2 padding of more than 7 bits", OK_BLOCK + b"\x00\x01x" + b"\x82\x1f\xff")
hpack("5.2 padding of zeros", OK_BLOCK + b"\x00\x01x" + b"\x81\x18")
hpack("5.2 EOS in a string", OK_BLOCK + b"\x00\x01x" + b"\x84\xff\xff\xff\xff")
hpack("4.2 size update in front", b"\x20\x3f\xe1\x1f" + OK_BLOCK, expected=Answered())
hpack("4.2 size update behind a field", OK_BLOCK + b"\x20")
hpack("4.2 size update above the limit", integer(4097, 5, 0x20) + OK_BLOCK)
hpack("6.2 indexing, without indexing and never indexed",
      OK_BLOCK + literal(b"a", b"1", 0x40) + literal(b"b", b"2", 0x10) + b"\xbe", expected=Answered())  # fmt: skip
case("7541", "2.2 table is kept when a stream is refused", Answered(200, (3,)),
     headers(1, block([(b"X-upper", b"1")]) + literal(b":authority", b"x", 0x40)),
     headers(3, block(request(drop="authority")[:2]) + literal(b":path", b"/") + b"\xbe"))  # fmt: skip
case("7541", "4.4 a field larger than the table empties it", broken(COMPRESSION),
     headers(1, OK_BLOCK + literal(b"a", b"1", 0x40) + literal(b"b", b"y" * 5000, 0x40) + b"\xbe"))  # fmt: skip

case("4.3", "PING in a block", broken(PROTOCOL), headers(1, request(), END_STREAM), ping(), continuation(1, b""))
case("4.3", "PRIORITY in a block", broken(PROTOCOL), headers(1, request(), END_STREAM), priority(1),
     continuation(1, b""))  # fmt: skip
case("4.3", "HEADERS of another stream in a block", broken(PROTOCOL), headers(1, request(), END_STREAM),
     headers(3, request()))  # fmt: skip
case("5.5", "unknown type in a block", broken(PROTOCOL), headers(1, request(), END_STREAM), frame(0x16, 0, 1),
     continuation(1, b""))  # fmt: skip
case("4.3", "block in many pieces", Answered(), headers(1, OK_BLOCK[:5], END_STREAM),
     *(continuation(1, OK_BLOCK[i : i + 10], 0) for i in range(5, 45, 10)), continuation(1, OK_BLOCK[45:]))  # fmt: skip
case("4.3", "block ends with an empty CONTINUATION", Answered(), headers(1, request(), END_STREAM),
     continuation(1, b""))  # fmt: skip

# --- 5.1 states of streams --------------------------------------------------------------------------------------------

case("5.1", "idle and DATA", broken(PROTOCOL), data(1, b"x"))
case("5.1", "idle and RST_STREAM", broken(PROTOCOL), rst(1))
case("5.1", "idle and WINDOW_UPDATE", broken(PROTOCOL), window_update(1, 100))
case("5.1", "idle and CONTINUATION", broken(PROTOCOL), continuation(1, OK_BLOCK))
case("5.1", "idle and PRIORITY", Ignored(), priority(1))
case("5.1", "idle of the other side and WINDOW_UPDATE", broken(PROTOCOL), window_update(2, 100))
case("5.1", "half-closed and DATA", ON_CLOSED, STALL, GET, data(1, b"x"))
case("5.1", "half-closed and HEADERS", ON_CLOSED, STALL, GET, GET)
case("5.1", "half-closed and CONTINUATION", broken(PROTOCOL), STALL, GET, continuation(1, OK_BLOCK))
case("5.1", "half-closed and WINDOW_UPDATE, PRIORITY", Answered(), STALL, GET, priority(1), window_update(1, 100))
case("5.1", "half-closed and RST_STREAM", Ignored(), STALL, GET, rst(1))
case("5.1", "reset and DATA", Reset((STREAM_CLOSED,), or_broken=(STREAM_CLOSED,)), STALL, OPEN, rst(1), data(1, b"x"),
     not_nghttpd="ignores it")  # fmt: skip
case("5.1", "reset and HEADERS", ON_CLOSED, STALL, OPEN, rst(1), GET)
case("5.1", "reset and CONTINUATION", broken(PROTOCOL), STALL, OPEN, rst(1), continuation(1, OK_BLOCK))
case("5.1", "reset and PRIORITY, WINDOW_UPDATE, RST_STREAM", Ignored(), STALL, OPEN, rst(1), priority(1),
     window_update(1, 5), rst(1))  # fmt: skip
case("5.1", "closed and DATA", ON_CLOSED, GET, ping(), data(1, b"x"),
     not_nghttpd="sends the answer after the case has been read")  # fmt: skip
case("5.1", "closed and HEADERS", ON_CLOSED, GET, ping(), GET)
case("5.1", "closed and PRIORITY", Answered(), GET, ping(), priority(1))
case("5.1", "open and RST_STREAM", Ignored(), OPEN, data(1, b"x", 0), rst(1))

case("5.1.1", "even stream", broken(PROTOCOL), headers(2, request()))
case("5.1.1", "lower stream", broken(PROTOCOL, STREAM_CLOSED), headers(5, request()), headers(3, request()),
     not_nghttpd="ignores it")  # fmt: skip
case("5.1.1", "lower stream while a higher one is open", broken(PROTOCOL, STREAM_CLOSED), headers(5, POST, END_HEADERS),
     headers(3, request()), not_nghttpd="ignores it")  # fmt: skip
case("5.1.1", "skipped streams", Answered(200, (7, 101)), headers(7, request()), headers(101, request()))
case("5.1.1", "skipped stream and DATA", Reset((STREAM_CLOSED,), 5, or_broken=(PROTOCOL, STREAM_CLOSED)),
     headers(7, request()), data(5, b"x"), not_nghttpd="ignores it")  # fmt: skip
case("5.1.2", "too many streams", Reset((REFUSED_STREAM,), 257, or_broken=(PROTOCOL,)), STALL,
     *(headers(1 + 2 * i, request()) for i in range(129)),
     not_nghttpd="announces 100, and takes it for an attack")  # fmt: skip

case("5.3", "stream depends on itself", Ignored(), priority(1, 1), not_nghttpd="an error by RFC 7540")
case("5.3", "HEADERS that depend on themselves", Answered(), headers(1, request(), 0x25, before=b"\0\0\0\1\x10"),
     not_nghttpd="an error by RFC 7540")  # fmt: skip
case("5.3", "HEADERS with a priority", Answered(), headers(1, request(), 0x25, before=b"\x80\0\0\x03\xff"))
case("5.3", "HEADERS with priority and padding", Answered(),
     headers(1, request(), 0x2D, before=b"\x04\0\0\0\0\x10", after=bytes(4)))  # fmt: skip

# --- 6.1 DATA ---------------------------------------------------------------------------------------------------------

case("6.1", "stream 0", broken(PROTOCOL), data(0, b"x"))
case("6.1", "padded", Answered(), OPEN, data(1, b"\x05abcd" + bytes(5), END_STREAM | PADDED))
case("6.1", "nothing but padding", Answered(), OPEN, data(1, b"\x05" + bytes(5), END_STREAM | PADDED))
case("6.1", "padding as long as the frame", broken(PROTOCOL), OPEN, data(1, b"\x05abcd", END_STREAM | PADDED))
case("6.1", "padding without its length", broken(FRAME_SIZE, PROTOCOL), OPEN, data(1, b"", END_STREAM | PADDED))
case("6.1", "empty frames", Answered(), OPEN, data(1, b"", 0), data(1, b"", 0), data(1))

# --- 6.2 HEADERS ------------------------------------------------------------------------------------------------------

case("6.2", "stream 0", broken(PROTOCOL), headers(0, request()))
case("6.2", "padded", Answered(), headers(1, request(), 5 | PADDED, before=b"\x08", after=bytes(8)))
case("6.2", "padding longer than the frame", broken(PROTOCOL), headers(1, request(), 5 | PADDED, before=b"\xff"))
case("6.2", "padding without its length", broken(FRAME_SIZE, PROTOCOL), headers(1, b"", 5 | PADDED))
case("6.2", "priority cut", broken(FRAME_SIZE, PROTOCOL), headers(1, b"\0\0", 5 | PRIORITIZED))

# --- 6.3 PRIORITY, 6.4 RST_STREAM -------------------------------------------------------------------------------------

case("6.3", "stream 0", broken(PROTOCOL), priority(0))
case("6.3", "wrong length", Reset((FRAME_SIZE,), or_broken=(FRAME_SIZE,)), OPEN,
     frame(raw.PRIORITY, 0, 1, b"\0\0\0\0"))  # fmt: skip
case("6.3", "wrong length on an idle stream", broken(FRAME_SIZE), frame(raw.PRIORITY, 0, 1, b"\0\0\0\0"))
case("6.4", "stream 0", broken(PROTOCOL), rst(0))
case("6.4", "wrong length", broken(FRAME_SIZE), OPEN, frame(raw.RST_STREAM, 0, 1, b"\0\0\0"))

# --- 6.5 SETTINGS -----------------------------------------------------------------------------------------------------

case("6.5", "acknowledgement with content", broken(FRAME_SIZE), frame(raw.SETTINGS, ACK, 0, bytes(6)))
case("6.5", "on a stream", broken(PROTOCOL), frame(raw.SETTINGS, 0, 1, bytes(6)))
case("6.5", "length no multiple of six", broken(FRAME_SIZE), frame(raw.SETTINGS, 0, 0, bytes(7)))
case("6.5.2", "ENABLE_PUSH 2", broken(PROTOCOL), settings((ENABLE_PUSH, 2)))
case("6.5.2", "ENABLE_PUSH 0", Ignored(), settings((ENABLE_PUSH, 0)))
case("6.5.2", "INITIAL_WINDOW_SIZE too large", broken(FLOW_CONTROL), settings((INITIAL_WINDOW, 1 << 31)))
case("6.5.2", "INITIAL_WINDOW_SIZE largest", Ignored(), settings((INITIAL_WINDOW, WINDOW)))
case("6.5.2", "MAX_FRAME_SIZE too small", broken(PROTOCOL), settings((MAX_FRAME, FRAME - 1)))
case("6.5.2", "MAX_FRAME_SIZE too large", broken(PROTOCOL), settings((MAX_FRAME, 1 << 24)))
case("6.5.2", "MAX_FRAME_SIZE largest", Answered(), settings((MAX_FRAME, (1 << 24) - 1)), GET)
case("6.5.2", "unknown setting", Ignored(), settings((0xF00D, 7)))
case("6.5.2", "MAX_CONCURRENT_STREAMS 0 binds the server only", Answered(), settings((raw.MAX_STREAMS, 0)), GET)
case("6.5.2", "HEADER_TABLE_SIZE 0", Answered(), settings((raw.HEADER_TABLE_SIZE, 0)), GET)
case("6.5.2", "HEADER_TABLE_SIZE down and up", Answered(streams=(1, 3)),
     settings((raw.HEADER_TABLE_SIZE, 0), (raw.HEADER_TABLE_SIZE, 4096)), GET, headers(3, request()))  # fmt: skip
case("6.5.3", "last of the same settings counts", broken(PROTOCOL), settings((ENABLE_PUSH, 1), (ENABLE_PUSH, 7)))
case("8441", "3 ENABLE_CONNECT_PROTOCOL 2", broken(PROTOCOL), settings((ENABLE_CONNECT, 2)))

# --- 6.6 PUSH_PROMISE, 6.7 PING, 6.8 GOAWAY ---------------------------------------------------------------------------

case("6.6", "from a client", broken(PROTOCOL), OPEN, push_promise(1, 2, request()))
case("6.7", "on a stream", broken(PROTOCOL), ping(stream=1))
case("6.7", "wrong length", broken(FRAME_SIZE), ping(b"1234"))
case("6.7", "acknowledgement nobody waits for", Ignored(), ping(flags=ACK))
case("6.8", "on a stream", broken(PROTOCOL), goaway(stream=1))
case("6.8", "cut", broken(FRAME_SIZE), frame(raw.GOAWAY, 0, 0, b"\0\0\0\0"))

# --- 6.9 WINDOW_UPDATE ------------------------------------------------------------------------------------------------

case("6.9", "0 for the connection", broken(PROTOCOL), window_update(0, 0))
case("6.9", "0 for a stream", Reset((PROTOCOL,), or_broken=(PROTOCOL,)), STALL, GET, window_update(1, 0))
case("6.9", "wrong length", broken(FRAME_SIZE), frame(raw.WINDOW_UPDATE, 0, 0, b"\0\0\1"))
case("6.9", "reserved bit", Ignored(), frame(raw.WINDOW_UPDATE, 0, 0, struct.pack(">I", 1 | 1 << 31)))
case("6.9.1", "above the largest window", broken(FLOW_CONTROL), window_update(0, WINDOW), window_update(0, WINDOW))
case("6.9.1", "above the largest window of a stream", Reset((FLOW_CONTROL,)), OPEN, window_update(1, WINDOW))
case("6.9.2", "new initial window opens streams", Answered(), STALL, GET, settings((INITIAL_WINDOW, 100)))
case("6.9.2", "new initial window overflows a stream", broken(FLOW_CONTROL), STALL, OPEN, window_update(1, WINDOW),
     settings((INITIAL_WINDOW, 1)), not_nghttpd="resets the stream only")  # fmt: skip

# --- 6.10 CONTINUATION ------------------------------------------------------------------------------------------------

case("6.10", "stream 0", broken(PROTOCOL), headers(1, OK_BLOCK, END_STREAM), continuation(0, b""))
case("6.10", "another stream", broken(PROTOCOL), headers(1, OK_BLOCK, END_STREAM), continuation(3, b""))
case("6.10", "behind the end of the block", broken(PROTOCOL), OPEN, continuation(1, OK_BLOCK))
case("6.10", "behind DATA", broken(PROTOCOL), OPEN, data(1, b"x", 0), continuation(1, OK_BLOCK))
case("6.10", "behind its own end", broken(PROTOCOL), headers(1, OK_BLOCK, END_STREAM), continuation(1, b""),
     frame(CONTINUATION, END_HEADERS, 1, b""))  # fmt: skip

case("7", "unknown code in RST_STREAM", Ignored(), STALL, GET, rst(1, 0xFFFF))

# --- 8.1 messages -----------------------------------------------------------------------------------------------------

TRAILERS = headers(1, [(b"x-sum", b"1")])

case("8.1", "trailers", Answered(), OPEN, data(1, b"x", 0), TRAILERS)
case("8.1", "trailers without a body", Answered(), OPEN, TRAILERS)
case("8.1", "trailers that do not end the stream", Malformed(), OPEN, data(1, b"x", 0),
     headers(1, [(b"x-sum", b"1")], END_HEADERS), not_nghttpd="does not look")  # fmt: skip
case("8.1", "DATA behind trailers", ON_CLOSED, STALL, OPEN, TRAILERS, data(1, b"x"))
case("8.1", "trailers with a pseudo-field", Malformed(), STALL, OPEN, headers(1, [(b":path", b"/")]))
case("8.1", "trailers in upper case", Malformed(), STALL, OPEN, headers(1, [(b"X-Sum", b"1")]))
case("8.1", "trailers with a connection-specific field", Malformed(), STALL, OPEN,
     headers(1, [(b"connection", b"close")]), not_nghttpd="ignores them in trailers")  # fmt: skip


def length(name: str, expected: Expectation, value: bytes, *frames: bytes, skip: str = "") -> None:
    fields = request((b"content-length", value), method=b"POST")
    case("8.1.1", name, expected, headers(1, fields, END_HEADERS if frames else 5), *frames, not_nghttpd=skip)


length("content-length and as much", Answered(), b"3", data(1, b"ab", 0), data(1, b"c"))
length("content-length and padding", Answered(), b"3", data(1, b"\x02abc\0\0", END_STREAM | PADDED))
length("content-length and less", Malformed(), b"3", data(1, b"ab"))
length("content-length and less, trailers", Malformed(), b"3", data(1, b"ab", 0), TRAILERS)
length("content-length and more", Malformed(), b"3", data(1, b"abcd"))
length("content-length and more in two frames", Malformed(), b"3", data(1, b"ab", 0), data(1, b"cd"))
length("content-length 0 and an empty frame", Answered(), b"0", data(1))
length("content-length and nothing", Malformed(), b"3")
length("content-length and an empty frame", Malformed(), b"3", data(1))
length("content-length of letters", Malformed(), b"3x", data(1, b"abc"))
length("content-length with a sign", Malformed(), b"+3", data(1, b"abc"))
length("content-length empty", Malformed(), b"", data(1))
case("8.1.1", "two content-lengths that differ", Malformed(),
     headers(1, request((b"content-length", b"3"), (b"content-length", b"4"), method=b"POST"), END_HEADERS),
     data(1, b"abc"))  # fmt: skip

# --- 8.2 fields -------------------------------------------------------------------------------------------------------


def bad_field(name: str, *pairs: tuple[bytes, bytes], section: str = "8.2.1", skip: str = "") -> None:
    case(section, name, Malformed(), headers(1, request(*pairs)), not_nghttpd=skip)


bad_field("upper case", (b"X-A", b"1"), section="8.2")
bad_field("upper case in the middle", (b"x-A", b"1"), section="8.2")
for octet in (0x00, 0x09, 0x0A, 0x0D, 0x20, 0x22, 0x28, 0x2F, 0x3A, 0x40, 0x5B, 0x7B, 0x7F, 0x80, 0xFF):
    bad_field(f"name with {octet:#04x}", (b"a" + bytes([octet]) + b"b", b"1"))
bad_field("empty name", (b"", b"1"))
for octet in (0x00, 0x0A, 0x0D):
    bad_field(f"value with {octet:#04x}", (b"a", b"1" + bytes([octet]) + b"2"))
for edge, value in (("begins", b" 1"), ("ends", b"1 ")):
    bad_field(f"value {edge} with a space", (b"a", value), skip="takes it")
    bad_field(f"value {edge} with a tab", (b"a", value.replace(b" ", b"\t")), skip="takes it")
bad_field("value with a line end and another field", (b"a", b"1\r\nx-evil: 1"))
case("8.2.1", "value with obs-text and a tab inside", Answered(), headers(1, request((b"a", b"\xe9\t1"))))
case("8.2.1", "empty value", Answered(), headers(1, request((b"a", b""))))
for name, value in ((b"connection", b"close"), (b"proxy-connection", b"keep-alive"), (b"keep-alive", b"timeout=5"),
                    (b"transfer-encoding", b"chunked"), (b"upgrade", b"h2c")):  # fmt: skip
    bad_field(name.decode(), (name, value), section="8.2.2")
bad_field("te gzip", (b"te", b"gzip"), section="8.2.2")
bad_field("te trailers and more", (b"te", b"trailers, gzip"), section="8.2.2")
case("8.2.2", "te trailers", Answered(), headers(1, request((b"te", b"trailers"))))
case("8.2.3", "cookies", Answered(), headers(1, request((b"cookie", b"a=1"), (b"cookie", b"b=2"))))

# --- 8.3 pseudo-fields ------------------------------------------------------------------------------------------------


def pseudo(
    name: str, fields: raw.Sent, expected: Expectation | None = None, section: str = "8.3.1", skip: str = ""
) -> None:
    case(section, name, expected or Malformed(), headers(1, fields), not_nghttpd=skip)


pseudo("behind a field", (*request(drop="path"), (b"a", b"1"), (b":path", b"/")), section="8.3")
pseudo("unknown", request((b":test", b"1")), section="8.3")
pseudo("unknown, empty", request((b":", b"1")), section="8.3")
pseudo("of a response", request((b":status", b"200")), section="8.3")
for each in ("method", "scheme", "path", "authority"):
    twice = dict(request())[b":" + each.encode()]
    pseudo(f"two {each}s", (*request(), (b":" + each.encode(), twice)), section="8.3")
for each in ("method", "scheme", "path"):
    pseudo(f"no {each}", request(drop=each))
    pseudo(f"empty {each}", request(**{each: b""}), skip="takes it" if each == "method" else "")
pseudo("path without a slash", request(path=b"index.html"))
pseudo("path with a fragment", request(path=b"/#x"), skip="takes it")
pseudo("path with a space", request(path=b"/a b"))
pseudo("path with NUL", request(path=b"/a\0b"))
pseudo("path with a line end", request(path=b"/ HTTP/1.1\r\nx-evil: 1"))
pseudo("path with obs-text", request(path=b"/\xe9"), skip="takes it")
pseudo("asterisk for GET", request(path=b"*"))
pseudo("method with a space", request(method=b"GET /evil"))
pseudo("method with a line end", request(method=b"GET\r\n"))
pseudo("scheme that is none", request(scheme=b"ht tp"))
pseudo("authority with a space", request(authority=b"x y"))
pseudo("authority with a line end", request(authority=b"x\r\nx-evil: 1"))
pseudo("authority with userinfo", request(authority=b"u:p@x"), skip="takes it")
pseudo("authority with a slash", request(authority=b"x/y"))
pseudo("empty authority", request(authority=b""), skip="takes it")
pseudo("neither authority nor host", request(drop="authority"))
pseudo("host instead of authority", request((b"host", b"x"), drop="authority"), Answered())
pseudo("host like authority", request((b"host", b"x")), Answered())
pseudo("host like authority in upper case", request((b"host", b"X")), Answered())
pseudo("host unlike authority", request((b"host", b"y")), skip="takes it")
pseudo("two hosts", request((b"host", b"x"), (b"host", b"x"), drop="authority"), skip="takes it")
pseudo("method not known", request(method=b"BREW"), Answered(), skip="answers others")

# --- 8.5 CONNECT, and RFC 8441 ----------------------------------------------------------------------------------------

NO_TUNNEL = Malformed(statuses=(400, 403, 404, 405, 421, 501))
case("8.5", "CONNECT is not served", NO_TUNNEL,
     headers(1, ((b":method", b"CONNECT"), (b":authority", b"x:443")), END_HEADERS),
     not_nghttpd="serves it as GET")  # fmt: skip
case("8.5", "CONNECT with scheme and path", Malformed(), headers(1, request(method=b"CONNECT"), END_HEADERS))
case("8.5", "CONNECT without authority", NO_TUNNEL, headers(1, ((b":method", b"CONNECT"),), END_HEADERS))
case("8.5", "CONNECT with a path", Malformed(),
     headers(1, ((b":method", b"CONNECT"), (b":authority", b"x:443"), (b":path", b"/")), END_HEADERS))  # fmt: skip
NO_8441 = "does not know RFC 8441"
case("8441", "4 protocol with GET", Malformed(), headers(1, request(protocol=b"websocket")))
case("8441", "4 no path", Malformed(),
     headers(1, request(drop="path", method=b"CONNECT", protocol=b"websocket"), END_HEADERS),
     not_nghttpd=NO_8441)  # fmt: skip
case("8441", "4 no scheme", Malformed(),
     headers(1, request(drop="scheme", method=b"CONNECT", protocol=b"websocket"), END_HEADERS),
     not_nghttpd=NO_8441)  # fmt: skip
case("8441", "4 no authority", Malformed(),
     headers(1, request(drop="authority", method=b"CONNECT", protocol=b"websocket"), END_HEADERS),
     not_nghttpd=NO_8441)  # fmt: skip
case("8441", "4 two protocols", Malformed(),
     headers(1, (*request(method=b"CONNECT", protocol=b"websocket"), (b":protocol", b"websocket")), END_HEADERS),
     not_nghttpd=NO_8441)  # fmt: skip
case("8441", "4 unknown protocol", NO_TUNNEL, headers(1, request(method=b"CONNECT", protocol=b"ftp"), END_HEADERS),
     not_nghttpd=NO_8441)  # fmt: skip
