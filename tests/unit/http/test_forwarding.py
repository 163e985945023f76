"""Hop-by-hop fields, and on whose behalf a request comes (RFC 9110 section 7.6, RFC 7239)."""

from __future__ import annotations

from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatewright.http import forwarding
from gatewright.http.fields import split_list
from gatewright.http.forwarding import HOP_BY_HOP, NOT_FORWARDED, Trust, not_forwarded, same_way, trace_back
from gatewright.http.headers import Fields

TRUSTED = Trust((ip_network("10.0.0.0/8"), ip_network("fd00::/8")))
NOBODY = Trust(())


def fields(*pairs: tuple[bytes, bytes]) -> Fields:
    return Fields(pairs)


def lines(said: bytes) -> dict[bytes, bytes]:
    assert said.endswith(b"\r\n")
    pairs = [line.split(b": ", 1) for line in said[:-2].split(b"\r\n")]
    assert len(pairs) in {4, 5}  # X-Forwarded-For is missing where nobody has an address
    return dict(pairs)


def test_connection_removes_names_but_not_what_frames() -> None:
    assert not_forwarded(HOP_BY_HOP, frozenset({b"keep-alive", b"host"})) is HOP_BY_HOP
    assert not_forwarded(NOT_FORWARDED, frozenset({b"x", b"content-length"})) == NOT_FORWARDED | {b"x"}


@pytest.mark.parametrize(
    ("address", "trusted"),
    [
        *(("10.1.2.3", True), ("11.1.2.3", False), ("::ffff:10.1.2.3", True), ("fd00::1%eth0", True), ("fe80::1", False)),
        *(("unix", False), ("", False)),
    ],
)  # fmt: skip
def test_trust(address: str, trusted: bool) -> None:
    assert TRUSTED.covers(address) is trusted
    assert TRUSTED.covers(address) is trusted
    assert not NOBODY.covers(address)


def test_the_memo_of_trust_is_bounded() -> None:
    trust = Trust((ip_network("10.0.0.0/8"),))
    for i in range(5000):
        trust.covers(f"10.0.{i // 256}.{i % 256}")
        assert len(trust._memo) <= 4096


def test_a_stranger_is_not_believed() -> None:
    said = fields((b"x-forwarded-for", b"1.1.1.1"), (b"x-forwarded-proto", b"https"), (b"x-forwarded-host", b"evil"))
    origin = trace_back("9.9.9.9", b"http", b"x", said, TRUSTED)
    assert (origin.client, origin.scheme) == ("9.9.9.9", b"http")
    assert lines(origin.lines) == {
        b"x-forwarded-for": b"9.9.9.9",
        b"x-forwarded-proto": b"http",
        b"x-forwarded-host": b"x",
        b"forwarded": b"for=9.9.9.9;host=x;proto=http",
        b"via": b"1.1 gatewright",
    }


def test_a_trusted_peer_is_believed() -> None:
    said = fields(
        (b"x-forwarded-for", b"1.1.1.1, 2.2.2.2"),
        (b"x-forwarded-for", b"10.0.0.2"),
        (b"x-forwarded-proto", b"HTTPS, http"),
        (b"x-forwarded-host", b"ex.org:8443"),
        (b"via", b"1.0 a"),
        (b"via", b"1.1 b"),
    )
    origin = trace_back("10.0.0.1", b"http", b"inner", said, TRUSTED)
    assert (origin.client, origin.scheme) == ("2.2.2.2", b"https")
    assert lines(origin.lines) == {
        b"x-forwarded-for": b"1.1.1.1, 2.2.2.2, 10.0.0.2, 10.0.0.1",
        b"x-forwarded-proto": b"https",
        b"x-forwarded-host": b"ex.org:8443",
        b"forwarded": b'for=2.2.2.2;host="ex.org:8443";proto=https',
        b"via": b"1.0 a, 1.1 b, 1.1 gatewright",
    }


@pytest.mark.parametrize(
    ("said", "client"),
    [
        (b"1.1.1.1:80", "1.1.1.1"),
        (b"[2001:db8::1]:80", "2001:db8::1"),
        (b"2001:DB8::1", "2001:db8::1"),
        (b"10.0.0.3, 10.0.0.2", "10.0.0.3"),
        (b"1.1.1.1, unknown, 10.0.0.2", "10.0.0.2"),
        (b"unknown", "10.0.0.1"),
        (b"", "10.0.0.1"),
        (b"01.1.1.1", "10.0.0.1"),
        (b'fe80::1%a";proto=https;for="1.1.1.1', "10.0.0.1"),
        (b"[fe80::1%x]", "10.0.0.1"),
    ],
)
def test_ways_to_write_an_address(said: bytes, client: str) -> None:
    assert trace_back("10.0.0.1", b"http", b"x", fields((b"x-forwarded-for", said)), TRUSTED).client == client


@pytest.mark.parametrize(
    ("said", "client"),
    [
        (b"for=1.1.1.1", "1.1.1.1"),
        (b'For="[2001:db8::1]:47";proto=http, for=10.0.0.2', "2001:db8::1"),
        (b"for=unknown;by=x, for=10.0.0.2", "10.0.0.2"),
        (b"proto=https, by=_x", "10.0.0.1"),
        (b'for="1.1.1.1;x, y"', "10.0.0.1"),
        (b'for=1.1.1.1, x=", for="[2001:db8::1]"', "10.0.0.1"),
        (b'for=1.1.1.1, x="\\", for="[2001:db8::1]"', "10.0.0.1"),
    ],
)
def test_forwarded_counts_where_there_is_no_x_forwarded_for(said: bytes, client: str) -> None:
    """RFC 7239 section 4."""
    assert trace_back("10.0.0.1", b"http", b"x", fields((b"forwarded", said)), TRUSTED).client == client
    both = fields((b"forwarded", said), (b"x-forwarded-for", b"3.3.3.3"))
    assert trace_back("10.0.0.1", b"http", b"x", both, TRUSTED).client == "3.3.3.3"


@pytest.mark.parametrize("said", [b"ftp", b"", b"httpss", b"https\x80"])
def test_a_scheme_that_is_none_is_not_believed(said: bytes) -> None:
    assert trace_back("10.0.0.1", b"http", b"x", fields((b"x-forwarded-proto", said)), TRUSTED).scheme == b"http"


def test_a_long_list_is_looked_at_from_its_end_only() -> None:
    said = fields((b"x-forwarded-for", b"1.1.1.1," * 10_000 + b"10.0.0.2"))
    origin = trace_back("10.0.0.1", b"http", b"x", said, Trust((ip_network("0.0.0.0/0"),)))
    assert lines(origin.lines)[b"x-forwarded-for"].count(b",") == forwarding._MOST_HOPS


@pytest.mark.parametrize(
    ("peer", "host", "forwarded"),
    [
        ("::1", b"a.b", b'for="[::1]";host="a.b";proto=http'),
        ("", b"x", b"for=unknown;host=x;proto=http"),
        ("1.1.1.1", b"", b'for=1.1.1.1;host="";proto=http'),
        ("1.1.1.1", b'a";for=2.2.2.2;x="\\', b'for=1.1.1.1;host="a;for=2.2.2.2;x=";proto=http'),
    ],
)
def test_nodes_and_hosts_are_quoted(peer: str, host: bytes, forwarded: bytes) -> None:
    """RFC 7239 section 6: an IPv6 address stands in brackets and quotes."""
    assert lines(trace_back(peer, b"http", host, fields(), NOBODY).lines)[b"forwarded"] == forwarded


OCTETS = st.lists(st.sampled_from(list(b'",;=[]:%\\ \t.1af/\xff')), max_size=30).map(bytes)


@given(OCTETS, OCTETS, OCTETS)
def test_whatever_is_said_five_lines_come_out(address: bytes, element: bytes, host: bytes) -> None:
    said = fields(
        (b"x-forwarded-for", address),
        (b"forwarded", b"for=" + element + b";for=" + address),
        (b"x-forwarded-host", host),
    )
    found = lines(trace_back("10.0.0.1", b"http", b"x", said, TRUSTED).lines)
    assert len(split_list(found[b"forwarded"])) == 1
    assert found[b"forwarded"].count(b'"') % 2 == 0


def test_the_same_way_needs_silence_on_both_sides() -> None:
    silent, loud = fields((b"host", b"x"), (b"a", b"b")), fields((b"via", b"1.1 x"))
    assert same_way(silent, fields())
    assert not same_way(silent, loud)
    assert not same_way(loud, silent)
