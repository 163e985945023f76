"""Who may ask what: runs before every handler of the admin listener.

With a token, every request must carry it as ``Authorization: Bearer …``. Without one, only this machine may ask, and
only read; the Host field must then be an address or ``localhost``, so that no web page can reach the listener through a
name that leads to 127.0.0.1. Liveness and readiness are open to everybody.
"""

from __future__ import annotations

import hmac
import ipaddress
from email.utils import formatdate

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gatewright.controller.admin.problem import ProblemResponse
from gatewright.controller.admin.view import View

OPEN = frozenset({"/healthz", "/readyz"})
READS = frozenset({"GET", "HEAD"})


class Guard:
    """ASGI middleware around the whole application: access, common header fields, and the last net for errors."""

    def __init__(self, app: ASGIApp, view: View) -> None:
        self._app = app
        self._view = view

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse, or pass on."""
        started = False

        async def send_with_fields(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                headers = MutableHeaders(scope=message)
                headers["date"] = formatdate(self._view.clock.wall(), usegmt=True)
                headers.setdefault("cache-control", "no-store")
                headers["x-content-type-options"] = "nosniff"
            await send(message)

        answer = self._refusal(scope)
        if answer is not None:
            await answer(scope, receive, send_with_fields)
            return
        try:
            await self._app(scope, receive, send_with_fields)
        except Exception as error:  # noqa: BLE001 - reported, and answered when that is still possible
            self._view.log.write("error", "admin.failed", f"{scope['method']} {scope['path']} failed: {error!r}", {})
            if not started:
                await ProblemResponse(500, "internal.error", "The request failed")(scope, receive, send_with_fields)

    def _refusal(self, scope: Scope) -> Response | None:
        if scope["path"] in OPEN:
            return None
        headers = Headers(scope=scope)
        token = self._view.token
        if token:
            kind, _, given = headers.get("authorization", "").partition(" ")
            # Bytes: compare_digest refuses text outside ASCII.
            if kind.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), token.encode()):
                return None
            title = "A valid token is needed"
            return ProblemResponse(401, "admin.token", title, headers={"www-authenticate": 'Bearer realm="gatewright"'})
        if not _is_local(scope) or not _names_an_address(headers.get("host", "")):
            return ProblemResponse(403, "admin.remote", "Without a token only this machine may ask")
        if scope["method"] not in READS:
            return ProblemResponse(403, "admin.read_only", "Without a token nothing can be changed")
        return None


def _is_local(scope: Scope) -> bool:
    client = scope.get("client")
    if client is None:  # a unix socket
        return True
    try:
        address = ipaddress.ip_address(client[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


def _names_an_address(host: str) -> bool:
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() and not host.endswith("]") else host
    if name.lower() == "localhost":
        return True
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True
