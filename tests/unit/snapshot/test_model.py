"""The snapshot is data; what it says of itself in a log or a traceback must hold no key."""

from __future__ import annotations

from gatewright.snapshot.model import Listener, ListenerTls, Snapshot, TlsPair, Upstream, UpstreamTls


def test_no_key_is_printed() -> None:
    pair = TlsPair("a.pem", cert="chain", key="the secret")
    snapshot = Snapshot(
        listeners=(Listener("public", "127.0.0.1:1", tls=ListenerTls((pair,))),),
        upstreams=(Upstream("up", tls=UpstreamTls(cert="chain", key="the secret", server_name="orders.internal")),),
    )
    for shown in (repr(snapshot), str(snapshot), f"{snapshot.upstreams[0].tls}"):
        assert "the secret" not in shown
    assert "orders.internal" in repr(snapshot)
