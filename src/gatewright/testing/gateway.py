"""The whole gateway for tests: the real supervisor, controller and workers, started from a configuration.

::

    with Gateway(Path("gateway.yaml")) as gateway:
        answer = httpx2.get(gateway.url + "/orders/42")
        assert gateway.log_lines(1)[0]["route"] == "order-by-id"

pytest knows the fixture ``gateway``, which starts one and checks how it ended.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any, Self

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from gatewright.clock import SystemClock
from gatewright.snapshot.build import build_snapshot
from gatewright.snapshot.model import Snapshot

#: Seconds that one wait may take.
PATIENCE = 30.0
_LOOPBACK = "127.0.0.1:0"
_clock = SystemClock()


class GatewayFailed(AssertionError):
    """The gateway has not done what a test waits for; the message ends with its error log."""


class Gateway:
    """A gateway in processes of its own.

    Whatever addresses the configuration names, its listeners and its admin listener are on free ports of 127.0.0.1,
    so that a test may start the very file that production uses. Unix sockets stay where they are. The access log goes
    to :meth:`log_lines` as JSON, whole.

    Args:
        config: Files and directories, as for ``gatewright run -c``.
        workers: Worker processes, instead of the configuration's.
        environ: Variables beside those of this process.
        watch: Reload when a file changes. Otherwise with :meth:`reload` only.

    Raises:
        ConfigError: From :meth:`start`, with everything that is wrong with the configuration.
    """

    def __init__(
        self,
        config: Path | Sequence[Path],
        *,
        workers: int | None = None,
        environ: Mapping[str, str] | None = None,
        watch: bool = False,
    ) -> None:
        given = [config] if isinstance(config, Path) else list(config)
        #: The files, whole paths.
        self.files = [path.absolute() for path in given]
        #: Lines of the error log, oldest first; each has ``event``, ``level``, ``message``.
        self.events: list[dict[str, Any]] = []
        #: What else came out of its standard streams, tracebacks for example.
        self.other_lines: list[str] = []
        self._access: list[dict[str, Any]] = []
        self._environ = {**os.environ, **(environ or {})}
        if workers is not None:
            self._environ["GATEWRIGHT_WORKERS"] = str(workers)
        self._watch = watch
        self._token = ""
        self._process: subprocess.Popen[bytes] | None = None
        self._readers: list[threading.Thread] = []
        self._heard = threading.Condition()

    # --- life ---------------------------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> Self:
        """Start it and wait until all workers serve. Raises GatewayFailed when that does not come."""
        snapshot = build_snapshot(self.files, environ=self._environ).snapshot
        self._environ.update(_changes(snapshot))
        self._token = snapshot.admin.token if snapshot.admin is not None else ""
        command = [sys.executable, "-m", "gatewright", "run", "--log-format", "json"]
        for file in self.files:
            command += ["-c", str(file)]
        if not self._watch:
            command.append("--no-watch")
        self._process = process = subprocess.Popen(  # noqa: S603 - ourselves
            command,
            env=self._environ,
            cwd=self.files[0].parent,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,  # one group to end, whatever has become of its processes
        )
        for stream, known, key in ((process.stderr, self.events, "event"), (process.stdout, self._access, "status")):
            reader = threading.Thread(target=self._read, args=(stream, known, key), daemon=True)
            reader.start()
            self._readers.append(reader)
        try:
            self.wait_for("gateway.ready")
        except BaseException:
            self.kill()
            raise
        return self

    def stop(self, patience: float = PATIENCE) -> int:
        """End it gracefully, as TERM does. Returns the exit code; kills it when it takes longer than ``patience``."""
        process = self._started()
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(patience)
            except subprocess.TimeoutExpired:
                self.kill()
                raise GatewayFailed(self._explained(f"it has not stopped within {patience} s")) from None
        self._join()
        return process.returncode

    def kill(self) -> None:
        """End all its processes at once."""
        process = self._started()
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass  # all gone already
        process.wait()
        self._join()

    def _join(self) -> None:
        for reader in self._readers:
            reader.join(PATIENCE)

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise GatewayFailed("the gateway has not been started")
        return self._process

    # --- where it is --------------------------------------------------------------------------------------------------

    @property
    def addresses(self) -> dict[str, str]:
        """Listener name → ``host:port`` or ``unix:path``, in the order of the configuration."""
        return dict(self._ready()["listeners"])

    def address(self, listener: str = "") -> tuple[str, int]:
        """Host and port of a listener, by default the first."""
        addresses = self.addresses
        host, _, port = (addresses[listener] if listener else next(iter(addresses.values()))).rpartition(":")
        return host.strip("[]"), int(port)

    @property
    def port(self) -> int:
        """Port of the first listener."""
        return self.address()[1]

    @property
    def url(self) -> str:
        """``http://127.0.0.1:port`` of the first listener."""
        return self.url_of()

    def url_of(self, listener: str = "") -> str:
        """``http://127.0.0.1:port`` of a listener."""
        host, port = self.address(listener)
        return f"http://{host}:{port}"

    @property
    def admin_url(self) -> str:
        """``http://127.0.0.1:port`` of the admin listener."""
        return f"http://{self._ready()['admin']}"

    @property
    def pids(self) -> dict[str, int]:
        """Process ids by name: ``supervisor``, ``controller``, ``worker 0`` and so on."""
        status = self.status()
        return {process["name"]: process["pid"] for process in [*status["processes"], *status["workers"]]}

    def _ready(self) -> dict[str, Any]:
        return next(event for event in reversed(self.events) if event["event"] == "gateway.ready")

    # --- what it says -------------------------------------------------------------------------------------------------

    def admin(self, path: str) -> tuple[int, bytes]:
        """Status and body of a GET to the admin listener."""
        host, _, port = self._ready()["admin"].rpartition(":")
        connection = http.client.HTTPConnection(host, int(port), timeout=PATIENCE)
        try:
            connection.request("GET", path, headers={"authorization": f"Bearer {self._token}"} if self._token else {})
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def status(self) -> dict[str, Any]:
        """``/status`` of the admin listener."""
        status, body = self.admin("/status")
        if status != 200:
            raise GatewayFailed(self._explained(f"/status answers {status}"))
        found: dict[str, Any] = json.loads(body)
        return found

    def metrics(self) -> list[Sample]:
        """All samples of ``/metrics``. Workers report once a second: see :meth:`until`."""
        _, body = self.admin("/metrics")
        return [sample for family in text_string_to_metric_families(body.decode()) for sample in family.samples]

    def metric(self, name: str, **labels: str) -> float:
        """The sum of the samples with this name and these labels."""
        wanted = labels.items()
        return sum(each.value for each in self.metrics() if each.name == name and wanted <= each.labels.items())

    def log_lines(self, at_least: int = 0) -> list[dict[str, Any]]:
        """The access log, oldest request first; waits until there are ``at_least`` so many lines."""
        self._wait(lambda: len(self._access) >= at_least, f"{at_least} lines of access log")
        with self._heard:
            return sorted(self._access, key=itemgetter("time"))  # workers write in turn

    def wait_for(self, event: str, number: int = 1) -> dict[str, Any]:
        """The ``number``-th line of the error log with this event, waiting until it is there."""

        def found() -> list[dict[str, Any]]:
            return [line for line in self.events if line["event"] == event]

        self._wait(lambda: len(found()) >= number, f"event {event}")
        return found()[number - 1]

    def until(self, predicate: Callable[[], Any], patience: float = PATIENCE) -> Any:
        """Ask until ``predicate()`` is true and return its value: for what is only known a moment later."""
        end = _clock.monotonic() + patience
        while not (value := predicate()):
            if _clock.monotonic() > end:
                raise GatewayFailed(self._explained(f"has not become true within {patience} s, it is {value!r}"))
            time.sleep(0.02)
        return value

    # --- changes ------------------------------------------------------------------------------------------------------

    def reload(self, text: str | None = None) -> dict[str, Any]:
        """Read the configuration again (HUP), after writing ``text`` to its (first) file; wait for the outcome.

        Returns the line of the error log that says it: ``config.applied``, ``config.unchanged`` or ``config.refused``.
        """
        if text is not None:
            replacement = self.files[0].with_name(self.files[0].name + ".new")
            replacement.write_text(text, encoding="utf-8")
            replacement.rename(self.files[0])
        before = len(self._outcomes())
        self.signal(signal.SIGHUP)
        self._wait(lambda: len(self._outcomes()) > before, "outcome of the reload")
        return self._outcomes()[before]

    def signal(self, number: int) -> None:
        """Send a signal to the supervisor."""
        self._started().send_signal(number)

    def _outcomes(self) -> list[dict[str, Any]]:
        wanted = {"config.applied", "config.unchanged", "config.refused"}
        return [line for line in self.events if line["event"] in wanted]

    # --- its standard streams -----------------------------------------------------------------------------------------

    def _read(self, stream: Any, known: list[dict[str, Any]], key: str) -> None:
        with stream:
            for line in stream:
                try:
                    entry = json.loads(line)
                except ValueError:
                    entry = None
                with self._heard:
                    if isinstance(entry, dict) and key in entry:
                        known.append(entry)
                    else:
                        self.other_lines.append(line.decode("utf-8", "backslashreplace"))
                    self._heard.notify_all()

    def _wait(self, predicate: Callable[[], bool], what: str) -> None:
        end = _clock.monotonic() + PATIENCE
        with self._heard:
            while not predicate():
                if _clock.monotonic() > end or self._started().poll() is not None:
                    break
                self._heard.wait(0.1)  # wakes for every line; looks between them whether it still lives
        self._give_up_without(predicate, what)

    def _give_up_without(self, predicate: Callable[[], bool], what: str) -> None:
        if predicate():
            return
        if self._started().poll() is not None:
            self._join()  # what it said last
        if not predicate():
            raise GatewayFailed(self._explained(f"waited for {what}"))

    def _explained(self, message: str) -> str:
        code = self._started().poll()
        state = "it runs" if code is None else f"it has ended with {code}"
        said = [f"{line['level']} {line['event']}: {line['message']}" for line in self.events[-20:]]
        return "\n".join([f"{message}; {state}. Its error log:", *said, *self.other_lines[-20:]])


def _changes(snapshot: Snapshot) -> dict[str, str]:
    """Settings of the environment that put the gateway where a test can use it."""
    changes = {"GATEWRIGHT__ADMIN__BIND": _LOOPBACK}
    for index, listener in enumerate(snapshot.listeners):
        if not listener.bind.startswith("unix:"):
            changes[f"GATEWRIGHT__LISTENERS__{index}__BIND"] = _LOOPBACK
    log = {"to": "stdout", "format": "json", "redact": list(snapshot.access_log.redact)}
    changes["GATEWRIGHT__TELEMETRY__ACCESS_LOG"] = json.dumps(log)
    return changes
