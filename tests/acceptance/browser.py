"""A real browser, and the site that it visits: pages, streams, events, WebSockets, uploads."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import pytest
import websockets
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from websockets.asyncio.server import Server, ServerConnection, serve

from gatewright.testing.origin import Connection, Origin, Seen

PAGE = Path(__file__).with_name("page")
TYPES = {".html": b"text/html", ".js": b"text/javascript", ".css": b"text/css", ".svg": b"image/svg+xml"}
ASSETS = {
    "style.css": b"#styled { color: rgb(1, 2, 3) }\n",
    "classic.js": b"window.classic = 'has run';\n",
    "picture.svg": b'<svg xmlns="http://www.w3.org/2000/svg" width="7" height="5"/>',
    "icon.svg": b'<svg xmlns="http://www.w3.org/2000/svg" width="1" height="1"/>',
}
PIECES = 5


class Site:
    """Two origins: one for HTTP/1.1, one for WebSockets.

    What is sent in pieces goes on when the page has said that it has seen the piece before.
    """

    def __init__(self) -> None:
        self.origin = Origin(self._serve)
        #: What the page has sent in the end.
        self.beacon: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        #: The requests that wait for one another, and how many of them there will be.
        self.together = 0
        self.of_them = 1
        self._pieces: set[str] = set()
        self._changed = asyncio.Condition()
        self._sockets: Server
        #: Called with what the page has seen.
        self.on_seen: Callable[[str], None] | None = None

    async def __aenter__(self) -> Self:
        await self.origin.start()
        self._sockets = await serve(_chat, "127.0.0.1", 0, subprotocols=[websockets.Subprotocol("chat")])
        return self

    async def __aexit__(self, *_: object) -> None:
        self._sockets.close()
        await self._sockets.wait_closed()
        await self.origin.stop()
        assert self.origin.errors == []

    @property
    def sockets_url(self) -> str:
        """Where the WebSockets are."""
        return f"http://127.0.0.1:{next(iter(self._sockets.sockets)).getsockname()[1]}"

    async def _until(self, what: str) -> None:
        async with self._changed:
            await self._changed.wait_for(lambda: what in self._pieces)

    async def _serve(self, connection: Connection) -> None:
        while (seen := await connection.request()) is not None:
            _, first, *rest = seen.target.decode().partition("?")[0].split("/")
            await getattr(self, f"_{first or 'page'}")(connection, seen, *rest)

    # --- what there is ------------------------------------------------------------------------------------------------

    async def _page(self, connection: Connection, seen: Seen) -> None:
        await self._file(connection, seen, "index.html", (PAGE / "index.html").read_bytes())

    async def _asset(self, connection: Connection, seen: Seen, name: str) -> None:
        await self._file(connection, seen, name, ASSETS.get(name) or (PAGE / name).read_bytes())

    async def _file(self, connection: Connection, seen: Seen, name: str, body: bytes) -> None:
        await connection.answer(seen, body, headers=b"content-type: %b\r\n" % TYPES[Path(name).suffix])

    async def _seen(self, connection: Connection, seen: Seen, what: str, number: str) -> None:
        """The page has seen a piece."""
        if self.on_seen is not None:
            self.on_seen(f"{what}/{number}")
        async with self._changed:
            self._pieces.add(f"{what}/{number}")
            self._changed.notify_all()
        await connection.answer(seen)

    async def _stream(self, connection: Connection, _seen: Seen) -> None:
        await connection.send(b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ntransfer-encoding: chunked\r\n\r\n")
        for number in range(1, PIECES + 1):
            await connection.send(b"7\r\npiece %d\r\n" % number)
            await self._until(f"stream/{number}")
        await connection.send(b"0\r\n\r\n")

    async def _events(self, connection: Connection, seen: Seen) -> None:
        """Events one by one. The first connection ends early: a browser comes back and says what it has seen."""
        assert seen.get(b"accept") == b"text/event-stream"
        last = int(seen.get(b"last-event-id") or 0)
        await connection.send(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
        )
        await _chunk(connection, b"retry: 20\n\n")
        for number in range(last + 1, PIECES + 1):
            await _chunk(connection, b"id: %d\ndata: event %d\n\n" % (number, number))
            await self._until(f"events/{number}")
            if number == 2:
                break
        else:
            await _chunk(connection, b"event: end\ndata:\n\n")
        await connection.send(b"0\r\n\r\n")

    async def _together(self, connection: Connection, seen: Seen, number: str) -> None:
        """Answers when all of them are here."""
        async with self._changed:
            self.together += 1
            self._changed.notify_all()
            await self._changed.wait_for(lambda: self.together >= self.of_them)
        await connection.answer(seen, b"number %b" % number.encode())

    async def _upload(self, connection: Connection, seen: Seen) -> None:
        said = {"octets": len(seen.body), "sum": hashlib.sha256(seen.body).hexdigest()}
        await connection.answer(seen, json.dumps(said).encode())

    async def _cookies(self, connection: Connection, seen: Seen) -> None:
        await connection.answer(seen, b"|".join(seen.all(b"cookie")))

    async def _beacon(self, connection: Connection, seen: Seen) -> None:
        await connection.answer(seen)
        self.beacon.set_result(json.loads(seen.body))


async def _chunk(connection: Connection, data: bytes) -> None:
    await connection.send(b"%x\r\n%b\r\n" % (len(data), data))


async def _chat(connection: ServerConnection) -> None:
    """Says what it hears, until it hears ``close``."""
    async for message in connection:
        if message == "close":
            await connection.close(4001, "as you wish")
            return
        await connection.send(message)


def pin(certificate: Path) -> str:
    """The hash of a certificate's public key, as ``--ignore-certificate-errors-spki-list`` wants it."""
    key = x509.load_pem_x509_certificate(certificate.read_bytes()).public_key()
    der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(hashlib.sha256(der).digest()).decode()


class Chromium:
    """Debian's browser without a window. All names that end in ``.test`` are this machine, no others are known.

    Args:
        folder: Where it keeps its profile and its log.
        pins: Of certificates that it is to trust although it does not know who signed them.
    """

    def __init__(self, folder: Path, *pins: str) -> None:
        program = shutil.which("chromium")
        if program is None:
            pytest.skip("chromium is not installed")
        self._command = [
            program,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-quic",
            "--no-first-run",
            "--no-proxy-server",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--host-resolver-rules=MAP *.test 127.0.0.1, MAP * ~NOTFOUND",
            f"--ignore-certificate-errors-spki-list={','.join(pins)}",
            f"--user-data-dir={folder / 'profile'}",
            "--enable-logging=stderr",
        ]
        self.log = folder / "chromium.log"
        self._process: asyncio.subprocess.Process

    async def visit(self, url: str) -> Self:
        """Open a page; it stays open until :meth:`close`."""
        with self.log.open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self._command, url, stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        return self

    async def close(self) -> None:
        """End it and all its processes."""
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass  # it has ended by itself, which the test will have noticed
        await self._process.wait()

    def said(self) -> str:
        """The end of its log, for whoever asks why."""
        return self.log.read_text("utf-8", "replace")[-4000:]
