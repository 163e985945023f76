"""What the exchange does when things do not go as planned. Cold: none of it runs for a request that succeeds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gatewright.http.headers import Pair
from gatewright.http.reply import Reply
from gatewright.proxy import grpc, ports
from gatewright.proxy.endpoints import (
    CANCELLED,
    FAILED_CONNECT,
    FAILED_RESET,
    FAILED_STATUS,
    FAILED_TIMEOUT,
)
from gatewright.proxy.families import RETRIES
from gatewright.proxy.respond import core_reply
from gatewright.proxy.retry import IDEMPOTENT
from gatewright.reasons import REASONS

if TYPE_CHECKING:
    from gatewright.proxy.exchange import Exchange

#: Kept-alive connections that may turn out to be closed, in a row, before it counts as a failure.
_MOST_STALE = 3

#: The endpoint has surely not acted on the request.
_UNSEEN = frozenset({ports.STALE, ports.REFUSED})

#: What a failover upstream is asked about when the retries are used up.
_FAILED_OVER = frozenset({502, 503, 504, "grpc_unavailable"})

#: condition → (outcome for the endpoint, reason for the client, name of the retry condition)
CONDITIONS: dict[str, tuple[int, str, str]] = {
    ports.CONNECT: (FAILED_CONNECT, "upstream.connect", "connect"),
    ports.CONNECT_TIMEOUT: (FAILED_CONNECT, "upstream.connect_timeout", "connect"),
    ports.TLS: (FAILED_CONNECT, "upstream.tls", "connect"),
    ports.PROTOCOL: (FAILED_CONNECT, "upstream.protocol", "connect"),
    ports.RESET: (FAILED_RESET, "upstream.reset", "reset"),
    ports.TIMEOUT: (FAILED_TIMEOUT, "upstream.timeout", "timeout"),
    ports.IDLE: (FAILED_TIMEOUT, "upstream.idle_timeout", "timeout"),
    ports.TRUNCATED: (FAILED_RESET, "upstream.truncated", "reset"),
    ports.MALFORMED: (FAILED_RESET, "upstream.malformed", ""),
    ports.OVERLOADED: (CANCELLED, "upstream.overloaded", ""),
    ports.STALE: (CANCELLED, "upstream.reset", "reset"),
    ports.REFUSED: (CANCELLED, "upstream.reset", "reset"),
}


def no_endpoint(ex: Exchange, now: float) -> None:
    """No endpoint may be used: try the failover upstream, else say why."""
    upstream = ex.upstream
    if _failed_over(ex):
        return ex.pick()
    reason, retry_after = upstream.refusal(now)  # type: ignore[union-attr]
    if ex.tries and ex.reason:
        return ex.answer(core_reply(ex.reason), 0)  # the last try's own failure says more than "no other endpoint"
    return ex.answer(core_reply(reason, retry_after), 0)


def upstream_failed(ex: Exchange, condition: str) -> None:
    """A try has failed without a complete response."""
    if ex.ended:
        return None
    outcome, reason, retry_condition = CONDITIONS[condition]
    sent = ex.conn is not None and condition != ports.REFUSED
    ex.conn = None
    ex.queued = None
    ex.release(outcome, reason, ex.world.clock())
    if ex.response_started:
        return ex.truncate(reason)
    if ex.held is not None:
        _forget_response(ex)
    ex.reason = reason
    if condition in _UNSEEN and ex.tries <= _MOST_STALE and _can_send_again(ex, sent=sent):
        return _pick_again(ex)
    if retry_condition and (
        _may_retry(ex, retry_condition, sent=sent) or (ex.retries.grpc and _may_call_again(ex, reason, sent=sent))
    ):
        return _again(ex, reason)
    if _can_send_again(ex, sent=sent) and _failed_over(ex):
        return _pick_again(ex)
    return ex.answer(core_reply(reason), 0)


def _forget_response(ex: Exchange) -> None:
    """A response hook waits with a response that will never be complete."""
    ex.held = ex.response = None
    if ex.task is not None:
        ex.task.cancel()
        ex.task = None


def _pick_again(ex: Exchange) -> None:
    """Another try, at once."""
    ex.pick()
    if ex.conn is not None:
        ex.conn.flush()


def retried(ex: Exchange, failure: int | str) -> bool:
    """The endpoint answered with a status that is worth another try: True when one is made.

    ``failure`` is the status, or for a gRPC call the condition that names its status. To name one is to say that a
    call which ends so may be made again, whatever its method.
    """
    if not _may_retry(ex, failure, sent=True):
        sent = isinstance(failure, int)
        if failure in _FAILED_OVER and ex.upstream.spec.failover and _can_send_again(ex, sent=sent):  # type: ignore[union-attr]
            let_go(ex, FAILED_STATUS)
            _failed_over(ex)
            _pick_again(ex)
            return True
        return False
    let_go(ex, FAILED_STATUS)
    _again(ex, str(failure))
    return True


def _may_retry(ex: Exchange, condition: str | int, *, sent: bool) -> bool:
    replayable = ex.body is None or ex.body.kept is not None
    upstream = ex.upstream
    return upstream.may_retry(  # type: ignore[union-attr]
        ex.retries, ex.request.method, condition, ex.tries, sent, replayable, ex.world.now
    )


def _may_call_again(ex: Exchange, reason: str, *, sent: bool) -> bool:
    """The same for a gRPC call, by the status that it would end with."""
    if ex.protocol not in grpc.PROTOCOLS:
        return False
    code = grpc.code_for(REASONS[reason][0], reason, ex.reset_code)
    return code in ex.retries.grpc and _may_retry(ex, grpc.condition_for(code), sent=sent)


def _can_send_again(ex: Exchange, *, sent: bool) -> bool:
    if ex.body is not None and ex.body.kept is None:
        return False
    return not sent or ex.request.method in IDEMPOTENT


def _again(ex: Exchange, why: str) -> None:
    """Another try, after a pause; on another endpoint where there is one."""
    ex.world.stats.count(RETRIES, ex.upstream.name, why)  # type: ignore[union-attr]
    if ex.endpoint is not None:
        ex.tried = (*ex.tried, ex.endpoint)
    ex.task = ex.world.later(ex.retries.delay(ex.tries, ex.world.rand), ex.try_again)


def _failed_over(ex: Exchange) -> bool:
    """Whether the exchange now has its upstream's failover upstream instead."""
    name = ex.upstream.spec.failover  # type: ignore[union-attr]
    if not name:
        return False
    ex.upstream = upstream = ex.listener.upstreams[name]
    ex.upstream_name = name
    ex.timeouts = ex.route.timeouts or upstream.spec.timeouts
    ex.retries = ex.route.retries or upstream.retries
    ex.tried = ()
    ex.reason = ""
    return True


def let_go(ex: Exchange, outcome: int = CANCELLED) -> None:
    """Whatever the exchange waits for or holds upstream is given up."""
    if ex.task is not None:
        ex.task.cancel()
        ex.task = None
    if ex.queued is not None:
        ex.queued.forget(ex)
        ex.queued = None
    conn = ex.conn
    if conn is not None:
        ex.conn = None
        conn.cancel()
    ex.release(outcome, "", ex.world.clock())


def replace_response(ex: Exchange, reply: Reply, i: int) -> None:
    """A response hook answers instead of the endpoint; the hooks behind it see the new response."""
    ex.held = None
    let_go(ex, FAILED_STATUS if ex.status >= 500 else CANCELLED)
    ex.answer(reply, i)


def release_held(ex: Exchange) -> None:
    """A response hook has stopped waiting: pass on what came meanwhile."""
    held, ex.held = ex.held, None
    for piece in held or ():
        ex.on_response_body(piece)
    ended = ex.vars.pop(_ENDED, None)
    if ended is not None:
        ex.on_response_end(ended)
    elif ex.conn is not None:
        ex.conn.resume()
        if ex.status == 101:
            ex.conn.switch()


_ENDED = "gatewright.response_ended"


def hold_end(ex: Exchange, trailers: tuple[Pair, ...]) -> None:
    """The response ended while a response hook waits. Its connection is no longer ours."""
    ex.conn = None
    ex.vars[_ENDED] = trailers
