"""Hashes of passwords, with the vectors of RFC 7914 and hashes that other software has made."""

from __future__ import annotations

import hashlib
from base64 import b64encode

import pytest

from gatewright.sdk.passwords import PasswordHash, hash_password, normalized


def b64(data: bytes) -> str:
    return b64encode(data).rstrip(b"=").decode()


#: RFC 7914 section 12, third vector, and section 11, second vector with PBKDF2's first 32 octets.
SCRYPT = (
    f"$scrypt$ln=14,r=8,p=1${b64(b'SodiumChloride')}$"
    + b64(bytes.fromhex("7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2d5432955613f0fcf62d49705242a9af9"
                        "e61e85dc0d651e40dfcf017b45575887"))
)  # fmt: skip
ARGON2 = "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"
DJANGO = "pbkdf2_sha256$1000$saltsaltsalt$"


@pytest.mark.parametrize(
    ("text", "password"), [(SCRYPT, b"pleaseletmein"), (ARGON2, b"password")], ids=["scrypt", "argon2id"]
)
def test_known_hashes(text: str, password: bytes) -> None:
    stored = PasswordHash(text)
    assert stored.verify(password)
    assert not stored.verify(password + b"x")


def test_both_forms_of_pbkdf2() -> None:
    made = hashlib.pbkdf2_hmac("sha256", b"secret", b"saltsaltsalt", 1000)
    for text in (
        f"pbkdf2_sha256$1000$saltsaltsalt${b64encode(made).decode()}",
        f"$pbkdf2-sha256$1000${b64(b'saltsaltsalt')}${b64(made).replace('+', '.')}",
    ):
        assert PasswordHash(text).verify(b"secret")
        assert not PasswordHash(text).verify(b"Secret")


def test_made_hashes() -> None:
    one, two = hash_password("s3cret"), hash_password("s3cret")
    assert one != two
    assert PasswordHash(one).verify(b"s3cret")
    assert hash_password("s3cret", b"s" * 16) == hash_password("s3cret", b"s" * 16)


def test_composed_and_decomposed_are_one() -> None:
    assert normalized("e\u0301") == normalized("é") == "é".encode()
    assert normalized("plain") == b"plain"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "secret",
        "$2b$12$abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcde",
        "$argon2i$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
        ARGON2.replace("m=65536", "m=999999999"),
        ARGON2.replace("t=2", "t=0"),
        ARGON2.replace("p=1", "p=0"),
        ARGON2.replace("m=65536", "m=4"),
        SCRYPT.replace("ln=14", "ln=30"),
        SCRYPT.replace("ln=14", "ln=0"),
        SCRYPT.replace("r=8", "r=0"),
        SCRYPT.replace("p=1", "p=99"),
        SCRYPT[:-70],
        SCRYPT.replace("$U29", "$A"),
        DJANGO + "AAAA",
        DJANGO.replace("1000", "10") + b64encode(bytes(32)).decode(),
        "$pbkdf2-sha256$99999999$c2FsdHNhbHRzYWx0$" + b64(bytes(32)),
        SCRYPT + "\n",
    ],
)
def test_what_is_not_taken(text: str) -> None:
    with pytest.raises(ValueError, match="hash") as caught:
        PasswordHash(text)
    assert "U29" not in str(caught.value)
