"""Greet consumers by name, and count the greetings."""

from __future__ import annotations

from gatewright.sdk import Env, ExchangeView, Outcome, Policy, PolicyConfig, Reply
from gatewright.sdk.types import HeaderValue


class HelloConfig(PolicyConfig):
    """Configuration of `hello`."""

    greeting: HeaderValue = "Hello"
    """Comes before the name, in the field `X-Greeting`."""
    strangers: bool = True
    """Whether requests without a consumer are let in."""


class Hello(Policy[HelloConfig]):
    """Greet consumers by name."""

    __slots__ = ("_greeted", "_greeting", "_strangers")
    # After identify, so that the consumer is known.
    name, stage, config = "hello", "authorize", HelloConfig

    def __init__(self, config: HelloConfig, env: Env) -> None:
        self._greeting = config.greeting.encode()
        self._strangers = config.strangers
        # Shown at /metrics as gatewright_hello_greetings_total.
        self._greeted = env.counter("hello_greetings_total", "Consumers that were greeted.", ("consumer",))

    def on_request(self, ex: ExchangeView) -> Outcome:
        if ex.consumer is None:
            return None if self._strangers else STRANGER
        self._greeted.inc(ex.consumer.name)
        return None

    def on_response(self, ex: ExchangeView) -> Outcome:
        if ex.response is not None and ex.consumer is not None:
            ex.response.headers.set(b"x-greeting", b"%b, %b" % (self._greeting, ex.consumer.name.encode()))
        return None


STRANGER = Reply(403, "hello.stranger", detail="Who are you?")
