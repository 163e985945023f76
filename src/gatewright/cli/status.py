"""``gatewright status``: a running gateway at a glance."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gatewright.cli import exits, output
from gatewright.cli.admin import Admin, Unreachable, find

INTERVAL = 1.0
_CLEAR = "\x1b[H\x1b[2J\x1b[3J"

Status = dict[str, Any]


def status(url: str | None, config: Sequence[Path], *, watch: bool, as_json: bool) -> int:
    """Ask and print, once or until Ctrl-C. Returns the exit code: 1 when the gateway is not ready."""
    try:
        admin = find(url, config)
        if not watch:
            return _once(admin.status(), as_json=as_json)
        return _watch(admin, as_json=as_json)
    except Unreachable as error:
        return output.fail(str(error), "is it running? --admin URL says where")


def _once(content: Status, *, as_json: bool) -> int:
    if as_json:
        output.emit_json(content)
    else:
        show(content)
    return exits.OK if content.get("ready") else exits.FAILED


def _watch(admin: Admin, *, as_json: bool) -> int:
    """Show it again and again; a gateway that does not answer for a while is no reason to end."""
    try:
        while True:
            try:
                content: Status | None = admin.status()
                trouble = ""
            except Unreachable as error:
                content, trouble = None, str(error)
            if as_json:
                print(json.dumps(content if content is not None else {"error": trouble}), flush=True)
            else:
                print(_CLEAR if output.coloured(sys.stdout) else "", end="")
                if content is not None:
                    show(content)
                else:
                    print(trouble)
                print(flush=True)
            time.sleep(INTERVAL)
    except KeyboardInterrupt:
        return exits.OK


def show(content: Status) -> None:
    """Print a status for people."""
    state = "draining" if content["draining"] else "ready" if content["ready"] else "not ready"
    colour = {"ready": "green", "draining": "yellow"}.get(state, "red")
    config = content["config"]
    print(
        f"gatewright {content['version']}  {output.paint(state, colour)}"
        f"{': ' + content['reason'] if content['reason'] else ''}  up {duration(content['uptime'])}  "
        f"configuration {config['version']} of {config['applied'] or 'never'}, {content['routes']} routes"
    )
    if config["last_error"]:
        print(f"{output.paint('the newest configuration is refused', 'red')}\n{config['last_error']}")
    for warning in config["warnings"]:
        print(f"{output.paint('warning', 'yellow')}: {warning}")
    print()
    _show_processes(content)
    output.table(
        "Listeners",
        ["listener", "address", "protocols", "connections"],
        [[each["name"], each["address"], ", ".join(each["protocols"]), each["connections"]]
         for each in content["listeners"]],
    )  # fmt: skip
    print()
    _show_certificates(content)
    _show_upstreams(content)


def _show_processes(content: Status) -> None:
    rows = [[each["name"], each["pid"], size(each["rss"]), "", "", "", "", ""] for each in content["processes"]]
    rows += [
        [
            worker["name"],
            worker["pid"],
            size(worker["rss"]),
            duration(worker["uptime"]),
            worker["restarts"],
            worker["version"],
            worker["connections"],
            worker["exchanges"],
        ]
        for worker in content["workers"]
    ]
    columns = ["process", "pid", "memory", "up", "restarts", "version", "connections", "requests"]
    output.table("Processes", columns, rows)
    print()


def _show_certificates(content: Status) -> None:
    rows = [
        [each["name"], pair["certificate"], ", ".join(pair["names"]), pair["expires"], pair["days_left"]]
        for each in content["listeners"]
        for pair in each.get("certificates", ())  # an older gateway may be running
    ]
    if rows:
        output.table("Certificates", ["listener", "certificate", "names", "expires", "days left"], rows)
        print()


def _show_upstreams(content: Status) -> None:
    rows = [
        [
            upstream["name"],
            endpoint["key"],
            ", ".join(filter(None, (upstream["protocol"], endpoint["tls"]))),
            endpoint["health"],
            endpoint["breaker"] or upstream["breaker"],
            endpoint["weight"],
            endpoint["in_flight"],
            endpoint["check"],
        ]
        for upstream in content["upstreams"]
        for endpoint in upstream["endpoints"]
    ]
    columns = ["upstream", "endpoint", "protocol", "health", "breaker", "weight", "in flight", "last check"]
    output.table("Upstreams", columns, rows)


def size(octets: int | None) -> str:
    """``12.3 MiB``."""
    return "-" if octets is None else f"{octets / (1024 * 1024):.1f} MiB"


def duration(seconds: float) -> str:
    """``3d 4h``, ``5m 6s``: the two largest units."""
    rest = int(seconds)
    parts: list[str] = []
    for unit, length in (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)):
        number, rest = divmod(rest, length)
        if number or (unit == "s" and not parts):
            parts.append(f"{number}{unit}")
    return " ".join(parts[:2])
