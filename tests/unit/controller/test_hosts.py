import os
from pathlib import Path

from gatewright.controller.hosts import LIMIT, HostsFile


def test_names_comments_and_nonsense(tmp_path: Path) -> None:
    path = tmp_path / "hosts"
    path.write_text(
        "# 10.0.0.9 no\n10.0.0.1\tOne.test one # two.test\nfd00::1 one.test.\n300.1.1.1 bad\nwords only\n\n"
    )
    hosts = HostsFile(path)
    assert hosts.look_up("ONE.test") == ("10.0.0.1", "fd00::1")
    assert hosts.look_up("one") == ("10.0.0.1",)
    for name in ("no", "two.test", "bad", "only", ""):
        assert hosts.look_up(name) == ()


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "hosts"
    path.write_text("10.0.0.1 one\n")
    hosts = HostsFile(path)
    assert hosts.look_up("one") == ("10.0.0.1",)
    path.write_text("10.0.0.2 one\n")
    os.utime(path, ns=(1, 1))
    assert hosts.look_up("one") == ("10.0.0.2",)
    path.unlink()
    assert hosts.look_up("one") == ()


def test_a_huge_file_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "hosts"
    path.write_text("10.0.0.1 one\n" + "#" * LIMIT)
    assert HostsFile(path).look_up("one") == ()


def test_localhost_needs_no_file(tmp_path: Path) -> None:
    hosts = HostsFile(tmp_path / "none")
    assert hosts.look_up("localhost.") == ("127.0.0.1",)
    assert hosts.look_up("app.LOCALHOST") == ("127.0.0.1",)
    assert hosts.look_up("localhost.example") == ()
