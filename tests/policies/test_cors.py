from __future__ import annotations

from typing import Any

import pytest

from gatewright.sdk import InvalidPolicy

APP = b"https://app.example.com"


def preflight(origin: bytes = APP, headers: bytes = b"", **more: bytes) -> dict[str, Any]:
    pairs = [(b"origin", origin), (b"access-control-request-method", b"PUT")]
    if headers:
        pairs.append((b"access-control-request-headers", headers))
    pairs += [(name.replace("_", "-").encode(), value) for name, value in more.items()]
    return {"method": b"OPTIONS", "headers": pairs}


@pytest.mark.parametrize(
    ("configured", "origin", "allowed"),
    [
        ("https://app.example.com", APP, True),
        ("https://app.example.com", b"http://app.example.com", False),
        ("https://app.example.com", b"https://app.example.com:8443", False),
        ("https://app.example.com", b"https://app.example.com.evil.test", False),
        ("https://*.example.com", APP, True),
        ("https://*.example.com", b"https://a.b.example.com", True),
        ("https://*.example.com", b"https://example.com", False),
        ("https://*.example.com", b"https://evil-example.com", False),
        ("https://*.example.com", b"https://evil.test/.example.com", False),
        ("http://localhost:*", b"http://localhost:5173", True),
        ("http://localhost:*", b"http://localhost", True),
        ("http://localhost:*", b"http://localhost.evil.test:80", False),
        (r"~https://app-[0-9]+\.example\.com", b"https://app-17.example.com", True),
        (r"~https://app-[0-9]+\.example\.com", b"https://app-17.example.com.evil.test", False),
        ("*", b"https://anybody.test", True),
        ("null", b"null", True),
        ("https://app.example.com", b"null", False),
    ],
)
def test_origins(bench: Any, send: Any, configured: str, origin: bytes, allowed: bool) -> None:
    policy = bench.policy("cors", origins=[configured])
    ex = send(policy, headers=[(b"origin", origin)])
    assert ex.reply is None  # CORS keeps nobody out
    expected = [] if not allowed else [b"*"] if configured == "*" else [origin]
    assert ex.sent(b"access-control-allow-origin") == expected
    assert ex.sent(b"vary") == ([] if configured == "*" else [b"Origin"])
    ex = send(policy, **preflight(origin))
    assert (ex.reply.status, ex.reply.reason) == ((204, "cors.preflight") if allowed else (403, "cors.denied"))
    assert ex.sent(b"access-control-allow-origin") == expected


def test_a_preflight_is_answered(bench: Any, send: Any) -> None:
    policy = bench.policy("cors", origins=["https://app.example.com"], credentials=True, max_age="10m", methods=["PUT"])
    ex = send(policy, **preflight(headers=b"content-type, x-own"))
    assert dict(ex.client_saw) == {
        b"access-control-allow-origin": APP,
        b"access-control-allow-credentials": b"true",
        b"access-control-allow-methods": b"PUT",
        b"access-control-allow-headers": b"content-type, x-own",
        b"access-control-max-age": b"600",
        b"vary": b"Origin",
    }
    assert ex.sent(b"vary") == [b"Access-Control-Request-Method, Access-Control-Request-Headers", b"Origin"]


def test_listed_request_headers(bench: Any, send: Any) -> None:
    policy = bench.policy("cors", origins=["*"], headers=["content-type", "x-own"])
    ex = send(policy, **preflight(headers=b"x-other"))
    assert ex.sent(b"access-control-allow-headers") == [b"content-type, x-own"]


def test_what_cannot_be_a_list_of_names_is_not_reflected(bench: Any, send: Any) -> None:
    ex = send(bench.policy("cors", origins=["*"]), **preflight(headers=b"<script>"))
    assert ex.sent(b"access-control-allow-headers") == []


@pytest.mark.parametrize("enabled", [False, True])
def test_private_networks(bench: Any, send: Any, enabled: bool) -> None:
    policy = bench.policy("cors", origins=["*"], private_network=enabled)
    ex = send(policy, **preflight(access_control_request_private_network=b"true"))
    assert ex.sent(b"access-control-allow-private-network") == ([b"true"] if enabled else [])


@pytest.mark.parametrize(
    "headers",
    [[], [(b"origin", APP)], [(b"access-control-request-method", b"GET")]],
    ids=["plain", "no method", "no origin"],
)
def test_other_options_requests_pass(bench: Any, send: Any, headers: Any) -> None:
    assert send(bench.policy("cors", origins=["*"]), method=b"OPTIONS", headers=headers).reply is None


def test_the_policy_is_in_charge_alone(bench: Any, send: Any) -> None:
    policy = bench.policy("cors", origins=["https://app.example.com"], expose=["X-Total"])
    upstream = [
        (b"access-control-allow-origin", b"*"),
        (b"access-control-allow-credentials", b"true"),
        (b"vary", b"accept-encoding"),
    ]
    ex = send(policy, headers=[(b"origin", APP)], response=upstream)
    assert ex.sent(b"access-control-allow-origin") == [APP]
    assert ex.sent(b"access-control-allow-credentials") == []
    assert ex.sent(b"access-control-expose-headers") == [b"x-total"]
    assert ex.sent(b"vary") == [b"accept-encoding", b"Origin"]


def test_a_refusal_of_a_later_policy_can_be_read_by_the_browser(bench: Any, send: Any) -> None:
    policies = bench.policy("cors", origins=["https://app.example.com"]), bench.policy("api_key")
    ex = send(*policies, headers=[(b"origin", APP)])
    assert ex.reply.reason == "api_key.missing"
    assert ex.sent(b"access-control-allow-origin") == [APP]
    assert ex.sent(b"vary") == [b"Origin"]


def test_any_origin_with_credentials_is_refused(bench: Any) -> None:
    with pytest.raises(InvalidPolicy, match="credentials"):
        bench.policy("cors", origins=["*"], credentials=True)


@pytest.mark.parametrize("origin", ["app.example.com", "https://app.example.com/", "https://", "~(", "https://a.*.com"])
def test_what_is_no_origin_is_refused(bench: Any, origin: str) -> None:
    with pytest.raises(ValueError, match=r"origin|regular expression"):
        bench.policy("cors", origins=[origin])
