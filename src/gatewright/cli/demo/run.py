"""Starts two sample upstreams and the gateway, says what to try, and stops everything at the end."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import signal
import socket
import sys
from pathlib import Path

from gatewright.cli.demo.origin import Origin
from gatewright.cli.demo.tries import TRIES, send

#: Environment variable of examples/demo/gateway.yaml → the port that is used when nobody else has it.
PORTS = {"DEMO_PORT": 8000, "DEMO_V1_PORT": 9001, "DEMO_V2_PORT": 9002, "DEMO_ADMIN_PORT": 9900}
READY_WITHIN = 20.0
STOPPED_WITHIN = 10.0


def config_file() -> Path:
    """The demo's configuration: shipped in the package, or that of the source tree."""
    packaged = Path(__file__).with_name("gateway.yaml")
    if packaged.exists():
        return packaged
    return Path(__file__).resolve().parents[4] / "examples" / "demo" / "gateway.yaml"


def choose_ports() -> dict[str, int]:
    """The usual ports, or free ones in place of those that are taken.

    All are held open until all are chosen, so that no two are the same.
    """
    held: list[socket.socket] = []
    chosen: dict[str, int] = {}
    try:
        for name, usual in PORTS.items():
            probe = socket.socket()
            held.append(probe)
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", usual))
                probe.listen(1)
            except OSError:
                probe.close()
                probe = socket.socket()
                held.append(probe)
                probe.bind(("127.0.0.1", 0))
            chosen[name] = probe.getsockname()[1]
    finally:
        for probe in held:
            probe.close()
    return chosen


def is_ready(port: int) -> bool:
    """Whether the gateway says that it serves."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2.0)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


async def start_gateway(ports: dict[str, int], *, quiet: bool) -> asyncio.subprocess.Process:
    """Start ``gatewright run`` in a process group of its own: Ctrl-C is for us, we then stop it in order."""
    environ = {**os.environ, **{name: str(port) for name, port in ports.items()}}
    if quiet:
        environ["DEMO_ACCESS_LOG"] = "off"
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "gatewright", "run", "-c", str(config_file()), "--log-format", "text",
        env=environ, process_group=0, stdin=asyncio.subprocess.DEVNULL,
    )  # fmt: skip


async def wait_ready(gateway: asyncio.subprocess.Process, port: int, stop: asyncio.Event) -> bool:
    """Wait until the gateway serves; False when it ends, takes too long, or we are told to stop."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + READY_WITHIN
    while gateway.returncode is None and loop.time() < deadline and not stop.is_set():
        if await asyncio.to_thread(is_ready, port):
            return True
        await asyncio.sleep(0.1)
    return False


async def stop_gateway(gateway: asyncio.subprocess.Process) -> None:
    """Ask for a graceful stop; end what is left when it takes too long."""
    if gateway.returncode is not None:
        return
    gateway.terminate()
    try:
        await asyncio.wait_for(gateway.wait(), STOPPED_WITHIN)
    except TimeoutError:
        os.killpg(gateway.pid, signal.SIGKILL)
        await gateway.wait()


def introduce(ports: dict[str, int]) -> None:
    """Print the addresses and what to try."""
    address = f"127.0.0.1:{ports['DEMO_PORT']}"
    print(f"\ngateway          http://{address}")
    print(f"admin            http://127.0.0.1:{ports['DEMO_ADMIN_PORT']}  (/status, /metrics, /healthz, /readyz)")
    print(f"sample upstreams http://127.0.0.1:{ports['DEMO_V1_PORT']} http://127.0.0.1:{ports['DEMO_V2_PORT']}")
    print(f"configuration    {config_file()}  (edit it while this runs)")
    print("\nTry, in another terminal:\n")
    for request in TRIES:
        print(f"  # {request.what}\n  {request.curl(address)}")
    print("\nCtrl-C stops all of it.\n", flush=True)


async def send_all(port: int, *, as_json: bool) -> bool:
    """Send what :func:`introduce` suggests and print the answers. Returns whether all were right."""
    results = []
    for request in TRIES:
        answer = await asyncio.to_thread(send, request, "127.0.0.1", port)
        results.append(
            {"request": request.curl(f"127.0.0.1:{port}"), "status": answer.status, "problem": answer.problem}
        )
        if not as_json:
            print(f"# {request.what}\n$ {request.curl(f'127.0.0.1:{port}')}")
            print("\n".join(f"  {line}" for line in answer.text.splitlines()))
            print(f"  → {answer.problem or 'as expected'}\n", flush=True)
    right = not any(result["problem"] for result in results)
    if as_json:
        print(json.dumps({"ok": right, "answers": results}, indent=2))
    else:
        print(f"{sum(not result['problem'] for result in results)} of {len(results)} answers as expected")
    return right


async def demo(*, check: bool, as_json: bool) -> int:
    """Run the demo. Returns the exit code: 0 ok, 1 a wrong answer, 3 cannot start."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    ports = choose_ports()
    origins = (Origin("hello-v1"), Origin("hello-v2"))
    await origins[0].start(ports["DEMO_V1_PORT"])
    await origins[1].start(ports["DEMO_V2_PORT"])
    gateway = await start_gateway(ports, quiet=check)
    try:
        if not await wait_ready(gateway, ports["DEMO_ADMIN_PORT"], stop):
            if stop.is_set():
                return 0
            print("demo: the gateway did not become ready; its own messages are above", file=sys.stderr)
            return 3
        if check:
            return 0 if await send_all(ports["DEMO_PORT"], as_json=as_json) else 1
        introduce(ports)
        await until(stop, gateway)
        return 0 if stop.is_set() else 1
    finally:
        await stop_gateway(gateway)
        for origin in origins:
            await origin.stop()


async def until(stop: asyncio.Event, gateway: asyncio.subprocess.Process) -> None:
    """Wait for the signal or for the gateway's end, whichever comes first."""
    async with asyncio.TaskGroup() as group:
        ended = group.create_task(gateway.wait())
        ended.add_done_callback(lambda _: stop_waiting.cancel())
        stop_waiting = group.create_task(stop.wait())
        stop_waiting.add_done_callback(lambda _: ended.cancel())


def main(*, check: bool, as_json: bool) -> int:
    """``gatewright demo``."""
    return asyncio.run(demo(check=check, as_json=as_json))
