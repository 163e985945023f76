"""httpbin under gunicorn, the gateway in front of it, and what a client can see of an answer."""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from gatewright.testing.certs import Authority
from gatewright.testing.gateway import Gateway

#: Of a connection or of a moment: they may differ between two answers that are the same.
OF_THE_HOP = frozenset({"connection", "keep-alive", "date", "via", "transfer-encoding"})

#: Added by the gateway, or not passed on by it; httpbin shows them with everything else that it was sent.
FORWARDING = OF_THE_HOP | {"x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-forwarded-port", "forwarded"}

#: Of a multipart form, as curl and httpx2 make them.
BOUNDARY = re.compile(rb"-{20,}\w+|(?<=boundary=)\w+")


@dataclass(slots=True)
class Answer:
    """What has come back."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def get(self, name: str) -> str | None:
        return next((value for other, value in self.headers if other == name), None)

    def comparable(self, port: int) -> Answer:
        """Without what belongs to one connection or says who asked, and the same wherever it was asked for."""
        here = f"127.0.0.1:{port}"
        secure, plain = f"https://{here}", f"http://{here}"
        headers = [
            (name, value.replace(secure, plain).replace(here, "HERE").replace("Secure; ", ""))
            for name, value in self.headers
            if name not in OF_THE_HOP
        ]
        body = self.body.replace(secure.encode(), plain.encode())
        if self.get("content-encoding") == "gzip" and body.startswith(b"\x1f\x8b"):
            body = gzip.decompress(body)
            headers = [(name, value) for name, value in headers if name != "content-length"]
        body = BOUNDARY.sub(b"boundary", body.replace(here.encode(), b"HERE"))
        echo = without_forwarding(body)
        if echo != body or not body:
            headers = [(name, value) for name, value in headers if name != "content-length"]
        return Answer(self.status, headers, echo)


def without_forwarding(body: bytes) -> bytes:
    """What httpbin repeats of a request, without the fields that a gateway adds. Documents may stand one in a line."""
    for pieces in ([body], body.splitlines()):
        try:
            documents = [json.loads(piece) for piece in pieces]
        except ValueError:
            continue
        for document in documents:
            if isinstance(document, dict) and isinstance(document.get("headers"), dict):
                document["headers"] = {k: v for k, v in document["headers"].items() if k.lower() not in FORWARDING}
        return json.dumps(documents, indent=1).encode()
    return body


class Curl:
    """The real curl."""

    def __init__(self, folder: Path) -> None:
        #: What ``-w`` wrote, of the last run.
        self.said = ""
        program = shutil.which("curl")
        if program is None:
            pytest.skip("curl is not installed")
        self.program: str = program
        self.folder = folder

    def __call__(self, *arguments: str) -> Answer:
        """Run it; the answer is the last one when it followed redirects."""
        head, body = self.folder / "head", self.folder / "body"
        body.write_bytes(b"")
        command = [
            self.program,
            "-q",
            "-sS",
            "--noproxy",
            "*",
            "-m",
            "20",
            "-D",
            str(head),
            "-o",
            str(body),
            *arguments,
        ]
        done = subprocess.run(command, capture_output=True, timeout=30, check=False)
        assert done.returncode == 0, f"{command} has ended with {done.returncode}: {done.stderr.decode()}"
        self.said = done.stdout.decode()
        if "-I" in arguments:
            body.write_bytes(b"")  # curl writes the head here, too
        sections = head.read_bytes().decode("latin-1").strip().split("\r\n\r\n")
        line, *lines = sections[-1].split("\r\n")
        pairs = [each.partition(":") for each in lines]
        return Answer(int(line.split()[1]), [(n.lower(), v.strip()) for n, _, v in pairs], body.read_bytes())


@pytest.fixture
def curl(tmp_path: Path) -> Curl:
    return Curl(tmp_path)


@pytest.fixture(scope="session")
def httpbin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """httpbin under gunicorn, as somebody would deploy it."""
    folder = tmp_path_factory.mktemp("httpbin")
    with socket.create_server(("127.0.0.1", 0), backlog=512) as sock, (folder / "log").open("wb") as log:
        command = [sys.executable, "-m", "gunicorn", "--no-control-socket", "-k", "gthread", "--threads", "32"]
        command += ["-b", f"fd://{sock.fileno()}", "httpbin:app"]
        process = subprocess.Popen(
            command, pass_fds=[sock.fileno()], stdout=log, stderr=log, cwd=folder, start_new_session=True
        )
        try:
            yield f"http://127.0.0.1:{sock.getsockname()[1]}"
        finally:
            os.killpg(process.pid, signal.SIGKILL)  # it would wait for what it still delays
            process.wait()


@pytest.fixture(scope="session")
def plain(httpbin: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway of two workers that passes everything to httpbin."""
    folder = tmp_path_factory.mktemp("plain")
    cert, key = Authority(folder).pair()
    file = folder / "gateway.yaml"
    file.write_text(f"""
version: 1
workers: 2
listeners:
  - {{name: public, bind: "127.0.0.1:0"}}
  - {{name: secure, bind: "127.0.0.1:0", tls: {{certificates: [{{cert: {cert}, key: {key}}}]}}}}
upstreams:
  httpbin: {{endpoints: ["{httpbin}"]}}
routes:
  - {{name: all, match: {{paths: ["/*"]}}, to: httpbin}}
  - name: hurried
    match: {{paths: ["/hurried/*"]}}
    rewrite: {{strip_prefix: /hurried}}
    timeouts: {{first_byte: 400ms, idle: 400ms}}
    to: httpbin
""")
    made = Gateway(file).start()
    yield made
    assert made.stop() == 0
    assert [event for event in made.events if event["level"] == "error"] == []
    assert made.other_lines == []


Everywhere = Callable[..., tuple[Answer, dict[str, Answer]]]


def port_of(url: str) -> int:
    return int(url.rpartition(":")[2])


@dataclass(frozen=True, slots=True)
class Way:
    """A version of HTTP, with or without TLS, and how curl is told to use it."""

    name: str
    url: str
    version: str
    options: tuple[str, ...] = ()

    @property
    def is_h2(self) -> bool:
        return self.version == "2"


#: name → listener, version that is spoken in the end, options of curl. Nobody is upgraded in clear text (RFC 9113
#: section 3.1): who offers that goes on with HTTP/1.1.
WAYS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "http1": ("public", "1.1", ("--http1.1",)),
    "h2c": ("public", "2", ("--http2-prior-knowledge",)),
    "upgrade": ("public", "1.1", ("--http2",)),
    "http1 tls": ("secure", "1.1", ("--http1.1",)),
    "h2": ("secure", "2", ("--http2",)),
}


def way_to(gateway: Gateway, name: str) -> Way:
    """One of :data:`WAYS` to this gateway."""
    listener, version, options = WAYS[name]
    url = gateway.url_of(listener)
    if listener == "secure":
        url = url.replace("http:", "https:")
        options += ("--cacert", str(ca_of(gateway)))
    return Way(name, url, version, options)


def ca_of(gateway: Gateway) -> Path:
    """The certificate of who has signed the gateway's."""
    return gateway.files[0].with_name("authority.pem")


@pytest.fixture
def everywhere(httpbin: str, plain: Gateway) -> Everywhere:
    """The answers that httpbin gives directly and, in every way, through the gateway, made comparable."""

    def ask(request: Callable[[Way], Answer], without: Collection[str] = ()) -> tuple[Answer, dict[str, Answer]]:
        ways = [Way("direct", httpbin, "1.1"), *(way_to(plain, name) for name in WAYS if name not in without)]
        answers = {way.name: request(way).comparable(port_of(way.url)) for way in ways}
        return answers.pop("direct"), answers

    return ask
