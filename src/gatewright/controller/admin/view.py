"""Everything the admin listener shows, in one place for its handlers."""

from __future__ import annotations

from dataclasses import dataclass

from gatewright.clock import Clock
from gatewright.controller.health import HealthChecker
from gatewright.controller.metrics import Metrics
from gatewright.controller.state import State
from gatewright.controller.verdicts import Verdicts
from gatewright.errorlog import ErrorLog


@dataclass(slots=True)
class View:
    """What handlers get as ``request.app.state.view``."""

    state: State
    metrics: Metrics
    health: HealthChecker
    verdicts: Verdicts
    clock: Clock
    log: ErrorLog
    complete: bool = False

    @property
    def token(self) -> str:
        """The token that requests must carry; empty for none."""
        admin = self.state.snapshot.admin if self.state.snapshot is not None else None
        return admin.token if admin is not None else ""

    def not_ready(self) -> str:
        """Why the gateway should get no traffic; empty when it should.

        At the start every worker must have applied the first configuration. Later one that serves is enough: a crash
        of one worker does not take the gateway out of service.
        """
        state, workers = self.state, self.state.workers
        if state.draining:
            return "the gateway is stopping"
        if state.snapshot is None:
            return "no configuration has been applied yet"
        if not state.ready:
            return "no worker serves"
        if not self.complete:
            self.complete = workers.serving >= state.snapshot.workers
        return "" if self.complete else f"{workers.serving} of {state.snapshot.workers} workers serve"
