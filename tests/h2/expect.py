"""What may come of a conformance case, and how it is seen."""

from __future__ import annotations

from dataclasses import dataclass

from tests.h2.raw import GOAWAY, PROTOCOL, RST_STREAM, STREAM_CLOSED, RawH2, headers, request, settings, window_update


@dataclass(frozen=True)
class Broken:
    """A connection error: GOAWAY with one of these codes, then the connection is closed (RFC 9113 section 5.4.1)."""

    codes: tuple[int, ...]

    def check(self, peer: RawH2, lenient: bool = False) -> None:
        peer.until(lambda: peer.closed)
        last = peer.goaway
        if last is None and lenient:
            return  # "it MAY close the connection without sending one" when nobody would read it
        assert last is not None, f"closed without GOAWAY\n{peer.shown()}"
        assert last.code in self.codes, f"GOAWAY with {last.code}, not {self.codes}\n{peer.shown()}"


@dataclass(frozen=True)
class Reset:
    """A stream error: RST_STREAM with one of these codes, and the connection goes on (RFC 9113 section 5.4.2)."""

    codes: tuple[int, ...]
    stream: int = 1
    #: The RFC leaves it to the endpoint to break the connection instead, with one of these codes.
    or_broken: tuple[int, ...] = ()

    def check(self, peer: RawH2, lenient: bool = False) -> None:
        peer.until(lambda: peer.reset(self.stream) or peer.closed)
        found = peer.reset(self.stream)
        allowed = self.or_broken or (self.codes if lenient else ())
        if found is None and allowed:
            Broken(allowed).check(peer)
            return
        assert found is not None, f"stream {self.stream} has not been reset\n{peer.shown()}"
        assert found.code in self.codes, f"RST_STREAM with {found.code}, not {self.codes}\n{peer.shown()}"
        still_works(peer)


@dataclass(frozen=True)
class Malformed:
    """A malformed message: PROTOCOL_ERROR on the stream, or an answer with an error status (section 8.1.1)."""

    stream: int = 1
    statuses: tuple[int, ...] = (400,)

    def check(self, peer: RawH2, lenient: bool = False) -> None:
        peer.until(lambda: peer.reset(self.stream) or peer.ended(self.stream) or peer.closed)
        found, head = peer.reset(self.stream), peer.head(self.stream)
        if lenient and found is None and head is None:
            Broken((PROTOCOL,)).check(peer)
            return
        if head is not None:
            assert head.status in self.statuses, f"answered with {head.status}\n{peer.shown()}"
        else:
            assert found is not None, f"not refused\n{peer.shown()}"
            assert found.code == PROTOCOL, f"RST_STREAM with {found.code}\n{peer.shown()}"
        still_works(peer)


@dataclass(frozen=True)
class Answered:
    """The request is served: nothing is wrong with what was sent."""

    status: int = 200
    streams: tuple[int, ...] = (1,)

    def check(self, peer: RawH2, lenient: bool = False) -> None:
        for stream in self.streams:
            peer.until(lambda stream=stream: peer.ended(stream) or peer.reset(stream) or peer.closed)
            head = peer.head(stream)
            assert head is not None, f"no answer on stream {stream}\n{peer.shown()}"
            assert peer.ended(stream), f"the answer on stream {stream} does not end\n{peer.shown()}"
            assert head.status == self.status, f"answered with {head.status}\n{peer.shown()}"
        still_works(peer)


@dataclass(frozen=True)
class Ignored:
    """Nothing comes of it: no reset, no GOAWAY, and the connection goes on."""

    def check(self, peer: RawH2, lenient: bool = False) -> None:
        assert peer.is_alive(), f"the connection is gone\n{peer.shown()}"
        assert not peer.of(GOAWAY), peer.shown()
        assert not peer.of(RST_STREAM), peer.shown()
        still_works(peer)


@dataclass(frozen=True)
class Gone:
    """The connection is closed, with or without a word."""

    def check(self, peer: RawH2, lenient: bool = False) -> None:
        peer.until(lambda: peer.closed)
        assert not peer.of(1), "it was answered"


Expectation = Broken | Reset | Malformed | Answered | Ignored | Gone

#: A frame on a closed stream: a stream error or a connection error (RFC 9113 section 5.1, "closed").
ON_CLOSED = Reset((STREAM_CLOSED,), or_broken=(STREAM_CLOSED, PROTOCOL))


def still_works(peer: RawH2) -> None:
    """The connection serves another request."""
    stream = 1001
    peer.send(settings((4, 65_535)), window_update(0, 1000), headers(stream, request()))
    peer.until(lambda: peer.ended(stream) or peer.closed)
    head = peer.head(stream)
    assert head is not None, f"the connection no longer serves\n{peer.shown()}"
    assert head.status == 200, peer.shown()
    assert not any(each.code != 0 for each in peer.of(GOAWAY)), peer.shown()
