"""The head that goes to the endpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gatewright.proxy.exchange import Exchange


def request_head(ex: Exchange) -> list[bytes]:
    """The request line and the header section, without the empty line and without framing fields. Hot.

    An unchanged header section is one piece (see :class:`gatewright.http.headers.Fields`); Content-Length stays in
    it. The connection adds what frames the body and what keeps it open.
    """
    request = ex.request
    out = [request.method, b" ", ex.path]
    if request.query is not None:
        out += (b"?", request.query)
    host = ex.route.host or ex.upstream.host_for(ex.endpoint, request.authority)  # type: ignore[union-attr,arg-type]
    out += (b" HTTP/1.1\r\nhost: ", host, b"\r\n")
    request.headers.write(out)
    out.append(ex.origin.lines)
    if ex.protocol == "websocket":
        out.append(b"connection: upgrade\r\nupgrade: websocket\r\n")
    return out
