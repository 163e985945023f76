"""Metrics that nobody counts: they are read off the controller's state when the page is asked for."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator

from prometheus_client.core import Metric

from gatewright import __version__
from gatewright.controller.admin.view import View
from gatewright.controller.metrics import Labels, counter, gauge
from gatewright.controller.processes import usage

_STATES = ("closed", "open", "half_open")


def figures(view: View) -> Iterator[Metric]:
    """Build, configuration, workers, endpoints and processes."""
    yield gauge(
        "gatewright_build_info",
        "The version that runs.",
        ("version", "python"),
        {(__version__, platform.python_version()): 1},
    )
    yield gauge("gatewright_start_time_seconds", "When the controller started.", (), {(): view.state.started})
    yield gauge("gatewright_ready", "Whether the gateway should get traffic.", (), {(): not view.not_ready()})
    yield from _config(view)
    yield from _workers(view)
    yield from _endpoints(view)
    yield from _processes(view)


def _config(view: View) -> Iterator[Metric]:
    state = view.state
    version = state.snapshot.version if state.snapshot else 0
    yield gauge("gatewright_config_version", "Version of the configuration that serves.", (), {(): version})
    yield gauge(
        "gatewright_config_last_reload_successful",
        "Whether the newest configuration is the one that serves.",
        (),
        {(): not state.last_error},
    )
    yield gauge("gatewright_config_applied_timestamp_seconds", "When it was applied.", (), {(): state.applied})
    yield counter(
        "gatewright_config_reloads_total",
        "Configurations applied after the first, and refused.",
        ("result",),
        {("applied",): state.reloads, ("refused",): state.refused},
    )


def _workers(view: View) -> Iterator[Metric]:
    workers, now = view.state.workers, view.clock.monotonic()
    by_slot = {(str(slot),): worker for slot, worker in workers.by_slot.items()}
    yield gauge("gatewright_workers", "Worker processes that serve.", (), {(): workers.serving})
    yield counter(
        "gatewright_worker_exits_total",
        "Worker processes that have ended.",
        ("slot",),
        {(str(slot),): count for slot, count in workers.restarts.items()},
    )
    yield gauge(
        "gatewright_worker_config_version",
        "Version that a worker serves.",
        ("slot",),
        {slot: worker.version for slot, worker in by_slot.items()},
    )
    yield gauge(
        "gatewright_worker_loop_lag_seconds",
        "How late a worker's loop was at its last heartbeat.",
        ("slot",),
        {slot: worker.lag for slot, worker in by_slot.items()},
    )
    yield gauge(
        "gatewright_worker_heartbeat_age_seconds",
        "Time since a worker's last heartbeat.",
        ("slot",),
        {slot: now - worker.heartbeat for slot, worker in by_slot.items() if worker.heartbeat},
    )


def _endpoints(view: View) -> Iterator[Metric]:
    healthy: dict[Labels, float] = {}
    ejected: dict[Labels, float] = {}
    breakers: dict[Labels, float] = {}
    room = view.metrics.max_series
    for upstream in view.state.snapshot.upstreams if view.state.snapshot else ():
        breaker = upstream.breaker
        keys = [endpoint.key for endpoint in upstream.endpoints][: max(0, room - len(healthy))]
        for key in keys:
            verdict = view.verdicts.of(upstream.name, key)
            healthy[upstream.name, key] = verdict.healthy is not False
            ejected[upstream.name, key] = view.verdicts.ejected_for(upstream.name, key) > 0
        for key in () if breaker is None else keys if breaker.scope == "endpoint" else ("",):
            state = view.verdicts.of(upstream.name, key).breaker
            breakers |= {(upstream.name, key, name): name == state for name in _STATES}
    labels = ("upstream", "endpoint")
    yield gauge("gatewright_endpoint_healthy", "Whether active checks hold an endpoint for well.", labels, healthy)
    yield gauge("gatewright_endpoint_ejected", "Whether an endpoint is ejected at the moment.", labels, ejected)
    yield gauge("gatewright_breaker_state", "1 for the state a breaker is in.", (*labels, "state"), breakers)
    verdicts = view.verdicts
    yield counter("gatewright_endpoint_ejections_total", "Ejections of an endpoint.", labels, verdicts.ejections)
    yield counter(
        "gatewright_breaker_transitions_total",
        "Changes of a circuit breaker's state.",
        (*labels, "state"),
        verdicts.transitions,
    )


def _processes(view: View) -> Iterator[Metric]:
    pids = {("supervisor", ""): view.state.supervisor, ("controller", ""): os.getpid()}
    pids |= {("worker", str(slot)): worker.pid for slot, worker in view.state.workers.by_slot.items()}
    used = {labels: found for labels, pid in pids.items() if (found := usage(pid)) is not None}
    labels = ("process", "slot")
    yield counter(
        "gatewright_process_cpu_seconds_total",
        "User and system time.",
        labels,
        {process: found.cpu for process, found in used.items()},
    )
    yield gauge(
        "gatewright_process_resident_memory_bytes",
        "Resident memory.",
        labels,
        {process: found.rss for process, found in used.items()},
    )
    yield gauge(
        "gatewright_process_open_fds",
        "Open file descriptors.",
        labels,
        {process: found.descriptors for process, found in used.items()},
    )
