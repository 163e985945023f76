"""The surroundings of policies."""

from __future__ import annotations

from hashlib import sha256

import pytest

from gatewright.clock import ManualClock
from gatewright.proxy.record import WorkerStats
from gatewright.proxy.shared import NEIGHBOURHOOD, SharedTable
from gatewright.snapshot.env import PolicyEnv, directory
from gatewright.snapshot.model import Consumer, Credential, Snapshot

DIGEST = sha256(b"secret")
ACME = Consumer("acme", ("gold",), {"plan": "big"}, (Credential("api_key", DIGEST.hexdigest()),))


class Surroundings:
    def __init__(self, snapshot: Snapshot | None = None, keys: int = 64) -> None:
        self.snapshot = snapshot or Snapshot(consumers=(ACME,))
        self.clock = ManualClock()
        self.table = SharedTable.private(keys)
        self.stats = WorkerStats()
        self.notes: list[tuple[str, str, dict[str, str]]] = []

    def note(self, event: str, level: str = "warning", **fields: str) -> None:
        self.notes.append((event, level, fields))

    def env(self, policy: str = "odd", scope: str = "") -> PolicyEnv:
        return PolicyEnv(self.snapshot, policy, scope, self.clock, self.table, self.stats, self.note)


def test_credentials_lead_to_consumers() -> None:
    env = Surroundings().env()
    known = env.credentials("api_key")
    consumer = known[DIGEST.digest()]
    assert (consumer.name, consumer.groups, consumer.metadata) == ("acme", {"gold"}, {"plan": "big"})
    assert env.credentials("basic") == {}


def test_the_directory_is_made_once_for_each_snapshot() -> None:
    around = Surroundings()
    assert around.env().credentials("api_key") is around.env("other").credentials("api_key")
    again = Snapshot(consumers=(ACME,))
    assert directory(again) is not directory(around.snapshot)


def test_counters_belong_to_scope_and_policy() -> None:
    around = Surroundings()
    take = {
        (policy, scope): around.env(policy, scope).limiter("token_bucket", "x", 1, 1.0, 1).take(b"k")
        for policy in ("one", "two")
        for scope in ("", "route")
    }
    assert set(take.values()) == {0.0}
    assert around.env("one", "route").limiter("token_bucket", "x", 1, 1.0, 1).take(b"k") > 0.0


def test_a_full_table_is_counted() -> None:
    around = Surroundings(keys=NEIGHBOURHOOD)
    limiter = around.env().limiter("token_bucket", "x", 1, 3600.0, 10)
    for n in range(NEIGHBOURHOOD + 3):
        limiter.take(b"%d" % n)
    assert around.stats.counters["gatewright_rate_limit_keys_dropped_total"].drain() == {
        "gatewright_rate_limit_keys_dropped_total": 3.0
    }


def test_metrics_reports_and_expressions() -> None:
    around = Surroundings()
    env = around.env()
    env.counter("odd_total", "Odd things.", ("kind",)).inc("a")
    assert around.stats.counters["gatewright_odd_total"].drain() == {"gatewright_odd_total\x1fa": 1.0}
    env.report("odd.event", what="this")
    assert around.notes == [("odd.event", "warning", {"policy": "odd", "what": "this"})]
    with pytest.raises(ValueError, match="column"):
        env.expression("1 +")


def test_named_secrets_lead_to_consumers_and_are_not_printed() -> None:
    key = Credential("hmac", id="k1", value="bmV2ZXI=", algorithm="hmac-sha256")
    env = Surroundings(Snapshot(consumers=(Consumer("acme", credentials=(key,)),))).env()
    secret = env.secrets("hmac")["k1"]
    assert (secret.value, secret.algorithm, secret.consumer.name) == ("bmV2ZXI=", "hmac-sha256", "acme")
    assert "bmV2" not in repr(secret)
    assert env.credentials("hmac") == {}
    assert env.secrets("basic") == {}


def test_a_memory_is_the_workers() -> None:
    around = Surroundings()
    memory = around.env("one").memory("odd", 4)
    assert around.env("two", "elsewhere").memory("odd", 4) is memory
