"""Cipher suites."""

from __future__ import annotations

from gatewright.tls.ciphers import known_ciphers, weakness
from gatewright.tls.server import CIPHERS


def test_the_usual_ones_are_known_and_not_weak() -> None:
    assert set(CIPHERS) <= known_ciphers()
    assert {weakness(name) for name in CIPHERS} == {""}


def test_what_is_weak_is_said() -> None:
    assert "forward secrecy" in weakness("AES128-GCM-SHA256")
    assert "CBC" in weakness("ECDHE-RSA-AES128-SHA256")


def test_what_nobody_should_speak_is_not_known() -> None:
    assert not {name for name in known_ciphers() if "NULL" in name or "RC4" in name or "ADH" in name or "3DES" in name}
    assert not {name for name in known_ciphers() if name.startswith("TLS_")}, "those of TLS 1.3 are always on"
