"""Load of nothing but TLS handshakes.

``python -m benchmarks.macro.handshakes --port P --ca FILE --version 1.3 --kind full`` prints one JSON object.

Threads make one connection after the other: connect, handshake, close_notify, and read until the server has closed, so
that its session tickets arrive and no connection is reset. ``resumed`` begins each with the ticket of the one
before; a handshake that was to be resumed and was not is a failure.
"""

from __future__ import annotations

import argparse
import json
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable

from benchmarks.macro.protocols import CIPHER, HOST

THREADS = 8
#: So many kinds of failures are told.
MAX_TOLD = 5


def _done(step: Callable[[], object]) -> bool:
    """Try; whether nothing more has to come for it."""
    try:
        step()
    except ssl.SSLWantReadError:
        return False
    except ssl.SSLZeroReturnError:
        pass  # the other end has said good-bye
    return True


class Clients:
    """All threads, and what they have done together."""

    def __init__(self, port: int, ca: str, version: str, *, resumed: bool) -> None:
        self.port = port
        self.resumed = resumed
        self.context = ssl.create_default_context(cafile=ca)
        self.context.set_ciphers(CIPHER)
        only = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}[version]
        self.context.minimum_version = self.context.maximum_version = only
        self.done = 0
        self.failed = 0
        self.failures: list[str] = []
        self._lock = threading.Lock()
        self._end = 0.0

    def shake(self, session: ssl.SSLSession | None) -> tuple[ssl.SSLSession | None, bool]:
        """One connection: the session for the next, and whether this one was resumed. Raises OSError."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=5.0) as tcp:
            tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            tls = self.context.wrap_bio(incoming, outgoing, server_hostname=HOST, session=session)
            while not _done(tls.do_handshake):
                tcp.sendall(outgoing.read())
                data = tcp.recv(16_384)
                if not data:
                    raise ConnectionError("closed in the middle of the handshake")
                incoming.write(data)
            _done(tls.unwrap)  # says good-bye; the server's tickets and its own good-bye are still to come
            tcp.sendall(outgoing.read())
            tcp.shutdown(socket.SHUT_WR)
            while data := tcp.recv(16_384):
                incoming.write(data)
            _done(tls.read)
            return tls.session, tls.session_reused

    def _work(self) -> None:
        session = None
        begun = False
        while time.monotonic() < self._end:
            try:
                session, reused = self.shake(session if self.resumed else None)
                wrong = "" if reused == (self.resumed and begun) else f"resumed: {reused}"
            except OSError as error:
                wrong = f"{type(error).__name__}: {error}"
            with self._lock:
                if wrong:
                    self.failed += 1
                    if wrong not in self.failures and len(self.failures) < MAX_TOLD:
                        self.failures.append(wrong)
                self.done += not wrong
            begun = begun or not wrong

    def run(self, seconds: float) -> dict[str, object]:
        """Shake hands for so long, and sum up."""
        started = time.monotonic()
        self._end = started + seconds
        threads = [threading.Thread(target=self._work) for _ in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        took = time.monotonic() - started
        return {"done": self.done, "failed": self.failed, "failures": self.failures, "seconds": took}


def main() -> int:
    """Command line of the load."""
    parser = argparse.ArgumentParser(description="TLS handshakes with 127.0.0.1; prints JSON.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--ca", required=True, help="certificate to trust, PEM")
    parser.add_argument("--version", choices=("1.2", "1.3"), default="1.3")
    parser.add_argument("--kind", choices=("full", "resumed"), default="full")
    parser.add_argument("--seconds", type=float, default=5.0)
    options = parser.parse_args()
    clients = Clients(options.port, options.ca, options.version, resumed=options.kind == "resumed")
    print(json.dumps(clients.run(options.seconds)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
