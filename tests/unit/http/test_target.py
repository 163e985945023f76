"""Request targets: the published table, the forms, the authority, and that nothing else ever comes out."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gatewright.errors import ProtocolError
from gatewright.http.target import check_query, normalise_path, parse_authority, split_target

ROOT = Path(__file__).parents[3]
CORPUS = ROOT / "tests" / "corpus" / "target"

PIECES = st.sampled_from(
    [b"/", b".", b"..", b"%2e", b"%2F", b"%2f", b"%5c", b"%00", b"%25", b";", b"%3b", b"a", b"~", b"%41", b"{", b"%"]
)
PATHS = st.lists(PIECES, max_size=12).map(b"".join).map(b"/".__add__)


def published_table() -> list[tuple[str, str]]:
    text = (ROOT / "docs" / "concepts" / "routing.md").read_text(encoding="utf-8")
    section = text.split("## The path is brought into one form")[1].split("\n## ")[0]
    rows = [line.replace("\\|", "\0").split("|") for line in section.splitlines() if line.startswith("| `")]
    return [
        (row[1].strip().strip("`").replace("\0", "|"), row[2].strip().strip("`").replace("\0", "|")) for row in rows
    ]


@pytest.mark.parametrize(("sent", "becomes"), published_table())
def test_the_published_table(sent: str, becomes: str) -> None:
    if becomes == "400":
        with pytest.raises(ProtocolError) as caught:
            split_target(b"GET", sent.encode())
        assert caught.value.reason == "request.target"
        assert caught.value.status == 400
    else:
        assert split_target(b"GET", sent.encode())[0] == becomes.encode()


def test_the_table_is_there() -> None:
    assert len(published_table()) > 40


@pytest.mark.parametrize(
    ("method", "target", "parts"),
    [
        (b"GET", b"/a", (b"/a", None, b"", b"")),
        (b"GET", b"/a?", (b"/a", b"", b"", b"")),
        (b"GET", b"/a?b?c=%2f", (b"/a", b"b?c=%2f", b"", b"")),
        (b"GET", b"HTTP://Example.com:80/a?b", (b"/a", b"b", b"Example.com:80", b"http")),
        (b"GET", b"https://[::1]", (b"/", None, b"[::1]", b"https")),
        (b"GET", b"http://h?a/b", (b"/", b"a/b", b"h", b"http")),
        (b"OPTIONS", b"*", (b"*", None, b"", b"")),
        (b"OPTIONS", b"/a", (b"/a", None, b"", b"")),
    ],
)
def test_forms(method: bytes, target: bytes, parts: tuple[bytes, bytes | None, bytes, bytes]) -> None:
    assert split_target(method, target) == parts


@pytest.mark.parametrize(
    "target",
    [
        b"",
        b"a",
        b"example.com:443",
        b"http:///a",
        b"http://",
        b"http:/a",
        b"ws://h/",
        b"*a",
        b"/a\x00",
        b"/a\t",
        b"/a\x7f",
        b"/a?b c",
        b"/a?\x80",
        b"/a?b#c",
        b"/a?%4",
        b"http://h/..",
        b"/a\r\nx: y",
    ],
)
def test_refused_targets(target: bytes) -> None:
    with pytest.raises(ProtocolError, match=r"request\.target"):
        split_target(b"GET", target)


@pytest.mark.parametrize("path", [b"", b"a", b"*", b"?"])
def test_a_path_starts_with_a_slash(path: bytes) -> None:
    with pytest.raises(ProtocolError, match="slash"):
        normalise_path(path)


def test_a_normal_path_is_handed_back_itself() -> None:
    path = b"/api/v1/orders/7"
    assert normalise_path(path) is path


def test_queries_may_hold_what_browsers_send() -> None:
    check_query(b'a[]={1}|^`"<>\\&b=%20+/?:@')


@pytest.mark.parametrize(
    ("value", "host"),
    [
        (b"example.com", b"example.com"),
        (b"EXAMPLE.com:8080", b"example.com"),
        (b"example.com.", b"example.com"),
        (b"example.com.:80", b"example.com"),
        (b"example.com:", b"example.com"),
        (b"a_b-c.d", b"a_b-c.d"),
        (b"127.0.0.1:1", b"127.0.0.1"),
        (b"[::1]", b"[::1]"),
        (b"[::1]:", b"[::1]"),
        (b"[0:0:0:0:0:0:0:1]:65535", b"[::1]"),
        (b"[2001:DB8::1]", b"[2001:db8::1]"),
        (b"[::ffff:1.2.3.4]", b"[::ffff:102:304]"),
    ],
)
def test_authorities(value: bytes, host: bytes) -> None:
    # The short form of a mapped address differs between Python versions; both name the same address.
    assert parse_authority(value) in {host, host.replace(b"102:304", b"1.2.3.4")}


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b":80",
        b".",
        b"a..b",
        b".a",
        b"..",
        b"a b",
        b" a",
        b"a ",
        b"a,b",
        b"user@host",
        b"user:pw@host",
        b"a/b",
        b"a?b",
        b"a#b",
        b"a%2eb",
        b"\xc3\xa9",
        b"a:b",
        b"a:65536",
        b"a:123456",
        b"a:+1",
        b"a:1 ",
        b"a:1:2",
        b"[::1",
        b"[]",
        b"[::1]80",
        b"[::1%25eth0]",
        b"[::1%eth0]",
        b"[1.2.3.4]",
        b"[::1]:x",
        b"[\xff]",
        b"::1",
        b"a" * 256,
        b"a\x00",
        b"a\r\n",
    ],
)
def test_refused_authorities(value: bytes) -> None:
    with pytest.raises(ProtocolError) as caught:
        parse_authority(value)
    assert caught.value.reason == "request.host"


@given(PATHS)
@example(b"/%2e%2e%2f")
@example(b"/%25%32%65")
@example(b"/.%2e;/")
def test_normalising_again_changes_nothing(path: bytes) -> None:
    try:
        normal = normalise_path(path)
    except ProtocolError:
        return
    assert normalise_path(normal) == normal


@given(PATHS)
def test_no_reading_of_a_normal_path_leads_elsewhere(path: bytes) -> None:
    """However an upstream reads it (decoded slashes, path parameters cut off), no dot segment is left."""
    try:
        normal = normalise_path(path)
    except ProtocolError:
        return
    assert b"//" not in normal
    assert b"\\" not in normal
    for reading in (normal, normal.replace(b"%2F", b"/")):
        for segment in reading.split(b"/"):
            assert segment.replace(b"%3B", b";").partition(b";")[0] not in {b".", b".."}


@given(st.sampled_from([b"GET", b"OPTIONS"]), st.one_of(st.binary(max_size=40), PATHS))
def test_any_target_is_split_or_refused(method: bytes, target: bytes) -> None:
    try:
        path, query, _authority, scheme = split_target(method, target)
    except ProtocolError as error:
        assert error.reason == "request.target"  # noqa: PT017 - it may raise, and then only this
        return
    assert path.startswith(b"/") or (path == b"*" and method == b"OPTIONS")
    assert (path + (query or b"")).isascii()
    assert not {*path, *(query or b"")} & {0, 9, 10, 13, 32, 35, 127}
    assert scheme in {b"", b"http", b"https"}


@given(st.one_of(st.binary(max_size=30), st.text("[]:.a1%@x", max_size=12).map(str.encode)))
def test_any_authority_is_parsed_or_refused(value: bytes) -> None:
    try:
        host = parse_authority(value)
    except ProtocolError as error:
        assert error.reason == "request.host"  # noqa: PT017 - it may raise, and then only this
        return
    assert host
    assert host == host.lower()
    assert parse_authority(host) == host


@pytest.mark.parametrize("found", sorted(CORPUS.glob("*")), ids=str)
def test_finds_of_the_fuzzer(found: Path) -> None:
    """Every input that once made something else than a ProtocolError."""
    data = found.read_bytes()
    for run in (normalise_path, parse_authority):
        try:
            run(data)
        except ProtocolError:
            continue
