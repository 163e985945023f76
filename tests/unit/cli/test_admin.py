from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from gatewright.cli import admin
from gatewright.cli.admin import Admin, Unreachable, find

Answer = tuple[int, bytes]
Serve = Callable[[Callable[[str, str | None], Answer]], str]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts a server that answers with what a function of path and Authorization says; gives its address."""
    servers: list[ThreadingHTTPServer] = []

    def start(answer: Callable[[str, str | None], Answer]) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                status, body = answer(self.path, self.headers.get("authorization"))
                self.send_response(status)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *arguments: Any) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, args=(0.005,), daemon=True).start()
        return f"127.0.0.1:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def test_the_status_is_fetched_with_the_token(serve: Serve) -> None:
    seen: list[tuple[str, str | None]] = []

    def answer(path: str, authorization: str | None) -> Answer:
        seen.append((path, authorization))
        return 200, b'{"ready": true}'

    assert Admin(serve(answer), "t0ken").status() == {"ready": True}
    assert seen == [("/status", "Bearer t0ken")]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ((401, b'{"title": "A valid token is needed"}'), "answers 401 A valid token is needed"),
        ((200, b"hello"), "without JSON"),
        ((200, b"[]"), "answers 200"),
    ],
)
def test_what_is_no_status_is_unreachable(serve: Serve, answer: Answer, message: str) -> None:
    with pytest.raises(Unreachable, match=message):
        Admin(serve(lambda path, authorization: answer)).status()


def test_nobody_there_is_unreachable() -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))  # taken, but nobody listens
        with pytest.raises(Unreachable, match="no gateway answers"):
            Admin(f"127.0.0.1:{sock.getsockname()[1]}").status()


def test_a_unix_socket_works(tmp_path: Path) -> None:
    path = tmp_path / "admin.sock"
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(path))
    server.listen(1)

    def answer() -> None:
        connection, _ = server.accept()
        connection.recv(4096)
        body = json.dumps({"ready": False}).encode()
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))
        connection.close()

    thread = threading.Thread(target=answer)
    thread.start()
    assert Admin(f"unix:{path}").status() == {"ready": False}
    thread.join()
    server.close()


@pytest.mark.parametrize(
    ("given", "address"),
    [
        ("http://127.0.0.1:9900", "127.0.0.1:9900"),
        ("127.0.0.1:9900", "127.0.0.1:9900"),
        ("http://[::1]:9900/", "[::1]:9900"),
        ("unix:admin.sock", "unix:admin.sock"),
    ],
)
def test_addresses_are_understood(given: str, address: str) -> None:
    assert find(given, [], {}).address == address


def test_the_environment_comes_next() -> None:
    found = find(None, [], {admin.ADDRESS_VARIABLE: "127.0.0.1:1", admin.TOKEN_VARIABLE: "t"})
    assert (found.address, found.token) == ("127.0.0.1:1", "t")


def test_then_the_configuration(tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text(
        "version: 1\nlisteners: [{name: a, bind: 127.0.0.1:0}]\n"
        "admin: {bind: 127.0.0.1:9911, token: abcdefghijklmnop}\n"
        "routes: [{name: a, match: {paths: [/a]}, respond: {status: 204}}]\n",
        encoding="utf-8",
    )
    found = find(None, [file], {})
    assert (found.address, found.token) == ("127.0.0.1:9911", "abcdefghijklmnop")


def test_without_any_of_them_it_says_what_to_give(tmp_path: Path) -> None:
    with pytest.raises(Unreachable, match="--admin"):
        find(None, [tmp_path / "none.yaml"], {})
    with pytest.raises(Unreachable, match="expected http://"):
        find("https://127.0.0.1:1", [], {})
