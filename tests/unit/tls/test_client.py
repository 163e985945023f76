"""TLS towards endpoints: names, contexts, sessions, and failures in words."""

from __future__ import annotations

import gc
import ssl
import subprocess
import weakref
from pathlib import Path
from typing import Any

import pytest

from gatewright.clock import ManualClock
from gatewright.snapshot.model import Endpoint, UpstreamTls
from gatewright.testing.certs import Authority
from gatewright.tls.client import (
    LONGEST_PAUSE,
    MOST_SESSIONS,
    PAUSE,
    ClientContext,
    ClientTls,
    TlsFailure,
    client_context,
    failure_of,
    name_of,
    settings_of,
)


def shake(client: ClientTls, server: ssl.SSLContext) -> ssl.SSLObject:
    """A handshake in memory, tickets included. Raises as the client would."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    near = client.begin().wrap_bio(to_client, to_server, server_hostname=client.name)
    far = server.wrap_bio(to_server, to_client, server_side=True)
    done: set[ssl.SSLObject] = set()
    for _ in range(10):
        for end in (near, far):
            try:
                end.do_handshake()
                done.add(end)
            except ssl.SSLWantReadError:
                continue
        if len(done) == 2:
            break
    client.begun(near)
    far.write(b"hello")
    assert near.read() == b"hello"  # with the tickets of TLS 1.3
    return near


def trusting(authority: Authority, protocol: str = "http1", **more: Any) -> ClientContext:
    return client_context(UpstreamTls(ca=authority.ca_path.read_text("ascii"), **more), protocol)


@pytest.mark.parametrize(
    ("endpoint", "name"),
    [
        (Endpoint("", "10.0.0.1", 443, "https", "orders.internal:8443"), "orders.internal"),
        (Endpoint("", "10.0.0.1", 443, "https", "orders.internal"), "orders.internal"),
        (Endpoint("", "10.0.0.1", 443, "https", "10.0.0.1:8443"), "10.0.0.1"),
        (Endpoint("", "2001:db8::1", 443, "https", "[2001:db8::1]:8443"), "2001:db8::1"),
        (Endpoint("", "10.0.0.1", 443, "https"), "10.0.0.1"),
    ],
)
def test_the_name_is_the_one_that_is_written(endpoint: Endpoint, name: str) -> None:
    assert name_of(UpstreamTls(), endpoint) == name
    assert name_of(UpstreamTls(server_name="other"), endpoint) == "other"


def test_contexts_are_strict(authority: Authority) -> None:
    context = trusting(authority)
    assert context.check_hostname
    assert context.verify_mode == ssl.CERT_REQUIRED
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert len(context.get_ca_certs()) == 1, "the system's are not trusted beside"
    assert trusting(authority, min_version="1.3").minimum_version == ssl.TLSVersion.TLSv1_3


def test_a_context_that_verifies_nothing() -> None:
    context = client_context(UpstreamTls(verify=False), "http1")
    assert context.verify_mode == ssl.CERT_NONE
    assert not context.check_hostname


@pytest.mark.parametrize(
    ("protocol", "offered", "good"),
    [
        ("http1", ("http/1.1",), True),
        ("http1", (), True),
        ("h2", ("h2", "http/1.1"), True),
        ("grpc", ("h2",), True),
        ("h2", (), False),
        ("grpc", ("http/1.1",), False),
    ],
)
def test_http2_must_be_agreed_on(authority: Authority, protocol: str, offered: tuple[str, ...], *, good: bool) -> None:
    client = ClientTls(trusting(authority, protocol), "localhost", "up")
    server = authority.server_context("localhost", alpn=offered)
    if good:
        agreed = shake(client, server).selected_alpn_protocol()
        assert agreed == (offered[0] if offered else None)
    else:
        with pytest.raises(TlsFailure, match="has not agreed to speak h2") as caught:
            shake(client, server)
        assert caught.value.cause == "alpn"


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_session_is_resumed_while_its_connection_is_open_and_after(
    authority: Authority, version: ssl.TLSVersion
) -> None:
    server = authority.server_context("localhost")
    server.maximum_version = version
    client = ClientTls(trusting(authority), "localhost", "up")
    client.context.clock = clock = ManualClock()
    first = shake(client, server)
    assert not shake(client, server).session_reused, "too early to have tickets"
    first = shake(client, server)
    clock.advance(1)
    second = shake(client, server)
    assert (first.session_reused, second.session_reused) == (False, True)
    with pytest.raises(ssl.SSLError):
        second.unwrap()  # the other end does not answer, which is no matter
    del first, second
    gc.collect()
    assert shake(client, server).session_reused
    assert not shake(ClientTls(trusting(authority), "localhost", "up"), server).session_reused


def test_a_session_stays_until_it_is_no_longer_accepted(authority: Authority) -> None:
    server, other = authority.server_context("localhost"), authority.server_context("localhost")
    context = trusting(authority)
    context.clock = clock = ManualClock()
    client = ClientTls(context, "localhost", "up")
    context.keep(shake(client, server))
    first = context._sessions["localhost"]
    for _ in range(3):
        clock.advance(PAUSE)
        context.keep(shake(client, server))
        assert context._sessions["localhost"] is first
    # The endpoint has got new keys: another session is taken, and not too often when that is of no use.
    context.keep(shake(client, other))
    second = context._sessions["localhost"]
    assert second.session is not first.session
    assert second.pause == 2 * PAUSE
    context.keep(shake(client, server))
    assert context._sessions["localhost"] is second, "too early for another one"
    assert shake(client, other).session_reused
    context.keep(shake(client, other))
    assert context._sessions["localhost"].pause == PAUSE
    for _ in range(40):
        clock.advance(LONGEST_PAUSE)
        context.keep(shake(client, server if context._sessions["localhost"].session else other))
        server, other = other, server
    assert context._sessions["localhost"].pause <= LONGEST_PAUSE


def test_an_endpoint_without_tickets_is_seldom_asked_again(authority: Authority) -> None:
    server = authority.server_context("localhost")
    server.num_tickets = 0
    context = trusting(authority)
    context.clock = clock = ManualClock()
    client = ClientTls(context, "localhost", "up")
    pauses = []
    for _ in range(3):
        connection = shake(client, server)
        assert not connection.session_reused
        context.keep(connection)
        kept = context._sessions["localhost"]
        assert kept.session is None
        pauses.append(kept.pause)
        clock.advance(kept.pause)
    assert pauses == [PAUSE, 2 * PAUSE, 4 * PAUSE]


def test_a_context_that_is_replaced_goes_without_the_garbage_collector(authority: Authority) -> None:
    server = authority.server_context("localhost")
    context = trusting(authority)
    connection = shake(ClientTls(context, "localhost", "up"), server)
    context.keep(connection)
    context.retire()
    context.keep(connection)
    gone = weakref.ref(context)
    gc.disable()
    try:
        del context, connection
        assert gone() is None
    finally:
        gc.enable()


def test_sessions_are_of_one_name_and_bounded(authority: Authority) -> None:
    context = trusting(authority)
    server = authority.server_context("a.example", "b.example")
    connection = shake(ClientTls(context, "a.example", "up"), server)
    context.keep(connection)
    assert shake(ClientTls(context, "a.example", "other"), server).session_reused
    assert not shake(ClientTls(context, "b.example", "up"), server).session_reused
    sessions = context._sessions
    kept = sessions.pop("a.example")
    sessions.update({f"{i}.example": kept for i in range(MOST_SESSIONS)})
    context.keep(connection)
    assert list(sessions) == ["a.example"]


def test_what_is_the_same(authority: Authority) -> None:
    context = trusting(authority)
    one = ClientTls(context, "a", "up")
    assert one.same(ClientTls(context, "a", "other"))
    assert not one.same(ClientTls(context, "b", "up"))
    assert not one.same(ClientTls(trusting(authority), "a", "up"))
    assert not one.same(None)


def test_whatever_the_file_holds_is_trusted(authority: Authority, tmp_path: Path) -> None:
    """Also a certificate that has not signed itself: the endpoint's own, or an authority's in between."""
    cert, key = authority.pair("localhost")
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(cert, key)
    client = client_context(UpstreamTls(ca=cert.read_text("ascii")), "http1")
    assert shake(ClientTls(client, "localhost", "up"), server).version() == "TLSv1.3"
    with pytest.raises(ssl.SSLCertVerificationError):
        shake(ClientTls(client, "localhost", "up"), authority.server_context("localhost"))


@pytest.mark.parametrize(
    ("name", "days", "cause", "said"),
    [
        ("localhost", -1, "expired", "its certificate is not accepted: certificate has expired"),
        ("other", 1, "name", "not valid for 'localhost'"),
    ],
)
def test_failures_of_verification(authority: Authority, name: str, days: int, cause: str, said: str) -> None:
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(*authority.pair(name, days=days))
    with pytest.raises(ssl.SSLError) as caught:
        shake(ClientTls(trusting(authority), "localhost", "up"), server)
    failure = failure_of(caught.value)
    assert failure is not None
    assert failure.cause == cause
    assert said in failure.detail


def test_a_stranger_is_not_trusted(authority: Authority, tmp_path: Path) -> None:
    stranger = Authority(tmp_path, "stranger")
    with pytest.raises(ssl.SSLError) as caught:
        shake(ClientTls(trusting(authority), "localhost", "up"), stranger.server_context("localhost"))
    failure = failure_of(caught.value)
    assert failure is not None
    assert failure.cause == "untrusted"


def ssl_error(reason: str) -> ssl.SSLError:
    error = ssl.SSLError(1, "words")
    error.reason = reason
    return error


@pytest.mark.parametrize(
    ("reason", "cause", "detail"),
    [
        (
            "TLSV13_ALERT_CERTIFICATE_REQUIRED",
            "refused",
            "the endpoint has refused the connection: certificate required",
        ),
        ("SSLV3_ALERT_HANDSHAKE_FAILURE", "refused", "the endpoint has refused the connection: handshake failure"),
        ("WRONG_VERSION_NUMBER", "protocol", "what the endpoint has sent is not TLS: wrong version number"),
        ("DH_KEY_TOO_SMALL", "protocol", "the handshake has failed: dh key too small"),
        ("", "protocol", "the handshake has failed: words"),
    ],
)
def test_other_failures(reason: str, cause: str, detail: str) -> None:
    failure = failure_of(ssl_error(reason))
    assert failure is not None
    assert (failure.cause, failure.detail) == (cause, detail)


def test_what_is_no_failure_of_tls() -> None:
    assert failure_of(ConnectionResetError()) is None
    assert failure_of(TimeoutError()) is None


# --- the trust of the system ------------------------------------------------------------------------------------------


def trusts(authority: Authority) -> bool:
    client = ClientTls(client_context(UpstreamTls(), "http1"), "localhost", "up")
    try:
        shake(client, authority.server_context("localhost"))
    except ssl.SSLCertVerificationError:
        return False
    return True


def test_the_trust_of_the_system_is_read_from_a_file(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not trusts(authority)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.ca_path))
    assert trusts(authority)


@pytest.mark.parametrize("indexed", [True, False])
def test_the_trust_of_the_system_is_looked_up_in_a_directory(
    authority: Authority, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *, indexed: bool
) -> None:
    folder = tmp_path / "certs"
    folder.mkdir()
    (folder / "ours.pem").write_bytes(authority.ca_path.read_bytes())
    if indexed:
        subprocess.run(["openssl", "rehash", folder], check=True)
    monkeypatch.setenv("SSL_CERT_DIR", str(folder))
    assert trusts(authority) == indexed, "OpenSSL, too, finds nothing without an index"


def test_settings_that_make_no_difference_share_a_context() -> None:
    one = settings_of(UpstreamTls(server_name="a", cert="c", key="k", expires=1.0), "h2")
    assert one == settings_of(UpstreamTls(server_name="b", cert="c", key="k"), "grpc")
    assert one != settings_of(UpstreamTls(cert="c", key="k"), "http1")
    assert one != settings_of(UpstreamTls(cert="c", key="other"), "h2")
