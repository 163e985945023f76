from __future__ import annotations

import socket

from gatewright.clock import ManualClock
from gatewright.supervisor.loop import Loop


def test_calls_back_in_the_order_of_their_times() -> None:
    clock = ManualClock()
    loop, calls = Loop(clock), []
    loop.later(2.0, lambda: calls.append("late"))
    loop.later(1.0, lambda: calls.append("early"))
    loop.later(1.0, lambda: calls.append("early too"))
    clock.advance(1.5)
    loop.turn()
    assert calls == ["early", "early too"]
    clock.advance(1)
    loop.turn()
    assert calls[-1] == "late"
    loop.close()


def test_reads_writes_only_while_wanted_and_forgets() -> None:
    clock = ManualClock()
    loop, calls = Loop(clock), []
    left, right = socket.socketpair()
    with left, right:
        loop.watch(left, lambda: calls.append("read"), lambda: calls.append("write"))
        loop.want_write(left, True)
        loop.turn()
        assert calls == ["write"]
        loop.want_write(left, False)
        right.send(b"x")
        loop.turn()
        assert calls == ["write", "read"]
        loop.unwatch(left)
        loop.unwatch(left)
        loop.want_write(left, True)
        loop.later(0.0, lambda: calls.append("time"))
        loop.turn()
        assert calls == ["write", "read", "time"]
    loop.close()
