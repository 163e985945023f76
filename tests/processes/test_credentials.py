"""Credentials in a whole gateway of two workers: reloads, nonces, what is counted and what is printed."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
import urllib.error
import urllib.request
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest

from gatewright.testing.gateway import Gateway

pytestmark = pytest.mark.processes

SECRET = "never-show-this-secret"
CONFIG = """
version: 1
listeners: [{name: public, bind: "127.0.0.1:0"}]
consumers:
  - {name: acme, credentials: [{hmac: {key_id: k1, secret: never-show-this-secret}}]}
  - {name: shop, credentials: [{basic: {username: ann, password: never-show-this}}]}
routes:
  - {name: signed, match: {paths: ["/signed"]}, respond: {body: hello}, policies: [{hmac: {}}]}
  - {name: named, match: {paths: ["/named"]}, respond: {body: hello}, policies: [{basic: {}}]}
"""


def get(url: str, headers: dict[str, str]) -> tuple[int, str]:
    """Status, and the reason of a refusal; on a connection of its own."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=20) as answer:
            return answer.status, ""
    except urllib.error.HTTPError as refusal:
        with refusal:
            return refusal.code, json.load(refusal)["reason"]


def signature(url: str, nonce: str) -> dict[str, str]:
    parameters = f'("@method" "@target-uri");created={int(time.time())};keyid="k1";nonce="{nonce}"'
    base = f'"@method": GET\n"@target-uri": {url}\n"@signature-params": {parameters}'
    made = b64encode(hmac.digest(SECRET.encode(), base.encode(), hashlib.sha256)).decode()
    return {"signature-input": f"sig={parameters}", "signature": f"sig=:{made}:"}


@pytest.fixture
def gateway(tmp_path: Path) -> Any:
    file = tmp_path / "gateway.yaml"
    file.write_text(CONFIG, "utf-8")
    with Gateway(file, workers=2) as running:
        yield running
    assert not running.other_lines
    assert "never-show-this" not in json.dumps(running.events)


def test_a_nonce_is_used_up_for_all_workers(gateway: Gateway) -> None:
    url = f"{gateway.url}/signed"
    for number in range(6):
        headers = signature(url, f"n{number}")
        answers = [get(url, headers) for _ in range(4)]  # the system gives connections to one worker or the other
        assert answers == [(200, "")] + [(401, "hmac.replayed")] * 3


def test_passwords_are_verified_once_and_reloads_count(gateway: Gateway) -> None:
    url = f"{gateway.url}/named"
    ann = {"authorization": "Basic " + b64encode(b"ann:never-show-this").decode()}
    assert [get(url, ann) for _ in range(20)] == [(200, "")] * 20
    assert gateway.until(lambda: gateway.metric("gatewright_cache_hits_total", cache="basic") >= 18)
    assert gateway.metric("gatewright_cache_entries", cache="basic") <= 2
    assert gateway.reload()["event"] == "config.unchanged"  # hashed again it would be another configuration
    assert gateway.reload(CONFIG.replace("ann", "bob"))["event"] == "config.applied"
    assert get(url, ann) == (401, "basic.refused")
    assert gateway.reload(CONFIG)["event"] == "config.applied"
    assert get(url, ann) == (200, "")


def test_secrets_are_shown_by_nothing(gateway: Gateway) -> None:
    get(f"{gateway.url}/named", {"authorization": "Basic " + b64encode(b"ann:never-show-this").decode()})
    shown = b"".join(gateway.admin(path)[1] for path in ("/status", "/metrics", "/"))
    shown += json.dumps(gateway.log_lines(1)).encode()
    for secret in (b"never-show-this", b64encode(SECRET.encode()), b"$scrypt$"):
        assert secret not in shown
