"""The application behind the admin listener."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp

from gatewright.controller.admin.figures import figures
from gatewright.controller.admin.guard import Guard
from gatewright.controller.admin.probes import healthz, readyz
from gatewright.controller.admin.problem import ProblemResponse
from gatewright.controller.admin.status import status
from gatewright.controller.admin.view import View
from gatewright.controller.metrics import render


def create_app(view: View, routes: Sequence[BaseRoute] = ()) -> ASGIApp:
    """The pages of the admin listener, and ``routes`` beside them; handlers find ``view`` at ``app.state.view``."""
    app = Starlette(
        routes=[
            Route("/healthz", healthz),
            Route("/readyz", readyz),
            Route("/metrics", metrics),
            Route("/status", status),
            *routes,
        ],
        exception_handlers={HTTPException: _problem, Exception: _bug},
    )
    app.state.view = view
    view.metrics.add_source(partial(figures, view))
    return Guard(app, view)


async def metrics(request: Request) -> Response:
    """The Prometheus page; rendered in a thread, since thousands of series take a while."""
    view: View = request.app.state.view
    families = view.metrics.families()
    page, content_type = await asyncio.to_thread(render, families, request.headers.get("accept", ""))
    return Response(page, headers={"content-type": content_type})


async def _problem(request: Request, error: Exception) -> Response:  # noqa: ARG001 - Starlette's interface
    if not isinstance(error, HTTPException):
        raise error
    reasons = {404: "admin.none", 405: "admin.method"}
    return ProblemResponse(
        error.status_code, reasons.get(error.status_code, "admin.refused"), error.detail, headers=error.headers
    )


async def _bug(request: Request, error: Exception) -> Response:  # noqa: ARG001 - the guard reports it
    return ProblemResponse(500, "internal.error", "The request failed")
