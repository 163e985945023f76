"""The programs of nghttp2 on both sides of a gateway: nghttp and h2load in front of it, nghttpd behind it."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gatewright.testing.certs import Authority
from gatewright.testing.gateway import Gateway

pytestmark = pytest.mark.processes

LARGE = bytes(range(256)) * 16_384  # 4 MiB
COUNTS = re.compile(
    r"requests: (\d+) total, \d+ started, \d+ done, (\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout"
)


def program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


class Nghttpd:
    """One server process."""

    def __init__(self, folder: Path, *options: str) -> None:
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            self.port: int = sock.getsockname()[1]
        command = [program("nghttpd"), "--no-tls", "-a", "127.0.0.1", "-d", str(folder), *options, str(self.port)]
        self.process = subprocess.Popen(command, start_new_session=True)
        end = time.monotonic() + 10
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
            except ConnectionRefusedError:
                if time.monotonic() > end or self.process.poll() is not None:
                    raise
                time.sleep(0.01)
            else:
                break

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """Two workers in front of four servers of different habits."""
    folder = tmp_path_factory.mktemp("nghttp2")
    files = folder / "files"
    files.mkdir()
    (files / "index.html").write_bytes(b"hello")
    (files / "large").write_bytes(LARGE)
    (files / "empty").write_bytes(b"")
    cert, key = Authority(folder).pair()
    servers = {
        "plain": Nghttpd(files, "--trailer", "x-sum: 7"),
        "echo": Nghttpd(files, "--echo-upload", "-b", "200", "-w", "14"),
        "narrow": Nghttpd(files, "-m", "2", "-c", "0"),
        "early": Nghttpd(files, "--early-response", "--no-content-length"),
    }
    upstreams = "".join(
        f'  {name}: {{endpoints: ["http://127.0.0.1:{server.port}"], protocol: h2}}\n'
        for name, server in servers.items()
    )
    routes = "".join(
        f"  - {{name: {name}, match: {{paths: [/{name}/*]}}, rewrite: {{strip_prefix: /{name}}}, to: {name}}}\n"
        for name in servers
    )
    file = folder / "gateway.yaml"
    file.write_text(f"""
version: 1
workers: 2
telemetry: {{access_log: {{to: "off"}}}}
listeners:
  - {{name: public, bind: "127.0.0.1:0"}}
  - {{name: secure, bind: "127.0.0.1:0", tls: {{certificates: [{{cert: {cert}, key: {key}}}]}}}}
upstreams:
{upstreams}routes:
{routes}  - {{name: here, match: {{paths: [/here]}}, respond: {{status: 200, body: "of the gateway"}}}}
""")
    made = Gateway(file).start()
    yield made
    code = made.stop()
    for server in servers.values():
        server.stop()
    assert code == 0
    assert [event for event in made.events if event["level"] == "error"] == []


def nghttp(url: str, *options: str) -> tuple[bytes, str]:
    """What has come, and what it tells about its frames."""
    command = [program("nghttp"), "-t", "20", *options]
    body = subprocess.run([*command, url], capture_output=True, timeout=40, check=True).stdout
    told = subprocess.run([*command, "-nv", url], capture_output=True, timeout=40, check=True).stdout
    return body, told.decode("latin-1")


def h2load(url: str, *options: str) -> None:
    """Load it; every request has to be answered with 2xx."""
    command = [program("h2load"), *options, url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    found = COUNTS.search(done.stdout)
    assert found, done.stdout
    total, succeeded, *bad = map(int, found.groups())
    assert (succeeded, bad) == (total, [0, 0, 0]), done.stdout


def secure(gate: Gateway) -> str:
    return gate.url_of("secure").replace("http:", "https:")


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["-w", "10", "-W", "12"],
        ["-w", "30", "-W", "30"],
        ["-c", "0"],
        ["-b", "255", "--continuation"],
        ["--no-dep"],
        ["--no-push", "-M", "1"],
    ],
    ids=" ".join,
)
def test_a_large_file(gate: Gateway, options: list[str]) -> None:
    body, told = nghttp(f"{gate.url}/plain/large", *options)
    assert body == LARGE
    assert "x-sum: 7" in told
    assert "ERROR" not in told.replace("NO_ERROR", "")


def test_over_tls(gate: Gateway) -> None:
    body, told = nghttp(f"{secure(gate)}/plain/large", "-y")
    assert body == LARGE
    assert "The negotiated protocol: h2" in told


@pytest.mark.parametrize(
    "options",
    [[], ["--no-content-length"], ["--trailer", "x-sum: 1"], ["--expect-continue"], ["-b", "255", "-w", "10"]],
    ids=" ".join,
)
def test_a_large_upload(gate: Gateway, tmp_path: Path, options: list[str]) -> None:
    file = tmp_path / "upload"
    file.write_bytes(LARGE)
    body, _ = nghttp(f"{gate.url}/echo/", "-d", str(file), *options)
    assert body == LARGE


def test_an_answer_that_does_not_wait_for_the_upload(gate: Gateway, tmp_path: Path) -> None:
    file = tmp_path / "upload"
    file.write_bytes(LARGE)
    body, _ = nghttp(f"{gate.url}/early/", "-d", str(file))
    assert body == b"hello"


@pytest.mark.parametrize("path", ["here", "plain/", "plain/empty", "narrow/", "early/large"])
@pytest.mark.parametrize("way", ["public", "secure"])
def test_many_streams(gate: Gateway, path: str, way: str) -> None:
    url = secure(gate) if way == "secure" else gate.url
    count = "50" if path.endswith("large") else "1000"
    h2load(f"{url}/{path}", "-n", count, "-c", "5", "-m", "30")


@pytest.mark.parametrize("options", [["-w", "4"], ["-w", "10", "-W", "12"], ["--h1"]], ids=" ".join)
def test_many_streams_with_small_windows(gate: Gateway, options: list[str]) -> None:
    h2load(f"{gate.url}/plain/", "-n", "200", "-c", "2", "-m", "10", *options)


def test_many_uploads(gate: Gateway, tmp_path: Path) -> None:
    file = tmp_path / "upload"
    file.write_bytes(b"x" * 100_000)
    h2load(f"{gate.url}/echo/", "-n", "200", "-c", "4", "-m", "10", "-d", str(file))


def test_the_gateway_says_so_when_a_server_is_gone_and_when_it_is_back(gate: Gateway, tmp_path: Path) -> None:
    (tmp_path / "index.html").write_bytes(b"back")
    server = Nghttpd(tmp_path)
    file = tmp_path / "gateway.yaml"
    file.write_text(f"""
version: 1
workers: 1
telemetry: {{access_log: {{to: "off"}}}}
listeners: [{{name: public, bind: "127.0.0.1:0"}}]
upstreams:
  gone:
    endpoints: ["http://127.0.0.1:{server.port}"]
    protocol: h2
    retries: {{attempts: 0}}
    health: {{passive: null}}
routes: [{{name: all, match: {{paths: ["/*"]}}, to: gone}}]
""")
    with Gateway(file) as made:
        assert nghttp(made.url + "/")[0] == b"back"
        server.stop()
        _, told = nghttp(made.url + "/")
        assert ":status: 50" in told
        again = subprocess.Popen(
            [program("nghttpd"), "--no-tls", "-a", "127.0.0.1", "-d", str(tmp_path), str(server.port)],
            start_new_session=True,
        )
        try:
            made.until(lambda: nghttp(made.url + "/")[0] == b"back")
        finally:
            again.kill()
            again.wait()
