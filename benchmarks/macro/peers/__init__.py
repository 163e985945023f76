"""The peers: other proxies, each as a plain reverse proxy with one worker, kept-alive upstreams and no access log."""

from __future__ import annotations

from benchmarks.macro.peers.base import Peer
from benchmarks.macro.peers.caddy import Caddy
from benchmarks.macro.peers.envoy import Envoy
from benchmarks.macro.peers.haproxy import HAProxy
from benchmarks.macro.peers.nginx import Nginx
from benchmarks.macro.peers.traefik import Traefik

PEERS: dict[str, type[Peer]] = {peer.name: peer for peer in (Nginx, HAProxy, Envoy, Traefik, Caddy)}

__all__ = ["PEERS", "Peer"]
