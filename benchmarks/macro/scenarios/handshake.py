"""Nothing but TLS handshakes: what a new connection costs, with and without a session ticket."""

from __future__ import annotations

from benchmarks.macro.bench import GATEWAY, Bench, Proxy
from benchmarks.macro.compare import Measure, proxies, rounds
from benchmarks.macro.procs import BenchError, stolen_seconds
from benchmarks.macro.protocols import Protocols
from benchmarks.results import AT_LEAST, Goal, Outcome

NAME = "handshake"
TITLE = "TLS handshakes per CPU second, P-256"

PEERS = ("nginx", "haproxy", "envoy")


def run(bench: Bench, outcome: Outcome) -> None:
    """Full and resumed, TLS 1.3 and 1.2."""
    outcome.about = (
        "A P-256 certificate, key exchange with X25519, no request afterwards. Opening and closing the TCP connection "
        "is in the figures, as is the making of session tickets. Resumed handshakes begin with a ticket."
    )
    outcome.metrics = ["cpu_us_handshake", "handshakes_cpu", "handshakes", "busy", "stolen"]
    protocols = Protocols(tls=bench.pair)
    with proxies(bench, {GATEWAY: bench.setup(protocols=protocols)}, PEERS, protocols) as subjects:
        for proxy in subjects:
            proxy.check(bench.workdir, "/")
        for version in ("1.3", "1.2"):
            for kind in ("full", "resumed"):
                case = f"TLS {version}, {kind}"
                outcome.rows += rounds(bench, case, subjects, _handshakes(bench, version, kind))
                ratio = outcome.ratio("handshakes_cpu", (case, GATEWAY), (case, "nginx"))
                text = f"handshakes per CPU second to nginx's, {case}"
                outcome.goals.append(Goal(text, ratio, 0.7, "x", AT_LEAST))


def _handshakes(bench: Bench, version: str, kind: str) -> Measure:
    # Twelve kinds of proxy and handshake: half of the usual time for each keeps the scenario as long as the others.
    seconds = max(1.0, bench.settings.seconds / 2)
    options = {"version": version, "kind": kind, "seconds": seconds, "ca": bench.pair.cert}

    def measure(proxy: Proxy) -> dict[str, float]:
        arguments = [text for key, value in options.items() for text in (f"--{key}", str(value))]
        before, stolen = proxy.cpu(), stolen_seconds(bench.proxy_core)
        data = bench.python("handshakes", "--port", str(proxy.port), *arguments, environ=bench.pair.client_environ)
        used = proxy.cpu() - before
        if data["failed"] or not data["done"]:
            raise BenchError(
                f"{proxy.name}: {data['failed']} handshakes failed, {data['done']} done: {data['failures']}"
            )
        return {
            "cpu_us_handshake": used / data["done"] * 1e6,
            "handshakes_cpu": data["done"] / used if used else 0.0,
            "handshakes": data["done"] / data["seconds"],
            "busy": used / data["seconds"],
            "stolen": (stolen_seconds(bench.proxy_core) - stolen) / data["seconds"],
        }

    return measure
