"""A policy of your own in one file: it stamps requests and responses with a header field.

It is the same kind of class as the policies that come with the gateway; nothing here is special to plugins.
"""

from __future__ import annotations

from gatewright.sdk import Env, ExchangeView, Outcome, Policy, PolicyConfig
from gatewright.sdk.types import HeaderName, HeaderValue


class StampConfig(PolicyConfig):
    """What may stand below `stamp:`; unknown keys are refused, with file and line."""

    header: HeaderName = "x-stamp"
    """The header field."""
    text: HeaderValue = "seen by the gateway"
    """What is written into it."""


class Stamp(Policy[StampConfig]):
    """Stamp every request on its way up and every response on its way back."""

    __slots__ = ("_header", "_text")
    name, stage, config = "stamp", "transform", StampConfig

    def __init__(self, config: StampConfig, env: Env) -> None:
        # Once for each configuration: prepare what requests need, here two pieces of bytes.
        self._header = config.header.encode()
        self._text = config.text.encode()

    def on_request(self, ex: ExchangeView) -> Outcome:
        ex.request.headers.set(self._header, self._text)
        return None

    def on_response(self, ex: ExchangeView) -> Outcome:
        if ex.response is not None:
            ex.response.headers.set(self._header, self._text)
        return None
