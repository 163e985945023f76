from __future__ import annotations

from typing import Any

import pytest

DEFAULTS = {
    b"x-content-type-options": b"nosniff",
    b"x-frame-options": b"SAMEORIGIN",
    b"referrer-policy": b"strict-origin-when-cross-origin",
    b"permissions-policy": b"camera=(), geolocation=(), microphone=()",
}


def test_the_defaults(bench: Any, send: Any) -> None:
    assert dict(send(bench.policy("security_headers")).client_saw) == DEFAULTS


def test_hsts_over_https_only(bench: Any, send: Any) -> None:
    ex = send(bench.policy("security_headers"), scheme=b"https")
    assert ex.sent(b"strict-transport-security") == [b"max-age=31536000; includeSubDomains"]


def test_software_is_hidden(bench: Any, send: Any) -> None:
    response = [(b"server", b"gunicorn"), (b"x-powered-by", b"PHP"), (b"content-type", b"text/plain")]
    ex = send(bench.policy("security_headers"), response=response)
    assert dict(ex.client_saw) == {**DEFAULTS, b"content-type": b"text/plain"}
    assert send(bench.policy("security_headers", hide=[]), response=response).sent(b"server") == [b"gunicorn"]


@pytest.mark.parametrize(("overwrite", "expected"), [(False, b"DENY"), (True, b"SAMEORIGIN")])
def test_what_the_upstream_says(bench: Any, send: Any, overwrite: bool, expected: bytes) -> None:
    policy = bench.policy("security_headers", overwrite=overwrite)
    ex = send(policy, response=[(b"x-frame-options", b"DENY"), (b"server", b"x")])
    assert dict(ex.client_saw) == {**DEFAULTS, b"x-frame-options": expected}
    assert ex.sent(b"x-frame-options") == [expected]


def test_what_another_policy_said_is_left(bench: Any, send: Any) -> None:
    other = bench.policy("headers", response={"set": {"x-frame-options": "DENY", "server": "x"}})
    ex = send(bench.policy("security_headers"), other)
    assert ex.sent(b"x-frame-options") == [b"DENY"]
    assert ex.sent(b"server") == []


def test_fields_can_be_overridden_and_switched_off(bench: Any, send: Any) -> None:
    policy = bench.policy(
        "security_headers",
        content_type_options=None,
        frame_options="DENY",
        hsts=None,
        referrer_policy=None,
        permissions_policy=None,
        content_security_policy="default-src 'self'",
    )
    ex = send(policy, scheme=b"https")
    assert ex.client_saw == [(b"x-frame-options", b"DENY"), (b"content-security-policy", b"default-src 'self'")]


def test_values_cannot_end_a_line(bench: Any) -> None:
    with pytest.raises(ValueError, match="line breaks"):
        bench.policy("security_headers", frame_options="DENY\r\nx: y")
