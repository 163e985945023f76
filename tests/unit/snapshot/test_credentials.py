"""What becomes of credentials: nothing in clear that need not be."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from gatewright.sdk.passwords import PasswordHash
from gatewright.snapshot import model


def consumers(*credentials: str) -> str:
    return f"consumers: [{{name: a, credentials: [{', '.join(credentials)}]}}]\nroutes: [{{name: r, respond: {{}}}}]"


def pem(key: Any) -> str:
    text: str = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    return text


def quoted(text: str) -> str:
    return msgspec.json.encode(text).decode()


def credentials_of(build: Any, *written: str) -> tuple[model.Credential, ...]:
    found: tuple[model.Credential, ...] = build(consumers(*written)).snapshot.consumers[0].credentials
    return found


def test_a_password_becomes_a_hash_and_stays_the_same_one(build: Any) -> None:
    text = consumers("{basic: {username: ann, password: never-show-this}}")
    snapshot = build(text).snapshot
    (credential,) = snapshot.consumers[0].credentials
    assert (credential.kind, credential.id) == ("basic", "ann")
    assert PasswordHash(credential.value).verify(b"never-show-this")
    assert b"never-show-this" not in msgspec.json.encode(snapshot)
    assert build(text).snapshot.digest == snapshot.digest
    other = build(text.replace("ann", "bob")).snapshot.consumers[0].credentials[0]
    assert other.value.rsplit("$", 1)[1] != credential.value.rsplit("$", 1)[1]  # another salt


def test_names_are_composed(build: Any) -> None:
    (credential,) = credentials_of(build, '{basic: {username: "Zoe\u0308", password: x}}')
    assert credential.id == "Zoë"


def test_shared_secrets_are_kept_and_not_printed(build: Any) -> None:
    encoded = b64encode(b"never-show-this-one").decode()
    found = credentials_of(
        build,
        "{hmac: {key_id: k1, secret: never-show-this-one}}",
        f"{{hmac: {{key_id: k2, secret_base64: {encoded}}}}}",
    )
    assert [(one.kind, one.id, one.value, one.algorithm) for one in found] == [
        ("hmac", "k1", encoded, "hmac-sha256"),
        ("hmac", "k2", encoded, "hmac-sha256"),
    ]
    assert encoded not in repr(found)
    assert "never" not in repr(build(consumers("{hmac: {key_id: k1, secret: never-show-this-one}}")).snapshot)


def test_public_keys_say_what_they_sign_with(build: Any) -> None:
    keys = [pem(rsa.generate_private_key(65537, 2048)), pem(ec.generate_private_key(ec.SECP256R1()))]
    keys.append(pem(ed25519.Ed25519PrivateKey.generate()))
    written = [f"{{signature_key: {{key_id: k{n}, public_key: {quoted(key)}}}}}" for n, key in enumerate(keys)]
    written.append(f"{{signature_key: {{key_id: p, public_key: {quoted(keys[0])}, algorithm: rsa-pss-sha512}}}}")
    found = credentials_of(build, *written)
    assert [one.algorithm for one in found] == ["rsa-v1_5-sha256", "ecdsa-p256-sha256", "ed25519", "rsa-pss-sha512"]
    assert {one.kind for one in found} == {"hmac"}


@pytest.mark.parametrize(
    ("key", "algorithm", "message"),
    [
        (pem(ec.generate_private_key(ec.SECP384R1())), "", "only RSA, P-256 and Ed25519 keys can verify signatures"),
        (pem(rsa.generate_private_key(65537, 1024)), "", "an RSA key needs 2048 to 4096 bits, not 1024"),
        (
            pem(ed25519.Ed25519PrivateKey.generate()),
            "rsa-pss-sha512",
            "this key signs with ed25519, not with rsa-pss-sha512",
        ),
        ("nothing", "", "no public key could be read: it begins with -----BEGIN PUBLIC KEY-----"),
    ],
    ids=["curve", "weak", "algorithm", "none"],
)
def test_keys_that_are_refused(build: Any, key: str, algorithm: str, message: str) -> None:
    more = f", algorithm: {algorithm}" if algorithm else ""
    text = consumers(f"{{signature_key: {{key_id: k, public_key: {quoted(key)}{more}}}}}")
    assert build.messages(text) == [message]


def test_a_key_id_is_taken_once_by_whatever_kind_of_key(build: Any) -> None:
    key = quoted(pem(ed25519.Ed25519PrivateKey.generate()))
    text = consumers(
        f"{{signature_key: {{key_id: k, public_key: {key}}}}}", "{hmac: {key_id: k, secret: 0123456789abcdef}}"
    )
    assert build.messages(text) == ["this key_id is given twice"]
    same = consumers("{basic: {username: k, password: x}}", "{hmac: {key_id: k, secret: 0123456789abcdef}}")
    assert build(same).problems == []  # a user is not a key
