import os
import subprocess
import sys

from gatewright.controller.processes import usage


def test_what_this_process_uses() -> None:
    used = usage(os.getpid())
    assert used is not None
    assert used.rss > 1_000_000
    assert used.descriptors >= 3
    times = os.times()
    assert abs(used.cpu - times.user - times.system) < 1.0


def test_a_process_that_has_ended_uses_nothing() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    assert usage(child.pid) is None
