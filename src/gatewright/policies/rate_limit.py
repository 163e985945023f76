"""Limit how much a consumer, an address or anything else may ask for.

Counts are exact over all workers of the machine. A refused request gets 429 with `Retry-After`; all answers carry the
`RateLimit` and `RateLimit-Policy` fields of draft-ietf-httpapi-ratelimit-headers-10, unless they are switched off.
A limit that is written for all routes counts all routes together; one written at a route counts that route.

Requests that have no consumer, credential, header or cookie to count by are counted by their address.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PlainSerializer, PlainValidator, WithJsonSchema, model_validator

from gatewright.http.headers import Pair
from gatewright.sdk import Env, ExchangeView, InvalidPolicy, Limiter, Outcome, Policy, PolicyConfig, Reply
from gatewright.sdk.keys import Keys
from gatewright.sdk.types import RATE_PATTERN, RateValue, format_rate, parse_rate


def _limits(value: object) -> tuple[RateValue, ...]:
    """One rate, several, or a whole number for `concurrency` (a rate over no time)."""
    if isinstance(value, int) and not isinstance(value, bool):
        if value < 1:
            raise ValueError("the limit must be above zero")
        return (RateValue(value, 0.0),)
    if isinstance(value, list | tuple) and not isinstance(value, RateValue):
        if not 0 < len(value) <= 4:
            raise ValueError("one to four rates can be given")
        return tuple(parse_rate(item) for item in value)
    return (parse_rate(value),)


def _written(limits: tuple[RateValue, ...]) -> int | str | list[str]:
    texts = [format_rate(limit) for limit in limits if limit.window]
    if not texts:
        return limits[0].limit
    return texts[0] if len(texts) == 1 else texts


_RATE_SCHEMA = {"type": "string", "pattern": RATE_PATTERN}
Limits = Annotated[
    tuple[RateValue, ...],
    PlainValidator(_limits),
    PlainSerializer(_written, when_used="json"),
    WithJsonSchema(
        {
            "anyOf": [
                _RATE_SCHEMA,
                {"type": "integer", "minimum": 1},
                {"type": "array", "items": _RATE_SCHEMA, "minItems": 1, "maxItems": 4},
            ],
            "description": "100/s, or a list of rates, or a whole number for concurrency.",
        }
    ),
]


class Tier(PolicyConfig):
    """The limit of one group of consumers."""

    limit: Limits
    """As `limit` of the policy."""
    burst: int | None = Field(default=None, ge=1)
    """As `burst` of the policy."""


def _tier(value: Any) -> Any:
    return value if isinstance(value, dict | Tier) else {"limit": value}


class RateLimitConfig(PolicyConfig):
    """Configuration of `rate_limit`."""

    limit: Limits
    """So much in so much time: `100/s`, `1000/m`, `20/10s`. A list (`[10/s, 1000/h]`) limits several windows at once. A
    whole number with the algorithm `concurrency`."""
    burst: int | None = Field(default=None, ge=1)
    """Size of the token bucket, when it shall differ from the limit. Only for `token_bucket` with one window."""
    by: str = "consumer"
    """What is counted apart: `consumer`, `credential`, `address`, `route`, `global`, `header:NAME`, `cookie:NAME`, or a
    CEL expression."""
    algorithm: Literal["token_bucket", "sliding_window", "fixed_window", "concurrency"] = "token_bucket"
    """`token_bucket` lets bursts through and then an even flow, `sliding_window` allows the limit in any window,
    `fixed_window` in each window, `concurrency` limits requests in flight."""
    cost: float | str = Field(default=1.0)
    """What a request takes: a number, or a CEL expression over the request."""
    final_cost: str | None = None
    """CEL expression over the finished exchange; what it differs from `cost` is taken or given back afterwards."""
    tiers: dict[str, Annotated[Tier, BeforeValidator(_tier)]] = Field(default_factory=dict)
    """Other limits for groups of consumers: `{gold: 1000/s}`. The first group that the consumer is in decides."""
    name: str = Field(default="default", pattern=r"^[a-z0-9_.-]{1,64}$")
    """Name of the limit, as clients see it. Equal limits of one name and place share their counters."""
    ipv6_prefix: int = Field(default=64, ge=16, le=128)
    """IPv6 addresses that share so many bits count as one."""
    dry_run: bool = False
    """Count what would be refused, and let it pass."""
    fields: bool = True
    """Send `RateLimit` and `RateLimit-Policy`."""
    status: int = Field(default=429, ge=400, le=599)
    """Status of refused requests."""

    @model_validator(mode="after")
    def _fit(self) -> RateLimitConfig:
        tiers: list[Tier | RateLimitConfig] = [self, *self.tiers.values()]
        for tier in tiers:
            whole = not tier.limit[0].window
            if whole != (self.algorithm == "concurrency"):
                example = "limit: 10" if self.algorithm == "concurrency" else "limit: 100/s"
                raise ValueError(f"the algorithm {self.algorithm} needs another form of limit, like {example}")
            if tier.burst is not None and (self.algorithm != "token_bucket" or len(tier.limit) > 1):
                raise ValueError("burst is for token_bucket with one window")
        if isinstance(self.cost, float) and not 0 <= self.cost < 1e12:
            raise ValueError("cost must not be negative")
        return self


class Meter:
    """The limiters of one tier."""

    __slots__ = ("first", "items", "limiters", "one", "pair")

    def __init__(self, config: RateLimitConfig, tier: Tier | RateLimitConfig, group: str, env: Env) -> None:
        names = [config.name]
        if len(tier.limit) > 1:
            names = [f"{config.name}-{format_rate(rate).partition('/')[2]}" for rate in tier.limit]
        made = []
        for rate in tier.limit:
            burst = float(tier.burst or rate.limit)
            made.append(env.limiter(config.algorithm, f"{config.name}/{group}", rate.limit, rate.window, burst))
        self.limiters: tuple[Limiter, ...] = tuple(made)
        self.first = self.limiters[0]
        self.one = len(made) == 1
        #: The items of RateLimit, by limiter: to be filled in with whole numbers (others take C three times as long).
        self.items = tuple(f'"{name}";r=%d;t=%d'.encode() for name in names)
        quotas = [
            f'"{name}";q={rate.limit}' + (f";w={rate.window:.0f}" if rate.window >= 1 else "")
            if rate.window
            else f'"{name}";q={rate.limit};qu="concurrent-requests"'
            for name, rate in zip(names, tier.limit, strict=True)
        ]
        self.pair: Pair = (b"ratelimit-policy", ", ".join(quotas).encode())

    def take_all(self, key: bytes, cost: float) -> float:
        """Take from every window, or from none. Returns the longest wait."""
        waits = [limiter.take(key, cost) for limiter in self.limiters]
        longest = max(waits)
        if longest > 0.0:
            for limiter, wait in zip(self.limiters, waits, strict=True):
                if wait == 0.0:
                    limiter.give_back(key, cost)
        return longest

    def say(self) -> bytes:
        """The value of RateLimit after a take. Times are rounded up, so that who waits that long is let in."""
        if self.one:
            first = self.first
            return self.items[0] % (int(first.left), int(first.resets + 0.999))
        parts = [
            item % (int(limiter.left), int(limiter.resets + 0.999))
            for item, limiter in zip(self.items, self.limiters, strict=True)
        ]
        return b", ".join(parts)


class RateLimit(Policy[RateLimitConfig]):
    """Limit how much a consumer, an address or anything else may ask for."""

    __slots__ = (
        "_after", "_cost", "_cost_of", "_default", "_dry_run", "_fields", "_final_of", "_held", "_key_of", "_name",
        "_noted", "_refused", "_reply", "_tiers", "unused_hooks",
    )  # fmt: skip
    name, stage, config, status = "rate_limit", "limit", RateLimitConfig, "stable"

    def __init__(self, config: RateLimitConfig, env: Env) -> None:
        self._name = config.name
        self._default = Meter(config, config, "", env)
        self._tiers = tuple((group, Meter(config, tier, group, env)) for group, tier in config.tiers.items())
        try:
            self._key_of = Keys(config.by, env, config.ipv6_prefix).choose()
        except ValueError as error:
            raise InvalidPolicy(str(error), "by") from None
        self._cost = 1.0
        self._cost_of = self._final_of = None
        try:
            if isinstance(config.cost, str):
                self._cost_of = env.expression(config.cost)
            else:
                self._cost = config.cost
            if config.final_cost is not None:
                self._final_of = env.expression(config.final_cost)
        except ValueError as error:
            raise InvalidPolicy(str(error), "cost" if self._cost_of is None else "final_cost") from None
        #: Whether something is to be done when the exchange is over.
        self._after = config.algorithm == "concurrency" or self._final_of is not None
        self.unused_hooks = () if self._after else ("on_record",)
        self._dry_run = config.dry_run
        self._fields = config.fields and not config.dry_run
        self._reply = Reply(config.status, "rate_limit.exceeded", detail="Too many requests")
        # Several limits may be on one route, each with its own notes in an exchange.
        self._held = f"rate_limit.held.{id(self)}"
        self._noted = f"rate_limit.fields.{id(self)}"
        self._refused = env.counter(
            "rate_limit_refused_total", "Requests over a rate limit, by what was done.", ("limit", "verdict")
        )

    def on_request(self, ex: ExchangeView) -> Outcome:
        """Take, or refuse."""
        key = self._key_of(ex)
        meter = self._default
        if self._tiers and ex.consumer is not None:
            meter = self._tier(ex)
        cost = self._cost if self._cost_of is None else _number(self._cost_of, ex, self._cost)
        wait = meter.first.take(key, cost) if meter.one else meter.take_all(key, cost)
        if wait > 0.0:
            return self._refuse(ex, meter, wait)
        if self._fields:
            ex.vars[self._noted] = (meter.pair, (b"ratelimit", meter.say()))
        if self._after:
            ex.vars[self._held] = (meter, key, cost)
        return None

    def on_response(self, ex: ExchangeView) -> Outcome:
        """Tell how much is left."""
        pairs = ex.vars.get(self._noted)
        if pairs is not None and ex.response is not None:
            ex.response.headers.added += pairs
        return None

    def on_record(self, ex: ExchangeView) -> None:
        """Give back what is no longer held, correct what cost something else."""
        held = ex.vars.pop(self._held, None)
        if held is None:
            return
        meter, key, cost = held
        final = 0.0
        if self._final_of is not None:
            final = _number(self._final_of, ex, cost)
        if final != cost:
            for limiter in meter.limiters:
                limiter.give_back(key, cost - final)

    def _tier(self, ex: ExchangeView) -> Meter:
        groups = ex.consumer.groups if ex.consumer is not None else ()
        for group, meter in self._tiers:
            if group in groups:
                return meter
        return self._default

    def _refuse(self, ex: ExchangeView, meter: Meter, wait: float) -> Outcome:
        """Over the limit. Cold."""
        if self._dry_run:
            self._refused.inc(self._name, "passed")
            return None
        self._refused.inc(self._name, "refused")
        retry: Pair = (b"retry-after", b"%d" % max(1, int(wait + 0.999)))
        if self._fields:
            ex.vars[self._noted] = (meter.pair, (b"ratelimit", meter.say()), retry)
        else:
            ex.vars[self._noted] = (retry,)
        return self._reply


def _number(expression: Any, ex: ExchangeView, otherwise: float) -> float:
    """What an expression says, when it is a number that makes sense."""
    try:
        value = expression(ex)
    except ValueError:
        return otherwise
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e12:
        return float(value)
    return otherwise
