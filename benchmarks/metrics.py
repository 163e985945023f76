"""The numbers the benchmark speaks of: their titles, units and forms."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Metric:
    """A column. ``compared`` metrics also get a column with the ratio to the peers; less is better for all of them."""

    key: str
    title: str
    form: str = "{:,.1f}"
    compared: bool = False

    def show(self, value: float | None) -> str:
        """The value as the reader sees it; a dash when there is none."""
        return "-" if value is None else self.form.format(value)


ALL = {
    metric.key: metric
    for metric in (
        Metric("cpu_us", "CPU µs/request", compared=True),
        Metric("cpu_us_handshake", "CPU µs/handshake", compared=True),
        Metric("handshakes_cpu", "handshakes per CPU second", "{:,.0f}"),
        Metric("handshakes", "handshakes/s", "{:,.0f}"),
        Metric("user_us", "of it not kernel"),
        Metric("rps", "requests/s", "{:,.0f}"),
        Metric("rps_core", "requests/s per core", "{:,.0f}"),
        Metric("busy", "core busy", "{:.0%}"),
        Metric("stolen", "stolen by host", "{:.0%}"),
        Metric("p50_us", "P50 µs", "{:,.0f}"),
        Metric("p99_us", "P99 µs", "{:,.0f}"),
        Metric("p999_us", "P99.9 µs", "{:,.0f}"),
        Metric("pss_mb", "memory MB (PSS)", "{:,.1f}"),
        Metric("pss_kb_connection", "KB per connection (PSS)", "{:,.1f}"),
        Metric("mb_s", "MB/s", "{:,.0f}"),
        Metric("cpu_us_mb", "CPU µs/MB", "{:,.0f}", compared=True),
        Metric("idle_cpu", "CPU of one core", "{:.2%}"),
        Metric("requests", "requests", "{:,.0f}"),
        Metric("failed", "failed", "{:,.0f}"),
        Metric("effect_ms", "change to effect ms", "{:,.1f}"),
        Metric("echoes", "WebSocket echoes", "{:,.0f}"),
        Metric("socket_breaks", "WebSocket breaks", "{:,.0f}"),
        Metric("changes", "changes", "{:,.0f}"),
        Metric("back_ms", "accepting again ms", "{:,.1f}"),
        Metric("in_flight", "connections of the killed worker", "{:,.0f}"),
        Metric("admitted", "admitted", "{:,.0f}"),
        Metric("allowed", "allowed", "{:,.0f}"),
        Metric("deviation", "deviation", "{:+.2%}"),
    )
}
