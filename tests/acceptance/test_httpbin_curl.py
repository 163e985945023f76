"""httpbin, asked by curl directly and through the gateway: the same answers."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from tests.acceptance.conftest import WAYS, Everywhere, Way

pytestmark = pytest.mark.processes

JSON = ("-H", "content-type: application/json", "-d", '{"a": [1, "é"]}')
FORM = ("-d", "a=1&b=x%20y", "-d", "c=%C3%A9")
LARGE = "x" * 300_000

#: What is asked, and the options of curl for it.
TABLE: list[tuple[str, tuple[str, ...]]] = [
    ("/get", ()),
    ("/get?a=1&a=2&b=%20+x&c", ()),
    ("/get", ("-I",)),
    ("/get", ("-X", "OPTIONS")),
    ("/get", ("-X", "POST", *FORM)),
    ("/post", FORM),
    ("/post", JSON),
    ("/post", ("-d", "")),
    ("/post", ("-F", "field=value", "-F", "file=@-;filename=a.txt;type=text/plain")),
    ("/post", ("-H", "transfer-encoding: chunked", *JSON)),
    ("/post", ("-H", "expect: 100-continue", *FORM)),
    ("/post", ("-H", "expect:", "--data-binary", "@large")),
    ("/post", ("--data-binary", "@large")),
    ("/put", ("-X", "PUT", *JSON)),
    ("/put", ("-T", "large")),
    ("/put", ("-T", "large", "-H", "expect:")),
    ("/patch", ("-X", "PATCH", *JSON)),
    ("/delete", ("-X", "DELETE")),
    ("/delete", ("-X", "DELETE", *JSON)),
    *((f"/status/{status}", ()) for status in (200, 201, 202, 204, 301, 304, 400, 401, 403, 404, 405, 409)),
    *((f"/status/{status}", ()) for status in (410, 418, 429, 451, 500, 501, 599)),
    ("/status/503", ("-X", "POST")),
    ("/redirect/2", ()),
    ("/redirect/3", ("-L",)),
    ("/relative-redirect/2", ("-L",)),
    ("/absolute-redirect/2", ("-L",)),
    ("/redirect-to?url=%2Fget&status_code=307", ("-L", *FORM, "-X", "POST")),
    ("/cookies/set/a/b", ()),
    ("/cookies/set?a=1&b=2", ("-L", "-c", "jar", "-b", "jar")),
    ("/cookies/delete?a=", ("-b", "a=1")),
    ("/cookies", ("-b", 'a=1; b="x y"')),
    ("/gzip", ()),
    ("/gzip", ("--compressed",)),
    ("/deflate", ("--compressed",)),
    ("/brotli", ("--compressed",)),
    ("/stream/20", ()),
    ("/stream-bytes/100000?seed=1&chunk_size=1000", ()),
    ("/drip?duration=0.2&numbytes=5&code=200", ()),
    ("/bytes/100000?seed=7", ()),
    ("/bytes/0?seed=7", ()),
    ("/range/10000", ()),
    ("/range/10000", ("-r", "100-199")),
    ("/range/10000", ("-r", "-50")),
    ("/range/100", ("-r", "200-")),
    ("/delay/0.1", ()),
    ("/delay/0.1", ("--http1.0",)),
    ("/stream/3", ("--http1.0",)),
    ("/headers", ("-A", "agent/1", "-H", "x-one: 1", "-H", "x-one: 2", "-H", "x-empty;")),
    ("/response-headers?x-a=1&x-a=2&server=x", ()),
    ("/basic-auth/me/secret", ()),
    ("/basic-auth/me/secret", ("-u", "me:secret")),
    ("/hidden-basic-auth/me/secret", ("-u", "me:wrong")),
    ("/bearer", ("-H", "authorization: Bearer abc")),
    ("/etag/abc", ("-H", 'if-none-match: "abc"')),
    ("/etag/abc", ("-H", 'if-match: "x"')),
    ("/cache", ("-H", 'if-none-match: "x"')),
    ("/cache/60", ()),
    ("/encoding/utf8", ()),
    ("/base64/SGVsbG8=", ()),
    ("/image/png", ()),
    ("/html", ()),
    ("/xml", ()),
    ("/robots.txt", ()),
    ("/no/such/page", ()),
    ("/anything", ("-X", "PROPFIND")),
    ("/anything/a%2Fb%3Fc", ()),
    ("/anything/%C3%A9/%e2%82%ac", ()),
    ("/anything/a;p=1/b,c", ()),
    ("/anything/~-._!$&'()*+,;=:@", ("-g",)),
    ("/anything/%7Ea%20b%25", ()),
    ("/anything/slash/", ()),
    ("/anything?", ()),
    ("/anything?a=b=c&&=&%41", ()),
    ("/anything?q=%2e%2e/..&u=http://x/?y", ()),
    ("/anything?a[]=1&b={c}|d", ("-g",)),
    (f"/anything?long={'y' * 4000}", ()),
]


def left_out(options: tuple[str, ...]) -> frozenset[str]:
    """Ways on which curl itself does not do the same."""
    if "--http1.0" in options:
        return frozenset(WAYS) - {"http1"}
    if "-L" in options:
        return frozenset({"h2c"})  # curl 7.88 cannot use such a connection again, whoever serves it
    if "-T" in options and "expect:" not in options:
        return frozenset({"h2c", "h2"})  # there curl does not wait for a 100 by itself
    return frozenset()


@pytest.mark.parametrize(("path", "options"), TABLE, ids=[f"{path[:40]} {' '.join(o)[:30]}" for path, o in TABLE])
def test_the_same_answer(
    everywhere: Everywhere, curl: Any, tmp_path: Path, path: str, options: tuple[str, ...]
) -> None:
    (tmp_path / "large").write_text(LARGE)
    here = {"@large": f"@{tmp_path}/large", "large": f"{tmp_path}/large", "jar": f"{tmp_path}/jar"}
    given = [here.get(option, option.replace("@-;", f"@{tmp_path}/large;")) for option in options]

    def ask(way: Way) -> Any:
        (tmp_path / "jar").unlink(missing_ok=True)
        answer = curl(*way.options, *given, "-w", "%{http_version}", way.url + path)
        assert curl.said == way.version or "--http1.0" in options
        return answer

    direct, through = everywhere(ask, without=left_out(options))
    assert len(through) == len(WAYS) - len(left_out(options))
    assert through == dict.fromkeys(through, direct)


def test_httpbin_sees_who_asked(plain: Any, curl: Any) -> None:
    seen = json.loads(curl(plain.url + "/headers?show_env=1", "-H", "x-forwarded-for: 192.0.2.1").body)["headers"]
    assert seen["Host"] == f"127.0.0.1:{plain.port}"
    assert seen["X-Forwarded-For"] == "127.0.0.1", "whoever is not trusted cannot say who it is"
    assert seen["X-Forwarded-Proto"] == "http"
    assert seen["X-Forwarded-Host"] == f"127.0.0.1:{plain.port}"
    assert seen["Via"].startswith("1.1 ")


def test_two_types_of_one_body_pass_as_they_came(plain: Any, curl: Any) -> None:
    """httpbin adds a second Content-Type; it frames nothing, so it is the client's to judge."""
    answer = curl(plain.url + "/response-headers?content-type=text/html")
    assert answer.status == 200
    assert json.loads(answer.body)["Content-Type"] == ["application/json", "text/html"]


def test_a_delay_that_is_too_long_is_answered_in_time(plain: Any, curl: Any) -> None:
    began = time.monotonic()
    answer = curl(plain.url + "/hurried/delay/10")
    assert (answer.status, json.loads(answer.body)["reason"]) == (504, "upstream.timeout")
    assert time.monotonic() - began < 5
    assert curl(plain.url + "/hurried/delay/0.1").status == 200


def test_pieces_leave_as_they_come(plain: Any, curl: Any) -> None:
    """/drip sends the head and an octet at once, the second octet a second later."""
    answer = curl("-w", "%{time_starttransfer} %{time_total}", plain.url + "/drip?duration=2&numbytes=2")
    assert answer.body == b"**"
    first, total = map(float, curl.said.split())
    assert total - first > 0.7


def test_one_connection_of_curl_serves_many_requests(plain: Any, curl: Any) -> None:
    urls = [f"{plain.url}/anything/again/{number}" for number in range(20)]
    curl("-w", "%{num_connects} %{http_code},", *(part for url in urls for part in ("-o", "/dev/null", url)))
    made = [tuple(map(int, each.split())) for each in curl.said.split(",") if each.strip()]
    assert made == [(1, 200), *[(0, 200)] * 19]
