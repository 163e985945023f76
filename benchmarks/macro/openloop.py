"""Open-loop load: requests leave at fixed times, whatever the answers do.

``python -m benchmarks.macro.openloop --port P --rate 2000 --seconds 5 --connections 64`` prints one JSON object.

A latency is counted from the moment a request *should* have left, not from when it left: a proxy that stalls for 50 ms
makes all requests due in those 50 ms late, and all of them are counted (no coordinated omission). A kernel timer
(timerfd) drives the schedule, because the millisecond timers of event loops are coarser than what is measured here.
When all connections are busy a request waits here, and its clock runs.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import select
import socket
import struct
import sys
import time
from collections import deque
from typing import Any

from benchmarks.macro.client import HEADERS

#: Failures are told one by one up to this many.
MAX_TOLD = 1000
_libc = ctypes.CDLL(None, use_errno=True)


def percentile(ordered: list[float], share: float) -> float:
    """The smallest value that at least ``share`` of the ordered values do not exceed; 0.0 without values."""
    if not ordered:
        return 0.0
    return ordered[min(len(ordered) - 1, max(0, -int(-share * len(ordered) // 1) - 1))]


def _timerfd(interval: float) -> int:
    """A descriptor that becomes readable every ``interval`` seconds."""
    fd: int = _libc.timerfd_create(1, os.O_NONBLOCK | os.O_CLOEXEC)  # 1 = CLOCK_MONOTONIC
    nanoseconds = max(1, round(interval * 1e9))
    spec = struct.pack("qqqq", *divmod(nanoseconds, 10**9), *divmod(nanoseconds, 10**9))
    if fd < 0 or _libc.timerfd_settime(fd, 0, spec, None) < 0:
        raise OSError(ctypes.get_errno(), "timerfd")
    return fd


class Connection:
    """One kept-alive connection with at most one request on it."""

    __slots__ = ("buffer", "due", "need", "sock")

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.buffer = b""
        self.need = -1  # length of the whole answer, once its head is here
        self.due = 0.0  # when the request on it should have left; 0.0 = idle


class OpenLoop:
    """The generator. Single-threaded: one epoll loop over the timer and the connections."""

    def __init__(self, port: int, rate: float, seconds: float, connections: int, path: str) -> None:
        self.port = port
        self.rate = rate
        self.seconds = seconds
        fields = "".join(f"{name}: {value}\r\n" for name, value in HEADERS.items())
        self.request = f"GET {path} HTTP/1.1\r\n{fields}\r\n".encode()
        self.epoll = select.epoll()
        self.by_fd: dict[int, Connection] = {}
        self.idle: deque[Connection] = deque()
        self.waiting: deque[float] = deque()
        self.latencies: list[float] = []
        self.failures: list[tuple[float, str]] = []
        self.failed = 0
        self.statuses: dict[str, int] = {}
        self.started = 0.0
        self.connections = connections
        for _ in range(connections):
            if wrong := self._open():
                self._fail(wrong)

    def _open(self) -> str:
        """Open a connection; returns what went wrong, or nothing."""
        try:
            sock = socket.create_connection(("127.0.0.1", self.port), timeout=5.0)
        except OSError as error:
            return f"connect: {error.strerror or error}"
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setblocking(False)
        connection = Connection(sock)
        self.by_fd[sock.fileno()] = connection
        self.epoll.register(sock.fileno(), select.EPOLLIN)
        self.idle.append(connection)
        return ""

    def _close(self, connection: Connection) -> None:
        fd = connection.sock.fileno()
        self.epoll.unregister(fd)
        del self.by_fd[fd]
        connection.sock.close()
        try:
            self.idle.remove(connection)
        except ValueError:
            pass

    def _fail(self, kind: str) -> None:
        self.failed += 1
        if len(self.failures) < MAX_TOLD:
            self.failures.append((round(time.time(), 4), kind))

    def _send(self, due: float) -> None:
        if not self.idle and len(self.by_fd) < self.connections and (wrong := self._open()):
            self._fail(wrong)
            return
        if not self.idle:
            self.waiting.append(due)
            return
        connection = self.idle.popleft()
        connection.due = due
        try:
            connection.sock.send(self.request)
        except OSError:
            self._broken(connection, "reset")

    def _broken(self, connection: Connection, kind: str) -> None:
        if connection.due:
            self._fail(kind)
        self._close(connection)
        self._next()

    def _next(self) -> None:
        """A connection has become free, or may be opened anew: the longest waiting request goes."""
        if self.waiting:
            self._send(self.waiting.popleft())

    def _readable(self, connection: Connection) -> None:
        try:
            data = connection.sock.recv(262144)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._broken(connection, "closed before the answer")
            return
        connection.buffer = data = connection.buffer + data if connection.buffer else data
        if connection.need < 0 and not self._head(connection, data):
            return
        if len(data) >= connection.need:
            self._answered(connection, data)

    def _head(self, connection: Connection, data: bytes) -> bool:
        end = data.find(b"\r\n\r\n")
        if end < 0:
            return False
        head = data[:end].lower()
        at = head.find(b"content-length:")
        if at < 0:
            self._broken(connection, "no content-length")
            return False
        connection.need = end + 4 + int(head[at + 15 :].split(b"\r\n", 1)[0])
        return True

    def _answered(self, connection: Connection, data: bytes) -> None:
        self.latencies.append(time.monotonic() - connection.due)
        status = data[9:12].decode("latin-1")
        self.statuses[status] = self.statuses.get(status, 0) + 1
        if not "200" <= status < "400":
            self._fail(f"status {status}")
        closing = b"\r\nconnection: close\r\n" in data[: data.find(b"\r\n\r\n") + 2].lower()
        connection.buffer = b""
        connection.need = -1
        connection.due = 0.0
        if closing:
            self._close(connection)
        else:
            self.idle.append(connection)
        self._next()

    def run(self) -> dict[str, Any]:
        """Send for the whole time, wait a little for the last answers, and sum up."""
        interval = 1.0 / self.rate
        timer = _timerfd(interval)
        self.epoll.register(timer, select.EPOLLIN)
        total = int(self.rate * self.seconds)
        self.started = time.monotonic()
        sent = 0
        deadline = self.started + self.seconds + 5.0
        while time.monotonic() < deadline and (sent < total or self.waiting or len(self.idle) < len(self.by_fd)):
            for fd, _ in self.epoll.poll(0.5):
                if fd != timer:
                    connection = self.by_fd.get(fd)
                    if connection is not None:
                        self._readable(connection)
                    continue
                ticks = struct.unpack("Q", os.read(timer, 8))[0]
                for _ in range(min(ticks, total - sent)):
                    sent += 1
                    self._send(self.started + sent * interval)
        os.close(timer)
        return self._summary(sent)

    def close(self) -> None:
        """Close all connections."""
        for connection in list(self.by_fd.values()):
            self._close(connection)
        self.epoll.close()

    def _summary(self, sent: int) -> dict[str, Any]:
        unanswered = len(self.waiting) + len(self.by_fd) - len(self.idle)
        self.failed += unanswered
        ordered = sorted(self.latencies)
        return {
            "sent": sent,
            "answered": len(ordered),
            "failed": self.failed,
            "unanswered": unanswered,
            "statuses": self.statuses,
            "p50_us": percentile(ordered, 0.50) * 1e6,
            "p99_us": percentile(ordered, 0.99) * 1e6,
            "p999_us": percentile(ordered, 0.999) * 1e6,
            "max_us": ordered[-1] * 1e6 if ordered else 0.0,
            "failures": self.failures,
        }


def main() -> int:
    """Command line of the generator."""
    parser = argparse.ArgumentParser(description="Open-loop HTTP load on 127.0.0.1; prints JSON.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--path", default="/api/widgets/42")
    parser.add_argument("--rate", type=float, default=2000.0, help="requests per second")
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--connections", type=int, default=64)
    options = parser.parse_args()
    loop = OpenLoop(options.port, options.rate, options.seconds, options.connections, options.path)
    print(json.dumps(loop.run()))
    loop.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
