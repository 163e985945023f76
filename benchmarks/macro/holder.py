"""Hold many connections open: idle ones after one answer, or slow readers of a large answer.

``python -m benchmarks.macro.holder --port P --connections N [--path /files/10m --pace BYTES]`` prints ``ready N`` when
all connections are in place and ends when its standard input is closed.
"""

from __future__ import annotations

import argparse
import select
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.macro.client import HEADERS
from benchmarks.macro.procs import BenchError

#: Connections a source address may have; ephemeral ports are about 28,000 on a fresh machine.
PER_ADDRESS = 5000
#: What the kernel may buffer for a slow reader, so that the proxy is the one who waits.
RECEIVE_BUFFER = 64 * 1024


def _request(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\n{''.join(f'{k}: {v}{chr(13)}{chr(10)}' for k, v in HEADERS.items())}\r\n".encode()


def _connect(port: int, number: int, slow: bool) -> socket.socket:
    sock = socket.socket()
    if slow:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
    sock.settimeout(10.0)
    sock.bind((f"127.0.0.{2 + number // PER_ADDRESS}", 0))
    sock.connect(("127.0.0.1", port))
    return sock


def _answer(sock: socket.socket) -> None:
    """Read one small answer with Content-Length completely."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = sock.recv(65536)
        if not piece:
            raise ConnectionError("closed before an answer")
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200"):
        raise ConnectionError(head.split(b"\r\n", 1)[0].decode("latin-1"))
    length = int(head.lower().split(b"content-length:", 1)[1].split(b"\r\n", 1)[0])
    while len(body) < length:
        body += sock.recv(65536)


def _hold(sockets: list[socket.socket], pace: int) -> int:
    """Until standard input ends; slow readers take ``pace`` bytes a second each. Returns how many were closed on us."""
    closed = 0
    while not select.select([sys.stdin], [], [], 0.25)[0]:
        for sock in sockets if pace else ():
            try:
                closed += sock.recv(max(1, pace // 4)) == b""
            except BlockingIOError:
                continue
    if not pace:
        readable = select.poll()
        for sock in sockets:
            readable.register(sock, select.POLLIN)
        closed = len(readable.poll(0))  # nothing was asked: whatever is readable is an end or an error
    return closed


def main() -> int:
    """Command line of the holder."""
    parser = argparse.ArgumentParser(description="Hold connections to 127.0.0.1 open.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--connections", type=int, required=True)
    parser.add_argument("--path", default="/api/widgets/42")
    parser.add_argument("--pace", type=int, default=0, help="bytes a second for each reader; 0 = one answer, then idle")
    options = parser.parse_args()
    request = _request(options.path)
    sockets = []
    for number in range(options.connections):
        sock = _connect(options.port, number, bool(options.pace))
        sock.sendall(request)
        if not options.pace:
            _answer(sock)
        sock.setblocking(False)
        sockets.append(sock)
    print(f"ready {len(sockets)}", flush=True)
    print(f"closed {_hold(sockets, options.pace)}", flush=True)
    return 0


class Held:
    """Connections held by a process beside us."""

    def __init__(self, popen: subprocess.Popen[str]) -> None:
        self._popen = popen
        self.closed: int | None = None

    def release(self) -> None:
        """Let go; :attr:`closed` is then how many the proxy had closed meanwhile."""
        assert self._popen.stdin is not None
        assert self._popen.stdout is not None
        self._popen.stdin.close()
        line = self._popen.stdout.readline()
        self.closed = int(line.split()[1]) if line.startswith("closed ") else None


@contextmanager
def held(command: list[str], cwd: str, settle: float) -> Iterator[Held]:
    """Start a holder, wait until it is ready and ``settle`` seconds more."""
    popen = subprocess.Popen(
        command, cwd=cwd, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert popen.stdout is not None
        assert popen.stderr is not None
        if not popen.stdout.readline().startswith("ready"):
            raise BenchError(f"connections could not be held: {popen.stderr.read().strip()[-300:]}")
        time.sleep(settle)
        yield Held(popen)
    finally:
        popen.kill()
        popen.wait()
        for pipe in (popen.stdin, popen.stdout, popen.stderr):
            if pipe is not None:
                pipe.close()


if __name__ == "__main__":
    sys.exit(main())
