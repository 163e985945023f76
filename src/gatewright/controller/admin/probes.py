"""Liveness and readiness."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse

from gatewright.controller.admin.view import View


async def healthz(request: Request) -> JSONResponse:  # noqa: ARG001 - Starlette's interface
    """The controller lives: its loop has answered."""
    return JSONResponse({"status": "ok"})


async def readyz(request: Request) -> JSONResponse:
    """Whether the gateway should get traffic: 200 or 503, and why."""
    view: View = request.app.state.view
    state, why = view.state, view.not_ready()
    content = {
        "status": "not_ready" if why else "ready",
        "reason": why,
        "version": state.snapshot.version if state.snapshot is not None else 0,
        "workers": {"serving": state.workers.serving, "wanted": state.snapshot.workers if state.snapshot else 0},
        "draining": state.draining,
    }
    return JSONResponse(content, 503 if why else 200)
