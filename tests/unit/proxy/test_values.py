"""What expressions see of an exchange."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from gatewright.http.head import RequestHead, ResponseHead
from gatewright.http.headers import Fields, Headers
from gatewright.proxy.values import BUILD, FIELDS
from gatewright.sdk.exchange import Consumer
from gatewright.testing.certs import Authority
from gatewright.tls.identity import NOBODY, ClientCertificate


def exchange(**changes: Any) -> Any:
    headers = Headers(Fields([(b"a", b"1"), (b"a", b"2"), (b"b", b"\xc3\xa9\xff")]))
    head = RequestHead(b"GET", b"/x", b"/x", b"q=1&q=2&r=a+b", b"h:1", b"h", b"http", 11, headers)
    values = {"client_addr": "::1", "params": {b"p": b"%20"}, "consumer": None, "response": None, "vars": {}}
    return SimpleNamespace(**{"request": head, "route_name": "r", "client_certificate": None, **values, **changes})


def test_the_names_and_their_fields() -> None:
    assert set(BUILD) == set(FIELDS)


def test_the_certificate_of_the_client(authority: Authority) -> None:
    der = x509.load_pem_x509_certificate(authority.client_pair("bob.example")[0].read_bytes()).public_bytes(
        Encoding.DER
    )
    seen = BUILD["request"](exchange(client_certificate=ClientCertificate(der)), frozenset({"client_certificate"}))
    assert seen is not None
    assert seen["client_certificate"]["dns"] == ["bob.example"]


def test_request() -> None:
    assert BUILD["request"](exchange(), FIELDS["request"]) == {
        "method": "GET",
        "path": "/x",
        "host": "h",
        "scheme": "http",
        "client_certificate": NOBODY,
        "query": {"q": "1", "r": "a b"},
        "headers": {"a": "1", "b": "é\ufffd"},
        "params": {"p": "%20"},
    }


def test_only_what_is_asked_for_is_made() -> None:
    assert BUILD["request"](exchange(), frozenset({"path"})) == {"path": "/x"}


def test_without_a_query() -> None:
    ex = exchange()
    ex.request.query = None
    assert BUILD["request"](ex, frozenset({"query"})) == {"query": {}}


def test_response() -> None:
    assert BUILD["response"](exchange(), FIELDS["response"]) is None
    ex = exchange(response=ResponseHead(204, Headers(Fields([(b"x", b"y")]))))
    assert BUILD["response"](ex, FIELDS["response"]) == {"status": 204, "headers": {"x": "y"}}


def test_who_calls() -> None:
    nobody = exchange()
    assert BUILD["client"](nobody, frozenset()) == {"address": "::1"}
    assert BUILD["consumer"](nobody, frozenset()) == {"name": "", "groups": []}
    assert BUILD["identity"](nobody, frozenset()) == {}
    somebody = exchange(consumer=Consumer("acme", frozenset({"b", "a"})), vars={"identity": {"sub": "x"}})
    assert BUILD["consumer"](somebody, frozenset()) == {"name": "acme", "groups": ["a", "b"]}
    assert BUILD["identity"](somebody, frozenset()) == {"sub": "x"}
    assert BUILD["identity"](exchange(vars={"identity": "odd"}), frozenset()) == {}


def test_route() -> None:
    assert BUILD["route"](exchange(), frozenset()) == {"name": "r"}
