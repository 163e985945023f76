from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gatewright.policies.ip_filter import IpFilterConfig
from gatewright.sdk import InvalidPolicy


@pytest.mark.parametrize(
    ("config", "address", "passes"),
    [
        ({"allow": ["10.0.0.0/8", "127.0.0.1"]}, "10.1.2.3", True),
        ({"allow": ["10.0.0.0/8", "127.0.0.1"]}, "127.0.0.1", True),
        ({"allow": ["10.0.0.0/8", "127.0.0.1"]}, "127.0.0.2", False),
        ({"allow": ["10.0.0.0/8"]}, "11.0.0.0", False),
        ({"allow": ["10.0.0.0/8"]}, "2001:db8::1", False),
        ({"allow": ["2001:db8::/32"]}, "2001:db8::1", True),
        ({"allow": ["10.0.0.0/8"]}, "::ffff:10.0.0.1", True),
        ({"allow": ["0.0.0.0/0"]}, "203.0.113.9", True),
        ({"deny": ["10.0.0.0/8"]}, "10.1.2.3", False),
        ({"deny": ["10.0.0.0/8"]}, "192.0.2.1", True),
        ({"deny": ["fe80::/10"]}, "fe80::1%eth0", False),
        ({"allow": ["10.0.0.0/8"], "deny": ["10.6.6.6"]}, "10.6.6.6", False),
        ({"allow": ["10.0.0.0/8"]}, "", False),
        ({"deny": ["10.0.0.0/8"]}, "unix:", True),
    ],
)
def test_verdicts(bench: Any, send: Any, reason: Any, config: dict[str, Any], address: str, passes: bool) -> None:
    policy = bench.policy("ip_filter", config)
    for _ in range(2):  # the second time from memory
        ex = send(policy, client_addr=address)
        assert reason(ex) == (None if passes else (403, "ip_filter.denied"))


def test_lists_from_files(tmp_path: Path, bench: Any, send: Any, reason: Any) -> None:
    (tmp_path / "bad.txt").write_text("# known bad\n192.0.2.1  # him\n\n2001:db8::/32\n")
    files: list[Path] = []
    config = IpFilterConfig.model_validate(
        {"deny": ["198.51.100.0/24"], "deny_files": ["bad.txt"]}, context={"base": tmp_path, "files": files}
    )
    assert files == [tmp_path / "bad.txt"]
    assert config.deny == ("198.51.100.0/24", "192.0.2.1/32", "2001:db8::/32")
    policy = bench.policy("ip_filter", config.model_dump(mode="json", exclude_unset=True))
    assert reason(send(policy)) == (403, "ip_filter.denied")


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "cannot read"), (b"\xff\xfe", "UTF-8"), (b"10.0.0.0/33", "address range")],
)
def test_files_that_cannot_be_used(tmp_path: Path, content: bytes | None, message: str) -> None:
    if content is not None:
        (tmp_path / "list").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        IpFilterConfig.model_validate({"allow_files": ["list"]}, context={"base": tmp_path})


def test_an_empty_filter_is_refused(bench: Any) -> None:
    with pytest.raises(InvalidPolicy, match="allow or deny"):
        bench.policy("ip_filter")


def test_many_addresses_do_not_grow_it(bench: Any, send: Any) -> None:
    policy = bench.policy("ip_filter", deny=["10.0.0.0/8"])
    for n in range(5000):
        send(policy, client_addr=f"192.0.{n >> 8}.{n & 255}")
    assert len(policy._verdicts) <= 4096
