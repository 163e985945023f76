"""What reading one head costs: anew, with changes, and repeated.

    python benchmarks/micro/bench_h1_head.py

The figures in the docstrings of ``wire/h1.py`` and ``wire/sections.py`` come from here.
"""

from __future__ import annotations

import time
import timeit
from collections.abc import Callable

from gatewright.wire import h1
from gatewright.wire.chunked import ChunkedReader
from gatewright.wire.h1 import RequestFields, parse_status_line, read_request_line
from gatewright.wire.sections import Sections

FIELDS = (
    b"Host: api.example.com\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36\r\n"
    b"Accept: text/html,application/json\r\nAccept-Language: en-US,en;q=0.5\r\nAccept-Encoding: gzip, deflate, br\r\n"
    b"Authorization: Bearer abcdefghijklmnop\r\nCookie: a=b; c=d; session=0123456789abcdef\r\n"
    b"X-Request-Id: %d\r\nX-Trace: %d\r\nReferer: https://example.com/a/b/%d"
)
COUNT = 2000
ONE = [FIELDS % (i, 0, 0) for i in range(COUNT)]
THREE = [FIELDS % (i, i, i) for i in range(COUNT)]
LINES = [b"GET /api/widgets/%d?x=1 HTTP/1.1" % i for i in range(COUNT)]


def read_all(sections: list[bytes]) -> Callable[[], None]:
    read = Sections(RequestFields).read

    def run() -> None:
        for section in sections:
            read(section, 128)

    return run


def anew() -> None:
    for section in ONE:
        RequestFields(section, 128)


def lines(*, known: bool) -> Callable[[], None]:
    def run() -> None:
        if not known:
            h1._REQUEST_LINES.clear()
        for line in LINES:
            read_request_line(line)

    return run


def status_lines() -> None:
    for _ in range(COUNT):
        parse_status_line(b"HTTP/1.1 200 OK")


def chunks() -> None:
    for _ in range(COUNT):
        ChunkedReader().feed(b"5\r\nhello\r\n0\r\n\r\n")


def measure(name: str, run: Callable[[], None]) -> None:
    run()
    best = min(timeit.repeat(run, number=1, repeat=20, timer=time.process_time))
    print(f"{name:34} {best / COUNT * 1e6:6.2f} µs")


def main() -> None:
    measure("ten fields, anew", anew)
    measure("ten fields, three changed", read_all(THREE))
    measure("ten fields, the same one changed", read_all(ONE))
    measure("ten fields, repeated", read_all([ONE[0]] * COUNT))
    measure("request line, anew", lines(known=False))
    measure("request line, known", lines(known=True))
    measure("status line, known", status_lines)
    measure("chunked body of five octets", chunks)


if __name__ == "__main__":
    main()
