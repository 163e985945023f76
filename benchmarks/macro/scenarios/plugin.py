"""A user's policy in Python on the path: what it costs."""

from __future__ import annotations

from benchmarks.macro import wrk
from benchmarks.macro.bench import GATEWAY, ROOT, Bench, Proxy
from benchmarks.macro.compare import closed_loop, proxies, rounds, warm
from benchmarks.results import Goal, Outcome

NAME = "plugin"
TITLE = "a header policy from examples/plugins on the path"

CASE = "64 connections"
STAMPED = f"{GATEWAY} + stamp"
PLUGIN = ROOT / "examples" / "plugins" / "stamp.py"
PLAIN = wrk.Load(path="/plain/widgets/42")
WITH = wrk.Load(path="/stamp/widgets/42")


def run(bench: Bench, outcome: Outcome) -> None:
    """Two routes of one gateway, one with the policy, in turn.

    Two processes of the same configuration differ by more than a policy costs: where their memory lies is chance.
    """
    outcome.metrics = ["cpu_us", "user_us", "rps", "rps_core", "busy"]
    routes = [
        {"name": "plain", "match": {"paths": ["/plain/*"]}, "to": "origin"},
        {"name": "stamp", "match": {"paths": ["/stamp/*"]}, "to": "origin", "policies": [{"stamp": {}}]},
    ]
    setup = bench.setup(plugins=[str(PLUGIN)], routes=routes)
    with proxies(bench, {GATEWAY: setup}, peers=()) as (gateway,):
        stamped = Proxy(STAMPED, gateway.port, gateway.process, gateway.configuration)
        loads = {GATEWAY: PLAIN, STAMPED: WITH}
        for subject in (gateway, stamped):
            warm(bench, [subject], loads[subject.name])

        def measure(subject: Proxy) -> dict[str, float]:
            return closed_loop(bench, loads[subject.name])(subject)

        outcome.rows = rounds(bench, CASE, [gateway, stamped], measure)
    ratio = outcome.ratio("cpu_us", (CASE, STAMPED), (CASE, GATEWAY))
    outcome.goals = [Goal("CPU per request with the policy to without", ratio, 1.05, "x")]
