"""``gatewright explain``: what the gateway would do with a request, and why."""

from __future__ import annotations

import os
from collections.abc import Sequence
from ipaddress import ip_address
from pathlib import Path

from gatewright.cli import exits, output, problems
from gatewright.cli.dry_run import Report, dry_run, request
from gatewright.cli.files import config_files
from gatewright.cli.load import load
from gatewright.errors import ConfigError
from gatewright.proxy.grpc import PROTOCOLS


def explain(
    method: str,
    url: str,
    headers: list[str],
    address: str,
    listener: str | None,
    config: Sequence[Path],
    *,
    as_json: bool,
) -> int:
    """Explain and print. Returns the exit code: 1 when no route takes the request."""
    try:
        ip_address(address)
    except ValueError:
        return output.fail(f"--from {address}: not an address", code=exits.USAGE)
    malformed = next((header for header in headers if ":" not in header), None)
    if malformed is not None:
        return output.fail(f"-H '{malformed}': expected 'NAME: VALUE'", code=exits.USAGE)
    try:
        loaded = load(config_files(config), os.environ)
    except ConfigError as error:
        problems.show(error.problems)
        return exits.FAILED
    listeners = loaded.runtime.listeners
    name = listener or next(iter(listeners), "")
    if name not in listeners:
        known = ", ".join(listeners) or "none"
        return output.fail(f"there is no listener '{name}'", f"listeners are: {known}", exits.USAGE)
    report = dry_run(loaded, listeners[name], request(method, url, headers), address)
    if as_json:
        output.emit_json(report)
    else:
        show(report)
    return exits.OK if report.get("routing", {}).get("route") else exits.FAILED


def show(report: Report) -> None:
    """Print a report for people."""
    if "refused" in report:
        refused = report["refused"]
        print(f"refused with {refused['status']} {refused['reason']}: {refused['detail'] or 'malformed'}")
        return
    routing = report["routing"]
    call = f", a {report['protocol']} call" if report["protocol"] in PROTOCOLS else ""
    print(
        f"{routing['method']} {routing['host']}{routing['path']} from {report['client']} at {report['listener']}{call}"
    )
    if routing["preflight"]:
        print("a CORS preflight: the route is that of the request it announces")
    _show_route(report)
    if report["policies"]:
        output.heading("\nPolicies, in order")
        output.table(
            "",
            ["stage", "policy", "outcome", "when"],
            [[p["stage"], p["policy"], _outcome(p), p["when"]] for p in report["policies"]],
        )
    if "answer" in report:
        output.heading("\nAnswer of the gateway")
        answer = report["answer"]
        print(_said(answer))
        print(*answer["headers"], sep="\n", end="\n" if answer["headers"] else "")
    if "upstream" in report:
        _show_upstream(report)


def _show_route(report: Report) -> None:
    routing = report["routing"]
    output.heading("\nRoute")
    if routing["route"]:
        params = ", ".join(f"{name}={value}" for name, value in routing["params"].items())
        print(output.paint(routing["route"], "green") + (f"  ({params})" if params else ""))
    else:
        allow = f", allowed here: {routing['allow']}" if routing["allow"] else ""
        print(output.paint("none", "red") + f": {routing['status']}{allow}")
    rows = [
        [c["route"], c["path"], c["host"], c["priority"], c["state"], _why(c)]
        for c in routing["candidates"]
        if c["state"] != "chosen"
    ]
    if rows:
        output.heading("\nOther candidates")
        output.table("", ["route", "path", "host", "priority", "state", "why"], rows)
    if routing["omitted"]:
        print(f"and {routing['omitted']} more")
    if routing["near"]:
        output.heading("\nNearly matched")
        output.table("", ["route", "path", "why"], [[n["route"], n["path"], n["why"]] for n in routing["near"]])


def _why(candidate: Report) -> str:
    if not candidate["failed"]:
        return "comes later"
    return f"{candidate['failed']}" + (f"; the request has {candidate['saw']}" if candidate["saw"] else "")


def _outcome(policy: Report) -> str:
    if "answer" in policy:
        return f"answers {_said(policy['answer'])}"
    return str(policy["outcome"])


def _said(answer: Report) -> str:
    """Status and reason; of a call also the status that the client sees."""
    words = [str(answer["status"]), answer["reason"]]
    if "grpc_status" in answer:
        words.append(f"(grpc-status {answer['grpc_status']})")
    return " ".join(words).rstrip()


def _show_upstream(report: Report) -> None:
    upstream = report["upstream"]
    would = "" if "answer" not in report else ", if no policy had answered"
    output.heading(f"\nUpstream{would}")
    shares = ", ".join(f"{split['upstream']} {split['weight']}" for split in upstream["splits"])
    print(
        f"{upstream['name']}, {upstream['protocol']}, {upstream['balance']}"
        + (f" (split: {shares})" if len(upstream["splits"]) > 1 else "")
    )
    rows = [
        [e["endpoint"], e["tls"], e["weight"], e["zone"], "this time" if e["endpoint"] == upstream["picked"] else ""]
        for e in upstream["endpoints"]
    ]
    output.table("", ["endpoint", "tls", "weight", "zone", "picked"], rows)
    if "sent" in report:
        output.heading("\nSent upstream")
        print(report["sent"]["url"])
        print(report["sent"]["line"])
        print(*report["sent"]["headers"], sep="\n")
    else:
        print("no address is known yet: names are resolved when the gateway runs")
