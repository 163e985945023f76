"""What stands between the request path and a policy's hooks: conditions, and guards around foreign code.

Request and response hooks without a condition are called directly, foreign ones too: the request path asks the guard
only when a hook has raised or wants to wait.
"""

from __future__ import annotations

import traceback
from collections.abc import Awaitable
from inspect import isawaitable
from typing import Any

from gatewright.errors import ProtocolError
from gatewright.http.reply import Refused, Reply
from gatewright.proxy.runtime import HookGuard
from gatewright.sdk.env import Env, Expression
from gatewright.sdk.exchange import ExchangeView
from gatewright.sdk.policy import Hook, Outcome, Policy, overrides

_QUIET = 1.0  # seconds between two reports of one hook's failures; all are counted
_MOST_TRACEBACK = 4000


class Guard:
    """A foreign policy's hook: whatever it raises becomes a 500 with the reason ``plugin.<name>.failed``.

    Every failure is counted; the traceback goes to the error log, at most once a second. Head hooks are called by the
    request path itself, which comes here when they fail (``Route.guards``); the others are called through here.
    """

    __slots__ = ("_env", "_failures", "_hook", "_hook_name", "_name", "_reply", "_report_at", "_unreported")

    def __init__(self, policy: Policy[Any], hook: str, env: Env) -> None:
        self._name = policy.name
        self._hook: Hook = getattr(policy, hook)
        self._hook_name = hook
        self._env = env
        self._failures = env.counter("plugin_failures_total", "Failures of plugins' hooks.", ("plugin", "hook"))
        self._reply = Reply(500, f"plugin.{policy.name}.failed", detail="A plugin failed")
        self._report_at = 0.0
        self._unreported = 0

    def awaited(self, out: object) -> Awaitable[Reply | None] | Reply:
        """A head hook has returned ``out``, neither None nor a Reply: what is to be awaited, or a failure."""
        if isawaitable(out):
            return self._await(out)
        return self.failed(TypeError(f"{self._hook_name} returned {type(out).__name__}, not a Reply or None"))

    def record(self, ex: ExchangeView) -> None:
        """Call a record hook. The answer has been sent: a failure is only counted and reported."""
        try:
            self._hook(ex)
        except Exception as error:  # noqa: BLE001 - as above
            self.failed(error)

    def chunk(self, ex: ExchangeView, data: bytes, last: bool) -> bytes:
        """Call a body hook. A failure ends the message: half a transformation must not look like a whole one."""
        try:
            out = self._hook(ex, data, last)
        except Refused:
            raise  # said on purpose
        except Exception as error:
            self.failed(error)
            raise ProtocolError(self._reply.reason, 500) from error
        if not isinstance(out, bytes):
            self.failed(TypeError(f"{self._hook_name} returned {type(out).__name__}, not bytes"))
            raise ProtocolError(self._reply.reason, 500)
        return out

    async def _await(self, awaitable: Awaitable[Reply | None]) -> Reply | None:
        """The awaitable, guarded as well."""
        try:
            out = await awaitable
        except Exception as error:  # noqa: BLE001 - as above
            return self.failed(error)
        if out is None or type(out) is Reply:
            return out
        return self.failed(TypeError(f"{self._hook_name} returned {type(out).__name__}, not a Reply or None"))

    def failed(self, error: Exception) -> Reply:
        """Count, report, refuse. Cold."""
        self._failures.inc(self._name, self._hook_name)
        now = self._env.clock.monotonic()
        if now < self._report_at:
            self._unreported += 1
            return self._reply
        self._report_at = now + _QUIET
        text = "".join(traceback.format_exception(error))[-_MOST_TRACEBACK:]
        unreported, self._unreported = self._unreported, 0
        self._env.report(
            "plugin.failed",
            hook=self._hook_name,
            error=f"{type(error).__name__}: {error}",
            traceback=text,
            unreported=str(unreported),
        )
        return self._reply


class Conditional:
    """A hook that is called only when its policy's condition (``when:``) holds.

    It is decided once for each exchange, when the policy's first hook is due. Fields may change on the way, and what
    was taken must be given back: therefore the later hooks do not ask again. When a policy has a request hook and its
    turn never came, its later hooks are not called.

    An expression that cannot be evaluated, or is neither true nor false, counts as true: a mistake in a condition must
    not switch protection off. It is counted in ``gatewright_policy_condition_failures_total``.
    """

    __slots__ = ("_asks", "_expression", "_failures", "_hook", "_key", "_name")

    def __init__(self, hook: Hook, expression: Expression, policy: Policy[Any], name: str, env: Env) -> None:
        self._hook = hook
        self._expression = expression
        self._name = policy.name
        self._key = f"when.{id(policy)}"  # one decision for all hooks of the policy
        self._asks = name == "on_request" or not overrides(policy, "on_request")
        self._failures = env.counter(
            "policy_condition_failures_total", "Conditions (when:) that could not be evaluated.", ("policy",)
        )

    def head(self, ex: ExchangeView) -> Outcome:
        """Call a request, response or record hook, or not. Hot."""
        holds = ex.vars.get(self._key)
        if holds is None:
            holds = self._asks and self._decide(ex)
        if holds:
            outcome: Outcome = self._hook(ex)
            return outcome
        return None

    def chunk(self, ex: ExchangeView, data: bytes, last: bool) -> bytes:
        """Call a body hook, or pass the piece on."""
        holds = ex.vars.get(self._key)
        if holds is None:
            holds = self._asks and self._decide(ex)
        if holds:
            piece: bytes = self._hook(ex, data, last)
            return piece
        return data

    def _decide(self, ex: ExchangeView) -> bool:
        """Evaluate and remember."""
        try:
            value = self._expression(ex)
        except ValueError:
            value = None
        if not isinstance(value, bool):
            self._failures.inc(self._name)
            value = True
        ex.vars[self._key] = value
        return value


def compile_hook(
    policy: Policy[Any], name: str, env: Env, condition: Expression | None, guards: dict[Hook, HookGuard]
) -> Hook:
    """The hook ``name`` of ``policy`` as the request path calls it.

    A foreign one has a guard, which is put into ``guards``. With a condition it is called only when that holds.
    """
    hook: Hook = getattr(policy, name)
    if type(policy).__module__.startswith("gatewright.policies."):
        return hook if condition is None else _conditional(hook, condition, policy, name, env)
    guard = Guard(policy, name, env)
    if name.endswith("_chunk"):
        hook = guard.chunk
    elif name == "on_record":
        hook = guard.record
    if condition is not None:
        hook = _conditional(hook, condition, policy, name, env)
    guards[hook] = guard
    return hook


def _conditional(hook: Hook, condition: Expression, policy: Policy[Any], name: str, env: Env) -> Hook:
    conditional = Conditional(hook, condition, policy, name, env)
    return conditional.chunk if name.endswith("_chunk") else conditional.head
