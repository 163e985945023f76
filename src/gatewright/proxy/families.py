"""The metrics that workers count: names, kinds, label names and help texts.

Workers and the controller must agree on them, so they stand below both. The names are public and stable; they are
documented in ``docs/reference/metrics.md``.
"""

from __future__ import annotations

from typing import NamedTuple


class Family(NamedTuple):
    """One metric. ``kind`` is counter, gauge or histogram; counters carry their ``_total``."""

    name: str
    kind: str
    labels: tuple[str, ...]
    help: str


#: Between the name and the label values of a series in :class:`gatewright.ipc.messages.Stats`.
SEPARATOR = "\x1f"
#: Label value that collects what goes over the limit of series.
OTHER = "_other"

REQUESTS = "gatewright_requests_total"
REQUEST_SECONDS = "gatewright_request_duration_seconds"
REQUEST_BYTES = "gatewright_request_bytes_total"
RESPONSE_BYTES = "gatewright_response_bytes_total"
UPSTREAM_REQUESTS = "gatewright_upstream_requests_total"
UPSTREAM_SECONDS = "gatewright_upstream_response_seconds"
UPSTREAM_SENT_BYTES = "gatewright_upstream_sent_bytes_total"
UPSTREAM_RECEIVED_BYTES = "gatewright_upstream_received_bytes_total"
REFUSED = "gatewright_requests_refused_total"
EXCHANGES = "gatewright_exchanges_active"
CONNECTIONS = "gatewright_connections_open"
ACCEPTED = "gatewright_connections_accepted_total"
IN_FLIGHT = "gatewright_endpoint_exchanges_active"
POOL_IDLE = "gatewright_pool_connections_idle"
POOL_ACTIVE = "gatewright_pool_connections_active"
POOL_WAITING = "gatewright_pool_requests_waiting"
POOL_CREATED = "gatewright_pool_connections_created_total"
POOL_REUSED = "gatewright_pool_connections_reused_total"
RETRIES = "gatewright_upstream_retries_total"
TLS_FAILURES = "gatewright_upstream_tls_failures_total"
TLS_HANDSHAKES = "gatewright_tls_handshakes_total"
TLS_REFUSED = "gatewright_tls_handshake_failures_total"
CACHE_HITS = "gatewright_cache_hits_total"
CACHE_MISSES = "gatewright_cache_misses_total"
CACHE_ENTRIES = "gatewright_cache_entries"
GRPC_REQUESTS = "gatewright_grpc_requests_total"
LOG_DROPPED = "gatewright_access_log_dropped_total"
SERIES_DROPPED = "gatewright_metric_series_dropped_total"

_COUNTERS = (
    (REQUESTS, ("route", "status", "protocol", "reason"), "Requests that were answered, by route."),
    (REQUEST_BYTES, ("route",), "Octets of request bodies received from clients."),
    (RESPONSE_BYTES, ("route",), "Octets of response bodies sent to clients."),
    (UPSTREAM_REQUESTS, ("upstream", "endpoint", "status", "protocol", "reason"), "Tries made at an endpoint."),
    (UPSTREAM_SENT_BYTES, ("upstream", "endpoint"), "Octets of bodies sent to an endpoint."),
    (UPSTREAM_RECEIVED_BYTES, ("upstream", "endpoint"), "Octets of bodies received from an endpoint."),
    (GRPC_REQUESTS, ("route", "method", "status"), "gRPC calls that have ended, by their status."),
    (REFUSED, ("reason",), "Requests and connections refused before a route was looked for."),
    (ACCEPTED, ("listener",), "Connections accepted."),
    (TLS_HANDSHAKES, ("listener", "version", "resumed"), "TLS handshakes with clients that were completed."),
    (TLS_REFUSED, ("listener", "reason"), "TLS handshakes with clients that have failed."),
    (POOL_CREATED, ("upstream",), "Connections opened to endpoints."),
    (POOL_REUSED, ("upstream",), "Tries that used a connection which was open already."),
    (RETRIES, ("upstream", "reason"), "Tries after the first one."),
    (TLS_FAILURES, ("upstream", "cause"), "Connections to endpoints that could not be made secure."),
    (CACHE_HITS, ("cache",), "Look-ups that a cache answered."),
    (CACHE_MISSES, ("cache",), "Look-ups that a cache could not answer."),
    (LOG_DROPPED, ("log",), "Log lines dropped because their reader was too slow or the disk was full."),
    (SERIES_DROPPED, ("metric",), "Updates that went into the series _other because a metric had too many series."),
)
_GAUGES = (
    (EXCHANGES, (), "Requests in flight."),
    (CONNECTIONS, ("listener",), "Client connections open."),
    (IN_FLIGHT, ("upstream", "endpoint"), "Requests in flight at an endpoint."),
    (POOL_IDLE, ("upstream",), "Open connections to endpoints that wait for a request."),
    (POOL_ACTIVE, ("upstream",), "Open connections to endpoints that serve a request."),
    (POOL_WAITING, ("upstream",), "Requests that wait for a connection."),
    (CACHE_ENTRIES, ("cache",), "Entries in a cache."),
)
_HISTOGRAMS = (
    (REQUEST_SECONDS, ("route",), "Time from the complete request head to the end of the response."),
    (UPSTREAM_SECONDS, ("upstream", "endpoint"), "Time from the request sent to the head of the response."),
)

#: Every metric of a worker, by name.
FAMILIES: dict[str, Family] = {
    name: Family(name, kind, labels, text)
    for kind, table in (("counter", _COUNTERS), ("gauge", _GAUGES), ("histogram", _HISTOGRAMS))
    for name, labels, text in table
}
