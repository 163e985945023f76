"""Pairs from memory."""

from __future__ import annotations

import ssl
import subprocess
from pathlib import Path

import pytest

from gatewright.testing.certs import Authority
from gatewright.tls.memory import load_pair


def test_a_pair_is_loaded_and_leaves_nothing_open(authority: Authority) -> None:
    cert, key = authority.pair("localhost")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    before = sorted(Path("/proc/self/fd").iterdir())
    load_pair(context, cert.read_text("ascii"), key.read_text("ascii"))
    assert sorted(Path("/proc/self/fd").iterdir()) == before


def test_a_pair_that_does_not_belong_together(authority: Authority) -> None:
    (cert, _), (_, key) = authority.pair("localhost"), authority.pair("localhost")
    with pytest.raises(ssl.SSLError):
        load_pair(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), cert.read_text("ascii"), key.read_text("ascii"))


def test_an_encrypted_key_is_refused_without_asking_for_a_passphrase(authority: Authority) -> None:
    cert, key = authority.pair("localhost")
    locked = subprocess.run(
        ["openssl", "pkey", "-in", key, "-aes256", "-passout", "pass:secret"], check=True, capture_output=True
    ).stdout.decode()
    with pytest.raises(ssl.SSLError):
        load_pair(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), cert.read_text("ascii"), locked)
