"""What is kept, and that it stays within its bounds."""

from __future__ import annotations

from gatewright.wire.h2 import memo
from gatewright.wire.h2.memo import Memo


def look_up(kept: Memo[bytes, bytes], key: bytes) -> bytes | None:
    """As those do who use it; the value is the key itself."""
    found = kept.get(key)
    if found is None and kept.again(key):
        kept.keep(key, key, 2 * len(key))
    return found


def test_what_comes_twice_is_kept() -> None:
    kept: Memo[bytes, bytes] = Memo(10_000, 100)
    assert [look_up(kept, b"a") for _ in range(4)] == [None, None, b"a", b"a"]
    assert len(kept) == 1


def test_what_comes_once_pushes_nothing_out() -> None:
    kept: Memo[bytes, bytes] = Memo(10_000, 100)
    look_up(kept, b"a")
    look_up(kept, b"a")
    for i in range(3 * memo._MOST_SEEN):
        look_up(kept, b"%d" % i)
    assert look_up(kept, b"a") == b"a"
    assert len(kept) == 1
    assert len(kept._seen) <= memo._MOST_SEEN


def test_the_octets_are_bounded() -> None:
    kept: Memo[bytes, bytes] = Memo(10_000, 100)
    most = 0
    for i in range(1000):
        for _ in range(2):
            look_up(kept, b"%050d" % i)
        most = max(most, len(kept))
    assert most == 10_000 // (100 + memo._OVERHEAD)
    assert kept._octets <= 10_000


def test_what_is_large_is_not_kept() -> None:
    kept: Memo[bytes, bytes] = Memo(10_000, 100)
    for key in (b"a" * 50, b"b" * 51):
        look_up(kept, key)
        look_up(kept, key)
    assert kept.get(b"a" * 50) is not None
    assert kept.get(b"b" * 51) is None


def test_clear() -> None:
    kept: Memo[bytes, bytes] = Memo(10_000, 100)
    kept.keep(b"a", b"1", 2)
    kept.clear()
    assert (len(kept), kept._octets, kept.get(b"a")) == (0, 0, None)
