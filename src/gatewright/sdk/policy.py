"""The base classes of every policy, built-in or a user's own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, ClassVar, Generic, Literal, TypeAlias, TypeVar

from pydantic import BaseModel, ConfigDict

from gatewright.http.reply import Reply
from gatewright.sdk.env import Env
from gatewright.sdk.exchange import ExchangeView
from gatewright.sdk.service import ServiceSpec

#: Run order. What may be relied on: a stage runs after all stages before it, so a limit knows the consumer.
STAGES = ("admission", "identify", "authorize", "limit", "validate", "cache", "transform")

Outcome: TypeAlias = "Reply | Awaitable[Reply | None] | None"


class InvalidPolicy(ValueError):
    """The configuration is well formed but cannot work. ``path`` names the field, when one is to blame."""

    def __init__(self, message: str, path: str = "") -> None:
        super().__init__(message)
        self.path = path


class PolicyConfig(BaseModel):
    """What the user writes. Immutable; unknown keys are errors; field docstrings become documentation."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


C = TypeVar("C", bound=PolicyConfig)


class Policy(Generic[C]):
    """One configured behaviour: built once per runtime, called for every request.

    A hook answers None (go on), a :class:`Reply` (answer now) or an awaitable of either (must wait). A hook that is
    not overridden is left out of the compiled chain and costs nothing. Request hooks run in policy order, response
    hooks in the reverse order, and only those of policies whose request hook was reached; ``on_record`` runs once
    when the exchange is over, whatever happened.

    Attributes:
        name: The word used in the configuration; also the prefix of every reason.
        stage: One of :data:`STAGES`.
        config: The model of the configuration.
        status: Whether its configuration and behaviour may still change.
        unused_hooks: Hooks that are of no use as the policy is configured: its ``__init__`` may name some, and they are
            left out like those that are not overridden. (It needs a slot of its own then.)
        allows_preflight: It answers CORS preflight requests: its route takes them whatever methods it lists.
    """

    __slots__ = ()
    name: ClassVar[str]
    stage: ClassVar[str]
    config: ClassVar[type[PolicyConfig]]
    status: ClassVar[Literal["experimental", "stable"]] = "experimental"
    allows_preflight: ClassVar[bool] = False
    unused_hooks: tuple[str, ...] = ()

    def __init_subclass__(cls, *, abstract: bool = False) -> None:
        super().__init_subclass__()
        if abstract:
            return
        for field in ("name", "stage", "config", "__doc__"):
            if not getattr(cls, field, None):
                raise TypeError(f"{cls.__qualname__} must define {field}")
        if cls.stage not in STAGES:
            raise TypeError(f"{cls.__qualname__}: unknown stage {cls.stage!r}; stages are {', '.join(STAGES)}")

    def __init__(self, config: C, env: Env) -> None:
        """Compile the configuration. No input or output. Raise :class:`InvalidPolicy` when it cannot work."""

    @classmethod
    def services(cls, config: C) -> Sequence[ServiceSpec | str]:  # noqa: ARG003 - for those that override it
        """The other HTTP services that a policy with this configuration asks: URLs, or more (see ``Env.service``)."""
        return ()

    def on_request(self, ex: ExchangeView) -> Outcome:
        """The request's head is here; its body may still be coming."""

    def on_response(self, ex: ExchangeView) -> Outcome:
        """The response's head is here, from the upstream or made by the gateway (``ex.reply`` is then set)."""

    def on_record(self, ex: ExchangeView) -> None:
        """The exchange is over: release what was taken, count what is to be counted. Must not raise."""


class BodyPolicy(Policy[C], abstract=True):
    """A policy that also sees the bodies, piece by piece.

    A body hook gets a piece and returns what is to be sent in its place (``b""`` holds it back for now). ``last`` is
    True once, with the final piece, which may be empty. A policy that changes lengths must drop ``content-length`` in
    the head hook before. A hook that will not let a body pass raises :class:`gatewright.sdk.Refused`.

    At the last piece of a response ``ex.response_trailers`` are there, and may be replaced.
    """

    __slots__ = ()

    def on_request_chunk(self, ex: ExchangeView, data: bytes, last: bool) -> bytes:
        """A piece of the request body."""
        return data

    def on_response_chunk(self, ex: ExchangeView, data: bytes, last: bool) -> bytes:
        """A piece of the response body."""
        return data


Hook: TypeAlias = Callable[..., Any]


def overrides(policy: Policy[Any], hook: str) -> bool:
    """Whether the policy's class has a ``hook`` of its own, for which there is a use."""
    base = BodyPolicy if hook.endswith("_chunk") else Policy
    own = getattr(type(policy), hook, None)
    return own is not None and own is not getattr(base, hook) and hook not in policy.unused_hooks


def compile_chain(policies: Sequence[Policy[Any]], hook: str) -> tuple[Hook, ...]:
    """The bound hooks of those policies that have one."""
    return tuple(getattr(policy, hook) for policy in policies if overrides(policy, hook))
