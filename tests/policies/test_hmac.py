"""Signed requests: the examples of RFC 9421 appendix B.2, what is refused, and bodies that are others than signed."""

from __future__ import annotations

import hashlib
import hmac
from base64 import b64decode, b64encode
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gatewright.sdk import CREDENTIAL, InvalidPolicy, Refused
from gatewright.snapshot import model
from gatewright.testing.rig import Rig, route, upstream

# --- the examples of the RFC --------------------------------------------------------------------------------------

SHARED = "uzvJfB4u3N0Jy4T7NZ75MDVcr8zSTInedJtkgcu46YW4XByzNJjxBdtjUkdJPBtbmHhIDi6pcl8jsasjlTMtDQ=="


def pem(*lines: str) -> str:
    return "\n".join(["-----BEGIN PUBLIC KEY-----", *lines, "-----END PUBLIC KEY-----", ""])


RSA_PSS = pem(
    "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAr4tmm3r20Wd/PbqvP1s2",
    "+QEtvpuRaV8Yq40gjUR8y2Rjxa6dpG2GXHbPfvMs8ct+Lh1GH45x28Rw3Ry53mm+",
    "oAXjyQ86OnDkZ5N8lYbggD4O3w6M6pAvLkhk95AndTrifbIFPNU8PPMO7OyrFAHq",
    "gDsznjPFmTOtCEcN2Z1FpWgchwuYLPL+Wokqltd11nqqzi+bJ9cvSKADYdUAAN5W",
    "Utzdpiy6LbTgSxP7ociU4Tn0g5I6aDZJ7A8Lzo0KSyZYoA485mqcO0GVAdVw9lq4",
    "aOT9v6d+nb4bnNkQVklLQ3fVAvJm+xdDOp9LCNCN48V2pnDOkFV6+U9nV5oyc6XI",
    "2wIDAQAB",
)
ECC = pem(
    "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEqIVYZVLCrPZHGHjP17CTW0/+D9Lf",
    "w0EkjqF7xB4FivAxzic30tMM4GF+hR6Dxh71Z50VGGdldkkDXZCnTNnoXQ==",
)
# The SubjectPublicKeyInfo of RFC 8410 around the 32 octets of the key.
ED25519 = pem(
    b64encode(
        bytes.fromhex("302a300506032b6570032100") + b64decode("JrQLj5P/89iXES9+vFgrIy29clF9CC/oPPsw3c5D0bs=")
    ).decode()
)
KEYS = model.Consumer(
    "acme",
    credentials=(
        model.Credential("hmac", id="test-shared-secret", value=SHARED, algorithm="hmac-sha256"),
        model.Credential("hmac", id="test-key-rsa-pss", value=RSA_PSS, algorithm="rsa-pss-sha512"),
        model.Credential("hmac", id="test-key-ecc-p256", value=ECC, algorithm="ecdsa-p256-sha256"),
        model.Credential("hmac", id="test-key-ed25519", value=ED25519, algorithm="ed25519"),
    ),
)
BODY = b'{"hello": "world"}'
DIGEST = b"sha-512=:WZDPaVn/7XgHaAy8pmojAkGWoRx2UFChF41A2svX+TaPm+AbwAgBWnrIiYllu7BNNyealdVLvRwEmTHWXvJwew==:"
FIELDS = [
    (b"host", b"example.com"),
    (b"date", b"Tue, 20 Apr 2021 02:07:55 GMT"),
    (b"content-type", b"application/json"),
    (b"content-digest", DIGEST),
    (b"content-length", b"18"),
]
CREATED = 1618884473
ALL = '"date" "@method" "@path" "@query" "@authority" "content-type" "content-digest" "content-length"'
EXAMPLES = {
    "b21": (
        f'();created={CREATED};keyid="test-key-rsa-pss";nonce="b3k2pp5k7z-50gnwp.yemd"',
        (
            "d2pmTvmbncD3xQm8E9ZV2828BjQWGgiwAaw5bAkgibUopemLJcWDy/lkbbHAve4cRAtx31Iq786U7it++wgGxbtRxf8Udx7zFZsckzXaJMkA7ChG"
            "52eSkFxykJeNqsrWH5S+oxNFlD4dzVuwe8DhTSja8xxbR/Z2cOGdCbzR72rgFWhzx2VjBqJzsPLMIQKhO4DGezXehhWwE56YCE+O6c0mKZsfxVro"
            "gUvA4HELjVKWmAvtl6UnCh8jYzuVG5WSb/QEVPnP5TmcAnLH1g+s++v6d4s8m0gCw1fV5/SITLq9mhho8K3+7EPYTU8IU1bLhdxO5Nyt8C8ssinQ"
            "98Xw9Q=="
        ),
    ),
    "b22": (
        (
            f'("@authority" "content-digest" "@query-param";name="Pet");created={CREATED};keyid="test-key-rsa-pss"'
            ';tag="header-example"'
        ),
        (
            "LjbtqUbfmvjj5C5kr1Ugj4PmLYvx9wVjZvD9GsTT4F7GrcQEdJzgI9qHxICagShLRiLMlAJjtq6N4CDfKtjvuJyE5qH7KT8UCMkSowOB4+ECxCmT"
            "8rtAmj/0PIXxi0A0nxKyB09RNrCQibbUjsLS/2YyFYXEu4TRJQzRw1rLEuEfY17SARYhpTlaqwZVtR8NV7+4UKkjqpcAoFqWFQh62s7Cl+H2fjBS"
            "pqfZUJcsIk4N6wiKYd4je2U/lankenQ99PZfB4jY3I5rSV2DSBVkSFsURIjYErOs0tFTQosMTAoxk//0RoKUqiYY8Bh0aaUEb0rQl3/XaVe4bXTu"
            "gEjHSw=="
        ),
    ),
    "b23": (
        f'({ALL});created={CREATED};keyid="test-key-rsa-pss"',
        (
            "bbN8oArOxYoyylQQUU6QYwrTuaxLwjAC9fbY2F6SVWvh0yBiMIRGOnMYwZ/5MR6fb0Kh1rIRASVxFkeGt683+qRpRRU5p2voTp768ZrCUb38K0fU"
            "xN0O0iC59DzYx8DFll5GmydPxSmme9v6ULbMFkl+V5B1TP/yPViV7KsLNmvKiLJH1pFkh/aYA2HXXZzNBXmIkoQoLd7YfW91kE9o/CCoC1xMy7JA"
            "1ipwvKvfrs65ldmlu9bpG6A9BmzhuzF8Eim5f8ui9eH8LZH896+QIF61ka39VBrohr9iyMUJpvRX2Zbhl5ZJzSRxpJyoEZAFL2FUo5fTIztsDZKE"
            "gM4cUA=="
        ),
    ),
    "b25": (
        f'("date" "@authority" "content-type");created={CREATED};keyid="test-shared-secret"',
        "pxcQw6G3AjtMBQjwo8XzkZf/bws5LelbaMk5rGIGtE8=",
    ),
    "b26": (
        f'("date" "@method" "@path" "@authority" "content-type" "content-length");created={CREATED};keyid="test-key-ed25519"',
        "wqcAqbmYJ2ji2glfAMaRy4gruYYnx2nEFN2HN6jrnDnQCK1u02Gb04v9EDgwUPiu4A0w6vuQv5lIp5WPpBKRCw==",
    ),
    # Section 4.3: what a client signed before its proxy did.
    "sig1": (
        (
            '("@method" "@authority" "@path" "content-digest" "content-type" "content-length")'
            ';created=1618884475;keyid="test-key-ecc-p256"'
        ),
        "X5spyd6CFnAG5QnDyHfqoSNICd+BUP4LYMz2Q0JXlb//4Ijpzp+kve2w4NIyqeAuM7jTDX+sNalzA8ESSaHD3A==",
    ),
}


@pytest.fixture
def signed(bench: Any) -> Any:
    """A bench at the time and with the keys of the RFC, and of its test request whatever is left out replaced."""
    bench.snapshot = model.Snapshot(consumers=(KEYS,))
    bench.clock.start = CREATED + 2 - bench.clock.now
    return bench


def example(exchange: Any, label: str, **changes: bytes) -> Any:
    inputs, signature = EXAMPLES[label]
    fields = [(name, changes.get(name.decode().replace("-", "_"), value)) for name, value in FIELDS]
    fields.append((b"signature-input", f"{label}={inputs}".encode()))
    fields.append((b"signature", f"{label}=:{signature}:".encode()))
    ex = exchange(changes.get("target", b"/foo?param=Value&Pet=dog"), fields, method=b"POST", has_body=True)
    ex.request.authority = b"example.com"
    return ex


@pytest.mark.parametrize("label", EXAMPLES)
def test_the_examples_of_the_rfc(signed: Any, exchange: Any, label: str) -> None:
    policy = signed.policy("hmac", components=[])
    ex = example(exchange, label)
    assert policy.on_request(ex) is None
    assert ex.consumer.name == "acme"
    assert len(ex.vars[CREDENTIAL]) == 32
    assert ex.upstream_saw == FIELDS
    assert policy.on_request_chunk(ex, BODY[:5], False) == b""
    assert policy.on_request_chunk(ex, BODY[5:], False) == BODY[:5]
    assert policy.on_request_chunk(ex, b"", True) == BODY[5:]


@pytest.mark.parametrize("label", [label for label in EXAMPLES if label != "b21"])
def test_a_changed_request_is_another(signed: Any, exchange: Any, label: str) -> None:
    policy = signed.policy("hmac", components=[])
    change = (
        {"date": b"Tue, 20 Apr 2021 02:07:56 GMT"}
        if "date" in EXAMPLES[label][0]
        else {"content_digest": DIGEST + b" "}
    )
    if "content_digest" in change:
        change = {"content_digest": b"sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:"}
    assert policy.on_request(example(exchange, label, **change)).reason == "hmac.signature"


# --- signatures of our own ----------------------------------------------------------------------------------------


def sign(
    lines: list[tuple[str, str]], parameters: str, label: str = "sig", secret: bytes = b64decode(SHARED)
) -> list[Any]:
    """Signs with the shared secret; the signature base is written by hand here."""
    inputs = f"({' '.join(name for name, _ in lines)}){parameters}"
    base = "\n".join([*(f"{name}: {value}" for name, value in lines), f'"@signature-params": {inputs}'])
    signature = b64encode(hmac.digest(secret, base.encode(), hashlib.sha256)).decode()
    return [(b"signature-input", f"{label}={inputs}".encode()), (b"signature", f"{label}=:{signature}:".encode())]


GET = [('"@method"', "GET"), ('"@target-uri"', "http://api.example.com/orders?a=1")]
NOW = CREATED + 2
GOOD = f';created={NOW};keyid="test-shared-secret"'


def get(exchange: Any, policy: Any, fields: list[Any], **more: Any) -> tuple[Any, Any]:
    ex = exchange(b"/orders?a=1", fields, **more)
    return ex, policy.on_request(ex)


def test_a_signed_get(signed: Any, exchange: Any) -> None:
    ex, reply = get(exchange, signed.policy("hmac"), sign(GET, GOOD))
    assert (reply, ex.upstream_saw) == (None, [])
    ex, reply = get(exchange, signed.policy("hmac", forward=True), sign(GET, GOOD))
    assert (reply, len(ex.upstream_saw)) == (None, 2)


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        (f';created={NOW + 30};keyid="test-shared-secret"', None),
        (f';created={NOW + 32};keyid="test-shared-secret"', "expired"),
        (f';created={NOW - 330};keyid="test-shared-secret"', None),
        (f';created={NOW - 332};keyid="test-shared-secret"', "expired"),
        (f"{GOOD};expires={NOW - 20}", None),
        (f"{GOOD};expires={NOW - 31}", "expired"),
        (f'{GOOD};alg="hmac-sha256"', None),
        (f'{GOOD};alg="none"', "malformed"),
        (f'{GOOD};alg="ed25519"', "malformed"),
        (f"{GOOD};alg", "malformed"),
        (f'{GOOD};expires="never"', "malformed"),
        (f";created={NOW}", "unknown_key"),
        (f';created={NOW};keyid="other"', "unknown_key"),
        (f';created={NOW};keyid=""', "unknown_key"),
        (f";created={NOW};keyid=test-shared-secret", "malformed"),
        (';keyid="test-shared-secret"', "malformed"),
        (f';created={NOW}.0;keyid="test-shared-secret"', "malformed"),
        (';created=999999999999999;keyid="test-shared-secret"', "expired"),
        (f';created={NOW};keyid="test-key-ed25519"', "signature"),  # a secret is no public key
        (f';created={NOW};keyid="test-key-rsa-pss"', "signature"),
    ],
)
def test_parameters(signed: Any, exchange: Any, parameters: str, reason: str | None) -> None:
    ex, reply = get(exchange, signed.policy("hmac"), sign(GET, parameters))
    assert (reply and reply.reason) == (reason and f"hmac.{reason}")
    assert (ex.consumer is None) is (reason is not None)
    if reply is not None:
        assert reply.status == 401
        assert reply.headers == (
            (b"www-authenticate", b'Signature realm="api"'),
            (b"accept-signature", b'sig=("@method" "@target-uri" "content-digest");created;keyid'),
        )


SIGNED = sign(GET, GOOD)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ([], "missing"),
        ([(b"signature-input", b""), (b"signature", b"")], "missing"),
        (SIGNED[:1], "malformed"),
        (SIGNED[1:], "malformed"),
        ([SIGNED[0], (b"signature", b"sig=:AAAA:")], "signature"),
        ([SIGNED[0], (b"signature", b"sig=::")], "signature"),
        ([SIGNED[0], (b"signature", b"sig=AAAA")], "malformed"),
        ([SIGNED[0], (b"signature", b"other=:AAAA:")], "malformed"),
        ([SIGNED[0], (b"signature", b"sig=:\xff\xfe:")], "malformed"),
        ([SIGNED[0], (b"signature", b"sig=:" + b"A" * 20_000 + b":")], "malformed"),
        ([(b"signature-input", b"sig=" + b"(" * 1000), SIGNED[1]], "malformed"),
        ([*SIGNED, *sign(GET, GOOD, "two")], "malformed"),
        ([*SIGNED, SIGNED[1]], None),  # the same twice is one member of the dictionary
        ([*SIGNED, (b"signature", b"sig=:AAAA:")], "signature"),  # the last one counts
        (sign(GET[:1], GOOD), "malformed"),
        (sign([*GET, ('"x-none"', "")], GOOD), "malformed"),
        (sign([GET[0], ('"@target-uri"', "http://api.example.com/orders?a=2")], GOOD), "signature"),
        (sign(GET, GOOD, secret=b"another"), "signature"),
    ],
)
def test_fields(signed: Any, exchange: Any, fields: list[Any], reason: str | None) -> None:
    ex, reply = get(exchange, signed.policy("hmac"), fields)
    assert (reply and reply.reason) == (reason and f"hmac.{reason}")
    assert (ex.consumer is None) is (reason is not None)


def test_the_target_uri_covers_the_path(signed: Any, exchange: Any) -> None:
    assert get(exchange, signed.policy("hmac", components=["@method", "@path", "@authority"]), SIGNED)[1] is None


def test_label_and_tag(signed: Any, exchange: Any) -> None:
    policy = signed.policy("hmac", label="mine", tag="shop")
    mine = sign(GET, f'{GOOD};tag="shop"', "mine")
    assert get(exchange, policy, [*SIGNED, *mine])[1] is None
    assert get(exchange, policy, SIGNED)[1].reason == "hmac.missing"
    assert get(exchange, policy, sign(GET, f'{GOOD};tag="other"', "mine"))[1].reason == "hmac.malformed"


def test_a_nonce_is_used_once_and_by_whom_it_is(signed: Any, exchange: Any) -> None:
    once = sign(GET, f'{GOOD};nonce="n1"')
    wrong = [once[0], (b"signature", b"sig=:AAAA:")]
    worker, other = signed.policy("hmac"), signed.policy("hmac")
    assert get(exchange, worker, wrong)[1].reason == "hmac.signature"  # and uses nothing up
    assert get(exchange, worker, once)[1] is None
    assert get(exchange, other, once)[1].reason == "hmac.replayed"  # workers share what they have seen
    signed.clock.advance(329)
    assert get(exchange, worker, once)[1].reason == "hmac.replayed"
    signed.clock.advance(3)
    assert get(exchange, worker, once)[1].reason == "hmac.expired"


def test_a_nonce_may_be_demanded(signed: Any, exchange: Any) -> None:
    policy = signed.policy("hmac", require_nonce=True)
    for parameters, reason in (
        (GOOD, "hmac.malformed"),
        (f'{GOOD};nonce=""', "hmac.malformed"),
        (f'{GOOD};nonce="n"', None),
    ):
        reply = get(exchange, policy, sign(GET, parameters))[1]
        assert (reply and reply.reason) == reason


def test_optional(signed: Any, exchange: Any) -> None:
    policy = signed.policy("hmac", optional=True)
    assert get(exchange, policy, [])[1] is None
    assert get(exchange, policy, SIGNED[:1])[1].reason == "hmac.malformed"


@pytest.mark.parametrize(
    ("digest", "reason"),
    [
        (None, None),
        (b"sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:", None),
        (b"sha-256=:AAAA:", "digest"),
        (b"md5=:AAAA:", None),  # says nothing, and nothing had to be said
        (b"sha-256=AAAA", "malformed"),
        (b"sha-256", "malformed"),
        (b"sha-256=:" + b"A" * 9000 + b":", "malformed"),
    ],
)
def test_digests_without_a_body(signed: Any, exchange: Any, digest: bytes | None, reason: str | None) -> None:
    fields = [*SIGNED, *([] if digest is None else [(b"content-digest", digest)])]
    reply = get(exchange, signed.policy("hmac"), fields)[1]
    assert (reply and reply.reason) == (reason and f"hmac.{reason}")


def test_a_body_must_be_signed(signed: Any, exchange: Any) -> None:
    policy = signed.policy("hmac")
    assert get(exchange, policy, SIGNED, has_body=True)[1].reason == "hmac.malformed"
    for digest in ("md5=:AAAA:", "sha-256=(:AAAA:)"):
        fields = [*sign([*GET, ('"content-digest"', digest)], GOOD), (b"content-digest", digest.encode())]
        assert get(exchange, policy, fields, has_body=True)[1].reason == "hmac.malformed"


def test_every_digest_that_is_known_counts(signed: Any, exchange: Any) -> None:
    policy = signed.policy("hmac")
    right = b64encode(hashlib.sha256(BODY).digest()).decode()
    digest = f"sha-256=:{right}:, sha-512=:AAAA:"
    ex, reply = get(
        exchange,
        policy,
        [*sign([*GET, ('"content-digest"', digest)], GOOD), (b"content-digest", digest.encode())],
        has_body=True,
    )
    assert reply is None
    with pytest.raises(Refused) as refused:
        policy.on_request_chunk(ex, BODY, True)
    assert (refused.value.reply.status, refused.value.reply.reason) == (401, "hmac.digest")


@pytest.mark.parametrize("component", ["@nothing", "date;sf", "", "é", 'a"b', "@query-param"])
def test_what_cannot_be_wanted(bench: Any, component: str) -> None:
    with pytest.raises(InvalidPolicy):
        bench.policy("hmac", components=[component])


PIECES = st.sampled_from(
    [
        b"sig",
        b"=",
        b"(",
        b")",
        b'"@method"',
        b'"date"',
        b" ",
        b";",
        b"created=1",
        b'keyid="test-shared-secret"',
        b":AAAA:",
        b",",
        b"\xff",
        b'"',
    ]
)
VALUES = st.binary(max_size=60) | st.lists(PIECES, max_size=12).map(b"".join)


@given(inputs=VALUES, signatures=VALUES | st.just(b"sig=:AAAA:"), digest=VALUES)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_nothing_raises(signed: Any, exchange: Any, inputs: bytes, signatures: bytes, digest: bytes) -> None:
    fields = [(b"signature-input", inputs), (b"signature", signatures), (b"content-digest", digest)]
    ex, reply = get(exchange, signed.policy("hmac", components=[]), fields, has_body=True)
    assert reply is not None
    assert ex.consumer is None


# --- in a whole gateway -------------------------------------------------------------------------------------------


def serve(rig: Rig) -> None:
    rig.apply(KEYS, upstream("a"), route("all", "/*", "a", policies={"hmac": {}}))


def post(rig: Rig, digest_of: bytes, framing: bytes) -> bytes:
    digest = f"sha-256=:{b64encode(hashlib.sha256(digest_of).digest()).decode()}:"
    lines = [('"@method"', "POST"), ('"@target-uri"', "http://x/"), ('"content-digest"', digest)]
    created = int(rig.clock.wall())
    fields = [*sign(lines, f';created={created};keyid="test-shared-secret"'), (b"content-digest", digest.encode())]
    return b"POST / HTTP/1.1\r\nhost: x\r\n" + b"".join(b"%b: %b\r\n" % pair for pair in fields) + framing + b"\r\n\r\n"


def test_a_good_body_gets_through(rig: Rig) -> None:
    serve(rig)
    client = rig.client()
    client.send(post(rig, b"one two", b"content-length: 7") + b"one")
    origin = rig.origin("a").accept()
    client.send(b" two")
    assert origin.received.endswith(b"\r\n\r\none two")
    assert b"signature" not in origin.received
    origin.send(b"HTTP/1.1 204 No Content\r\n\r\n")
    assert client.received.startswith(b"HTTP/1.1 204")


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("pieces", [[b"one two"], [b"one", b" two"], [b"o", b"ne tw", b"x"]])
def test_another_body_never_gets_whole_upstream(rig: Rig, chunked: bool, pieces: list[bytes]) -> None:
    serve(rig)
    client = rig.client()
    client.send(post(rig, b"another", b"transfer-encoding: chunked" if chunked else b"content-length: 7"))
    waiting = rig.origin("a").waiting
    origin = rig.origin("a").accept() if waiting else None
    for piece in pieces:
        client.send(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
    if chunked:
        client.send(b"0\r\n\r\n")
    assert client.received.startswith(b"HTTP/1.1 401")
    assert b"hmac.digest" in client.received
    if origin is not None:
        body = origin.received.partition(b"\r\n\r\n")[2]
        assert b"0\r\n\r\n" not in body
        assert len(body) < 7 or chunked
        assert pieces[-1] not in body
        assert origin.closed
