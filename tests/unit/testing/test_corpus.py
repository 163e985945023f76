from __future__ import annotations

from pathlib import Path

import pytest

from gatewright.testing.corpus import Case, Request, decode, read_case, read_corpus

CORPUS = Path(__file__).parents[2] / "corpus" / "h1"


@pytest.mark.parametrize(
    ("text", "octets"),
    [
        (rb"a\r\n\t\0\\b", b"a\r\n\t\0\\b"),
        (rb"\x00\xff{x}", b"\x00\xff{x}"),
        (rb"\{3*ab\r\n}c", b"ab\r\nab\r\nab\r\nc"),
        (rb"\\x41", b"\\x41"),
    ],
)
def test_escapes(text: bytes, octets: bytes) -> None:
    assert decode(text) == octets


def test_cases(tmp_path: Path) -> None:
    file = tmp_path / "one.http"
    file.write_bytes(b"# what it is about\nGET /\nx\\r\\n\n")
    expect = tmp_path / "one.expect"
    expect.write_bytes(b"400\nafter 2\nwait\n")
    assert read_corpus(tmp_path) == [Case("one", b"GET /x\r\n", status=400, after=2, waits=True)]
    expect.write_bytes(b"GET /a h a\\x20b\nlacks x-a\nGET /b - -\nclose\n")
    case = read_case(file)
    assert case.requests == (Request(b"GET", b"/a", b"h", b"a b"), Request(b"GET", b"/b", b"", b""))
    assert (case.lacks, case.keeps, case.status) == ((b"x-a",), False, 0)
    expect.write_bytes(b"GET / h -\n")
    with pytest.raises(ValueError, match="neither keep nor close"):
        read_case(file)


def test_the_corpus_is_whole_and_wide() -> None:
    refused = read_corpus(CORPUS / "invalid")
    good = read_corpus(CORPUS / "valid")
    assert len(refused) > 200
    assert len(good) > 70
    assert {case.status for case in refused} == {400, 408, 413, 414, 417, 431, 501, 505}
    assert all(case.requests and not case.status for case in good)
    for folder in (CORPUS / "invalid", CORPUS / "valid"):
        names = {kind: {file.stem for file in folder.glob(f"*.{kind}")} for kind in ("http", "expect")}
        assert names["http"] == names["expect"]
        assert all(file.read_bytes().startswith(b"# ") for file in folder.glob("*.http")), "each says what it is about"
    everything = [case.data for case in (*refused, *good)]
    assert len(set(everything)) == len(everything)
