"""Error answers of the admin listener: RFC 9457 problem documents."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.responses import JSONResponse


class ProblemResponse(JSONResponse):
    """An error. ``reason`` is stable, ``title`` is for people."""

    media_type = "application/problem+json"

    def __init__(
        self, status: int, reason: str, title: str, *, detail: str = "", headers: Mapping[str, str] | None = None
    ) -> None:
        content = {"type": "about:blank", "title": title, "status": status, "reason": reason}
        if detail:
            content["detail"] = detail
        super().__init__(content, status, headers)
