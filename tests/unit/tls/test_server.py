"""Which certificate is shown for which name, what a connection serves, and what outlives a change."""

from __future__ import annotations

import gc
import ssl
import weakref
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gatewright.snapshot.model import ClientAuth, ListenerTls, TlsPair
from gatewright.testing.certs import Authority
from gatewright.tls.certificates import examine
from gatewright.tls.server import TICKET_KEYS_LAST, ServerTls, Session


def pair(files: tuple[Path, Path]) -> TlsPair:
    cert, key = (file.read_text() for file in files)
    facts = examine(cert, key)
    return TlsPair(files[0].name, cert, key, facts.names, facts.kind, facts.starts, facts.expires, facts.fingerprint)


def serving(*pairs: TlsPair, protocols: tuple[str, ...] = ("http1", "h2"), **more: Any) -> ServerTls:
    return ServerTls(ListenerTls(pairs, **more), protocols)


class Shaken:
    """A handshake that is complete."""

    def __init__(
        self,
        tls: ServerTls,
        client: ssl.SSLContext,
        name: str | None,
        now: float = 0.0,
        before: ssl.SSLSession | None = None,
    ) -> None:
        to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.client = client.wrap_bio(to_client, to_server, server_hostname=name, session=before)
        self.server: Session = tls.begin(to_server, to_client, now)
        for side in (self.client, self.server, self.client, self.server):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                pass
        self.server.write(b"x")
        self.client.read()

    @property
    def names(self) -> set[str]:
        certificate = self.client.getpeercert() or {}
        return {str(name) for _, name in certificate["subjectAltName"]}  # type: ignore[misc]


@pytest.fixture
def client(authority: Authority) -> ssl.SSLContext:
    context = authority.client_context(alpn=("h2", "http/1.1"))
    context.check_hostname = False
    return context


# --- names ------------------------------------------------------------------------------------------------------------


def test_exact_names_come_before_wildcards_and_the_first_is_for_all_others(
    authority: Authority, client: ssl.SSLContext
) -> None:
    names = ("first.example",), ("*.example",), ("a.example", "127.0.0.1")
    tls = serving(*(pair(authority.pair(*each)) for each in names))
    for asked, shown in {
        "a.example": names[2], "A.EXAMPLE": names[2], "b.example": names[1], "b.b.example": names[0], "example": names[0],
        "127.0.0.1": names[0], None: names[0],
    }.items():  # fmt: skip
        assert Shaken(tls, client, asked).names == set(shown), asked


def test_the_first_of_two_for_one_name_is_shown(authority: Authority, client: ssl.SSLContext) -> None:
    one, other = pair(authority.pair("a.example", "1.example")), pair(authority.pair("a.example", "2.example"))
    tls = serving(pair(authority.pair("x.example")), one, other)
    assert Shaken(tls, client, "a.example").names == {"a.example", "1.example"}
    assert Shaken(tls, client, "2.example").names == {"a.example", "2.example"}


def test_contexts_are_made_when_they_are_needed(authority: Authority, client: ssl.SSLContext) -> None:
    tls = serving(*(pair(authority.pair(f"{i}.example")) for i in range(4)))
    Shaken(tls, client, "2.example")
    assert [served.made is not None for served in map(tls.served, ("1.example", "2.example", "3.example"))] == [
        False,
        True,
        False,
    ]


def test_nothing_of_it_is_left_in_a_circle(authority: Authority, client: ssl.SSLContext) -> None:
    tls = serving(pair(authority.pair("a.example")), pair(authority.pair("b.example")))
    Shaken(tls, client, "b.example")
    context = weakref.ref(tls.served("b.example").context)
    gc.collect()
    gc.disable()
    try:
        del tls
        assert context() is None, "what is replaced must go without the collector: it does not look at old things"
    finally:
        gc.enable()


# --- what a connection serves -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "host", "serves"),
    [
        ("a.example", b"a.example", True),
        ("a.example", b"x.w.example", True),
        ("a.example", b"b.example", False),
        ("A.example.", b"a.example", True),
        ("x.w.example", b"y.w.example", True),
        ("other.example", b"other.example", True),
        ("other.example", b"a.example", True),
        ("other.example", b"b.example", False),
        ("other.example", b"nobody.example", False),
        (None, b"nobody.example", True),
        (None, b"b.example", False),
        (None, b"[::1]", True),
        ("a.example", b"[::1]", True),
        ("b.example", b"[::1]", False),
        ("b.example", b"", True),
    ],
)
def test_which_hosts_a_connection_serves(
    authority: Authority, client: ssl.SSLContext, asked: str | None, host: bytes, serves: bool
) -> None:
    tls = serving(pair(authority.pair("a.example", "*.w.example", "::1")), pair(authority.pair("b.example")))
    assert Shaken(tls, client, asked).server.serves(host) is serves
    lenient = serving(*tls.spec.certificates, check_host=False)
    assert Shaken(lenient, client, asked).server.serves(host)


def test_clients_and_what_upstreams_hear_of_them(authority: Authority, client: ssl.SSLContext) -> None:
    shown = pair(authority.pair("a.example"))
    ca = authority.ca_path.read_text()
    forward = serving(shown, client_auth=ClientAuth("optional", ca, forward=True))
    assert Shaken(forward, client, "a.example").server.lines == b""
    known = authority.client_context(authority.client_pair("bob.example"))
    session = Shaken(forward, known, "a.example").server
    assert session.client_certificate is not None
    assert session.client_certificate.dns == ("bob.example",)
    assert session.lines == b"client-cert: %b\r\n" % session.client_certificate.header()
    silent = serving(shown, client_auth=ClientAuth("required", ca))
    assert Shaken(silent, known, "a.example").server.lines == b""


def test_protocols(authority: Authority, client: ssl.SSLContext) -> None:
    shown = pair(authority.pair("a.example"))
    for protocols, agreed in ((("http1", "h2"), "h2"), (("http1",), "http/1.1"), (("h2",), "h2")):
        tls = serving(shown, protocols=protocols)
        assert Shaken(tls, client, "a.example").server.selected_alpn_protocol() == agreed
    assert serving(shown).offers == (b"\x02h2", b"\x08http/1.1")


# --- change -----------------------------------------------------------------------------------------------------------


def test_a_renewed_certificate_is_shown_and_sessions_go_on(authority: Authority, client: ssl.SSLContext) -> None:
    files = [authority.pair(f"{name}.example") for name in "ab"]
    before = serving(*map(pair, files))
    first = Shaken(before, client, "a.example")
    authority.renew(*files[0], "a.example", "new.example")
    after = serving(*map(pair, files))
    after.reuse(before)
    after.succeed(before)
    assert Shaken(after, client, "a.example").names == {"a.example", "new.example"}
    assert Shaken(after, client, None).names == {"a.example", "new.example"}
    assert Shaken(after, client, "b.example").names == {"b.example"}
    assert Shaken(after, client, "a.example", before=first.client.session).client.session_reused
    assert first.server.serves(b"new.example") is False, "its own certificate counts"


def test_contexts_of_what_has_not_changed_are_used_again(authority: Authority, client: ssl.SSLContext) -> None:
    one, two, three = (pair(authority.pair(f"{i}.example")) for i in range(3))
    before = serving(one, two)
    made = before.served("1.example").context
    after = serving(one, two, three)
    after.reuse(before)
    assert after.served("1.example").made is made
    other = serving(one, two, min_version="1.3")
    other.reuse(before)
    assert other.served("1.example").made is None


def test_another_manner_ends_the_sessions(authority: Authority, client: ssl.SSLContext) -> None:
    shown = pair(authority.pair("a.example"))
    before = serving(shown)
    session = Shaken(before, client, "a.example").client.session
    ca = authority.ca_path.read_text()
    after = serving(shown, client_auth=ClientAuth("required", ca))
    after.succeed(before)
    known = authority.client_context(authority.client_pair())
    assert Shaken(after, known, "a.example").server.client_certificate is not None
    with pytest.raises(ssl.SSLError):
        Shaken(after, client, "a.example", before=session)


def test_ticket_keys_do_not_last_for_ever(authority: Authority, client: ssl.SSLContext) -> None:
    tls = serving(pair(authority.pair("a.example")))
    session = Shaken(tls, client, "a.example", now=100.0).client.session
    again = Shaken(tls, client, "a.example", now=100.0 + TICKET_KEYS_LAST - 1, before=session)
    assert again.client.session_reused
    assert not Shaken(tls, client, "a.example", now=100.0 + TICKET_KEYS_LAST, before=session).client.session_reused


def test_what_cannot_be_used_is_refused_at_once(authority: Authority) -> None:
    good, other = pair(authority.pair("a.example")), pair(authority.pair("a.example"))
    with pytest.raises(ssl.SSLError):
        serving(msgspec.structs.replace(good, key=other.key))
