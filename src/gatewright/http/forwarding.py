"""What a gateway adds to and takes from a message on its way (RFC 9110 section 7.6, RFC 7239).

All of it depends on the connection and the header section alone, so it is computed once for each header section a
connection sends (see :class:`gatewright.http.headers.Fields`), not once for each request.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import TypeAlias

from gatewright.http.fields import split_list
from gatewright.http.headers import Fields

Network: TypeAlias = IPv4Network | IPv6Network

#: Fields that concern one connection only. ``proxy-auth*`` are included: we are nobody's forward proxy.
HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-connection",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"te",
        b"transfer-encoding",
        b"upgrade",
    }
)

_SAYS_OF_WAY = frozenset({b"forwarded", b"via", b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-proto"})

#: Request fields that we write ourselves, whatever the client said (Client-Cert: RFC 9440).
OURS = _SAYS_OF_WAY | {b"host", b"client-cert", b"client-cert-chain"}

#: What is never copied from the client's request.
NOT_FORWARDED = HOP_BY_HOP | OURS

#: What frames, routes, describes or authorises a message has to come before its body (RFC 9110 section 6.5.1): an
#: endpoint that takes trailers for fields must not believe these.
NOT_TRAILERS = NOT_FORWARDED | {
    b"authorization",
    b"cache-control",
    b"content-encoding",
    b"content-length",
    b"content-range",
    b"content-type",
    b"cookie",
    b"expect",
    b"max-forwards",
    b"set-cookie",
    b"trailer",
}

#: Names that ``Connection`` may not remove: they frame or address the message, or are ours anyway.
_NOT_REMOVABLE = frozenset({b"content-length", b"host", b"transfer-encoding"})

VIA = b"1.1 gatewright"
VIA_HTTP2 = b"2.0 gatewright"

_MOST_HOPS = 50

_QUOTED = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
#: One parameter of a Forwarded element: quoted strings, whose semicolons do not count, and anything else.
_PAIR = re.compile(rb'(?:"(?:[^"\\]|\\.)*"|[^";])+', re.DOTALL)


def not_forwarded(base: frozenset[bytes], connection_tokens: frozenset[bytes]) -> frozenset[bytes]:
    """``base`` and the names that the message's ``Connection`` field lists (RFC 9110 section 7.6.1)."""
    named = connection_tokens - _NOT_REMOVABLE
    return base if named <= base else base | named


class Trust:
    """Which peers are believed when they say on whose behalf they ask."""

    __slots__ = ("_memo", "networks")

    def __init__(self, networks: tuple[Network, ...]) -> None:
        self.networks = networks
        self._memo: dict[str, bool] = {}

    def covers(self, address: str) -> bool:
        """Whether the literal ``address`` lies in a trusted network."""
        if not self.networks:
            return False
        known = self._memo.get(address)
        if known is None:
            if len(self._memo) >= 4096:
                self._memo.clear()
            known = self._memo[address] = self._covers(address)
        return known

    def _covers(self, address: str) -> bool:
        try:
            parsed = ip_address(address.partition("%")[0])
        except ValueError:
            return False
        mapped = getattr(parsed, "ipv4_mapped", None)
        parsed = mapped or parsed
        return any(parsed in network for network in self.networks)


class Origin:
    """On whose behalf a request comes: result of :func:`trace_back`."""

    __slots__ = ("client", "lines", "packed", "scheme")

    def __init__(self, client: str, scheme: bytes, lines: bytes) -> None:
        #: Address of the client, the nearest one that is not a trusted proxy.
        self.client = client
        self.scheme = scheme
        #: X-Forwarded-*, Forwarded and Via, ready to be sent upstream.
        self.lines = lines
        #: The same as a block of HTTP/2, once that has been asked for.
        self.packed: bytes | None = None


def trace_back(peer: str, scheme: bytes, authority: bytes, fields: Fields, trust: Trust, via: bytes = VIA) -> Origin:
    """Find the client behind trusted proxies and write the forwarding fields for the upstream.

    Only when the peer itself is trusted are its X-Forwarded-* fields believed; then the list of addresses is walked
    from the right until an address that is not a trusted proxy.
    """
    hops: list[str] = []
    host = authority
    if trust.covers(peer):
        hops = _addresses(fields)
        scheme = _believed_scheme(fields, scheme)
        host = fields.index.get(b"x-forwarded-host") or authority
    client = peer
    for hop in reversed(hops):
        client = hop
        if not trust.covers(hop):
            break
    chain = ", ".join([*hops, peer] if peer else hops)  # a peer on a unix socket has no address
    seen = fields.all(b"via")
    lines = (
        b"%bx-forwarded-proto: %b\r\nx-forwarded-host: %b\r\nforwarded: for=%b;host=%b;proto=%b\r\nvia: %b\r\n"
    ) % (
        b"x-forwarded-for: %b\r\n" % chain.encode("latin-1") if chain else b"",
        scheme,
        host,
        _node(client),
        _quoted(host),
        scheme,
        b", ".join([*seen, via]),
    )
    return Origin(client, scheme, lines)


def same_way(old: Fields, new: Fields) -> bool:
    """Whether neither section says anything of proxies on its way: then :func:`trace_back` says the same of both."""
    return _SAYS_OF_WAY.isdisjoint(old.index) and _SAYS_OF_WAY.isdisjoint(new.index)


def _addresses(fields: Fields) -> list[str]:
    """The addresses of X-Forwarded-For, or of Forwarded where there is none; what is no address ends the list.

    The nearest ones: a list that a client has made long must not keep us busy.
    """
    listed = b",".join(fields.all(b"x-forwarded-for"))
    if listed:
        texts = [part.strip().decode("latin-1") for part in listed.split(b",")]
    else:
        texts = _forwarded_for(b",".join(fields.all(b"forwarded")))
    addresses: list[str] = []
    for text in reversed(texts[-_MOST_HOPS:]):
        address = _literal(text)
        if address is None:
            break
        addresses.append(address)
    addresses.reverse()
    return addresses


def _forwarded_for(listed: bytes) -> list[str]:
    if b'"' in _QUOTED.sub(b"", listed):  # a quote left open would hide what the next proxy has added
        return []
    found: list[str] = []
    for element in split_list(listed):
        for pair in _PAIR.findall(element):
            name, _, value = pair.strip().partition(b"=")
            if name.lower() == b"for":
                found.append(value.strip(b'"').decode("latin-1"))
    return found


def _literal(text: str) -> str | None:
    """The bare address of ``1.2.3.4``, ``1.2.3.4:80``, ``::1`` or ``[::1]:80``; no zone, in which all could stand."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        return None if "%" in text else str(ip_address(text))
    except ValueError:
        return None


def _believed_scheme(fields: Fields, scheme: bytes) -> bytes:
    said = fields.index.get(b"x-forwarded-proto")
    if said is None:
        return scheme
    first = said.split(b",", 1)[0].strip().lower()
    return first if first in {b"http", b"https"} else scheme


def _node(address: str) -> bytes:
    """An address as a Forwarded node (RFC 7239 section 6)."""
    return b'"[%b]"' % address.encode() if ":" in address else address.encode() or b"unknown"


def _quoted(host: bytes) -> bytes:
    return b'"%b"' % host.replace(b"\\", b"").replace(b'"', b"") if not host.isalnum() else host
