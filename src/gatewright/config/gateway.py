"""The whole configuration."""

from __future__ import annotations

import re
from typing import Annotated, Final, Literal

from pydantic import BeforeValidator, Field

from gatewright.config.base import Bind, Metadata, Model, OrOff, PathText, Positive, wrong
from gatewright.config.consumer import Consumer
from gatewright.config.listener import Listener
from gatewright.config.route import Policies, Route
from gatewright.config.upstream import Upstream
from gatewright.sdk.types import Duration, Share, Size

MOST_WORKERS: Final = 1024


class Admin(Model):
    """The admin listener: /healthz, /readyz, /metrics and /status."""

    bind: Bind = "127.0.0.1:9900"
    """Address to listen on."""
    token: str = ""
    """Token that changes must carry. Empty: only a loopback address may be bound, and only reads are allowed."""


class Rotate(Model):
    """When a log file is put aside and a new one begun."""

    size: OrOff[Size] = None
    """Once it is larger than this."""
    age: OrOff[Positive] = None
    """Once it is older than this."""
    keep: Annotated[int, Field(ge=0, le=10_000)] = 5
    """How many old files are kept."""


class AccessLog(Model):
    """One line for each request."""

    format: Literal["json", "text"] = "json"
    """How a line is written."""
    to: PathText = "stdout"
    """stdout, stderr, off or the path of a file."""
    sample: Share = 1.0
    """Share of the successful requests that is logged; failures always are."""
    redact: tuple[str, ...] = ()
    """Query parameters whose values are masked, besides those that always are (token, key, password …)."""
    rotate: Rotate = Rotate()
    """When the file is put aside."""


class Metrics(Model):
    """What is shown at /metrics."""

    max_series: Annotated[int, Field(ge=100, le=10_000_000)] = 2_000
    """Series of one metric; further label values are counted together as `other`."""


class Tracing(Model):
    """Traces."""

    otlp: str
    """URL of an OTLP collector."""
    sample: Share = 0.01
    """Share of the requests that is traced."""


class Telemetry(Model):
    """What the gateway tells about its work."""

    access_log: AccessLog = AccessLog()
    """One line for each request."""
    metrics: Metrics = Metrics()
    """What is shown at /metrics."""
    tracing: Tracing | None = None
    """Traces."""


class State(Model):
    """Where counters live."""

    url: str = "memory"
    """memory (shared by the workers of this machine), or redis://…"""
    max_keys: Annotated[int, Field(ge=1024, le=16_777_216)] = 65_536
    """Keys that can be counted at one time; beyond it the oldest are forgotten."""


def _state_shape(value: object) -> object:
    return {"url": value} if isinstance(value, str) else value


def _workers(value: object) -> object:
    if value == "auto":
        return 0
    if isinstance(value, bool) or not re.fullmatch("[0-9]{1,6}", str(value)):
        raise wrong("workers", f"'{value}' is neither a number nor auto")
    if int(str(value)) == 0:
        raise wrong("workers", "at least one worker is needed", "write auto for one per processor")
    if int(str(value)) > MOST_WORKERS:
        raise wrong("workers", f"at most {MOST_WORKERS} workers are possible")
    return value


class Gateway(Model):
    """The configuration of a gateway."""

    version: Literal[1] = 1
    """Version of the configuration language."""
    workers: Annotated[
        int,
        BeforeValidator(
            _workers, json_schema_input_type=Literal["auto"] | Annotated[int, Field(ge=1, le=MOST_WORKERS)]
        ),
        Field(json_schema_extra={"default": "auto"}),
    ] = 0
    """Processes that serve traffic; auto is one per processor."""
    drain_timeout: Duration = 30.0
    """How long a stop waits for requests in flight."""
    listeners: tuple[Listener, ...] = ()
    """Where requests come in."""
    upstreams: dict[str, Upstream] = Field(default_factory=dict)
    """Where they go."""
    consumers: tuple[Consumer, ...] = ()
    """Who may call."""
    policies: Policies = ()
    """Policies of every route."""
    routes: tuple[Route, ...] = ()
    """Which requests go where."""
    plugins: tuple[PathText, ...] = ()
    """Modules (my_company.gateway) or files (./plugins/stamp.py) that bring policies of your own."""
    state: Annotated[State, BeforeValidator(_state_shape, json_schema_input_type=str | State)] = State()
    """Where counters live: memory, or a mapping with url and max_keys."""
    store: str | None = None
    """Where consumers, versions and the audit log are kept: a URL."""
    admin: OrOff[Admin] = Admin()
    """The admin listener, or off."""
    telemetry: Telemetry = Telemetry()
    """What the gateway tells about its work."""
    metadata: Metadata = Field(default_factory=dict)
    """Free text for your own use."""
