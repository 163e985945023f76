"""``/status``: the gateway as one JSON document, for people, the command line and the console."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse

from gatewright import __version__
from gatewright.controller.admin.view import View
from gatewright.controller.metrics import Labels
from gatewright.controller.processes import usage
from gatewright.controller.workers import Worker
from gatewright.proxy import families
from gatewright.snapshot.model import Endpoint, Listener, Snapshot, Upstream
from gatewright.tls.client import shown


async def status(request: Request) -> JSONResponse:
    """Everything."""
    return JSONResponse(describe(request.app.state.view))


def describe(view: View) -> dict[str, Any]:
    """The document. Times are RFC 3339 in UTC, durations seconds."""
    state = view.state
    why = view.not_ready()
    snapshot = state.snapshot
    in_flight = view.metrics.gauge(families.IN_FLIGHT)
    return {
        "version": __version__,
        "started": _time(state.started),
        "uptime": round(view.clock.wall() - state.started, 3),
        "ready": not why,
        "reason": why,
        "draining": state.draining,
        "config": _config(view),
        "admin": state.admin_address,
        "listeners": _listeners(view, snapshot),
        "processes": [_process("supervisor", state.supervisor), _process("controller", os.getpid())],
        "workers": [_worker(view, worker) for _, worker in sorted(state.workers.by_slot.items())],
        "restarts": sum(state.workers.restarts.values()),
        "upstreams": [_upstream(view, upstream, in_flight) for upstream in (snapshot.upstreams if snapshot else ())],
        "routes": len(snapshot.routes) if snapshot else 0,
    }


def _config(view: View) -> dict[str, Any]:
    state, snapshot = view.state, view.state.snapshot
    return {
        "version": snapshot.version if snapshot else 0,
        "digest": snapshot.digest if snapshot else "",
        "applied": _time(state.applied),
        "files": [str(path) for path in state.files],
        "reloads": state.reloads,
        "refused": state.refused,
        "rounds": state.rounds,
        "last_error": state.last_error,
        "last_error_at": _time(state.last_error_at),
        "warnings": [problem.message for problem in state.warnings],
    }


def _listeners(view: View, snapshot: Snapshot | None) -> list[dict[str, Any]]:
    connections = view.metrics.gauge(families.CONNECTIONS)
    return [
        {
            "name": listener.name,
            "bind": listener.bind,
            "address": view.state.addresses.get(listener.name, ""),
            "protocols": list(listener.protocols),
            "connections": int(connections.get((listener.name,), 0)),
            "certificates": _certificates(view, listener),
        }
        for listener in (snapshot.listeners if snapshot else ())
    ]


def _certificates(view: View, listener: Listener) -> list[dict[str, Any]]:
    """What is shown to clients; keys are nobody's business."""
    now = view.clock.wall()
    return [
        {
            "certificate": pair.label,
            "names": list(pair.names),
            "key": pair.kind,
            "expires": _time(pair.expires),
            "days_left": int((pair.expires - now) // 86_400),
            "fingerprint": pair.fingerprint,
        }
        for pair in (listener.tls.certificates if listener.tls is not None else ())
    ]


def _process(name: str, pid: int) -> dict[str, Any]:
    used = usage(pid)
    return {
        "name": name,
        "pid": pid,
        "cpu": round(used.cpu, 2) if used else None,
        "rss": used.rss if used else None,
        "descriptors": used.descriptors if used else None,
    }


def _worker(view: View, worker: Worker) -> dict[str, Any]:
    now = view.clock.monotonic()
    return {
        **_process(f"worker {worker.slot}", worker.pid),
        "slot": worker.slot,
        "version": worker.version,
        "uptime": round(now - worker.started, 3),
        "heartbeat_age": round(now - worker.heartbeat, 3) if worker.heartbeat else None,
        "lag": round(worker.lag, 6),
        "connections": worker.connections,
        "exchanges": worker.exchanges,
        "compile_seconds": round(worker.compile_seconds, 6),
        "restarts": view.state.workers.restarts.get(worker.slot, 0),
        "rejection": worker.rejection,
    }


def _upstream(view: View, upstream: Upstream, in_flight: dict[Labels, float]) -> dict[str, Any]:
    return {
        "name": upstream.name,
        "protocol": upstream.protocol,
        "tls": _tls(upstream),
        "balance": upstream.balance.algorithm,
        "breaker": _breaker(view, upstream, ""),
        "endpoints": [
            {
                **_endpoint(view, upstream, endpoint),
                "in_flight": int(in_flight.get((upstream.name, endpoint.key), 0)),
            }
            for endpoint in upstream.endpoints
        ],
    }


def _tls(upstream: Upstream) -> dict[str, Any] | None:
    """What is asked of the endpoints that are called with TLS; None where there are none."""
    tls = upstream.tls
    if tls is None:
        return None
    return {
        "verify": tls.verify,
        "authorities": "file" if tls.ca else "system",
        "server_name": tls.server_name,
        "min_version": tls.min_version,
        "certificate_expires": _time(tls.expires),
    }


def _endpoint(view: View, upstream: Upstream, endpoint: Endpoint) -> dict[str, Any]:
    verdict = view.verdicts.of(upstream.name, endpoint.key)
    checked = view.health.states.get((upstream.name, endpoint.key))
    ejected = view.verdicts.ejected_for(upstream.name, endpoint.key)
    healthy = verdict.healthy if checked is None or checked.healthy is None else checked.healthy
    if not endpoint.host:
        health = "unresolved"
    elif ejected:
        health = "ejected"
    else:
        health = {True: "healthy", False: "unhealthy", None: "unknown"}[healthy]
    return {
        "key": endpoint.key,
        "name": endpoint.name,
        "tls": shown(upstream.tls, endpoint),
        "zone": endpoint.zone,
        "weight": endpoint.weight,
        "health": health,
        "check": checked.detail if checked is not None else None,
        "checked_ago": round(view.clock.monotonic() - checked.at, 3) if checked is not None and checked.at else None,
        "ejected_until": _time(view.clock.wall() + ejected) if ejected else None,
        "breaker": _breaker(view, upstream, endpoint.key),
    }


def _breaker(view: View, upstream: Upstream, endpoint: str) -> str | None:
    """The state of a breaker; None where there is none."""
    scope = "endpoint" if endpoint else "upstream"
    if upstream.breaker is None or upstream.breaker.scope != scope:
        return None
    return view.verdicts.of(upstream.name, endpoint).breaker


def _time(wall: float) -> str | None:
    if not wall:
        return None
    return datetime.fromtimestamp(wall, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
