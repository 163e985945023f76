"""Expressions: values, errors with their place, and that the quick way and the library agree."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gatewright.http.head import RequestHead, ResponseHead
from gatewright.http.headers import Fields, Headers
from gatewright.proxy.expression import ExpressionError, compile_by_library, compile_expression
from gatewright.sdk.exchange import Consumer


class Exchange:
    """What expressions see."""

    def __init__(
        self,
        method: bytes = b"GET",
        path: bytes = b"/a/b",
        headers: list[tuple[bytes, bytes]] | None = None,
        query: bytes | None = None,
        status: int | None = None,
        consumer: Consumer | None = None,
    ) -> None:
        fields = Headers(Fields(headers or []))
        self.request = RequestHead(method, path, path, query, b"x:80", b"x", b"http", 11, fields)
        answer = Headers(Fields([(b"content-type", b"text/plain")]))
        self.response = None if status is None else ResponseHead(status, answer)
        self.params = {b"id": b"7"}
        self.client_addr = "10.1.2.3"
        self.consumer = consumer
        self.vars: dict[str, Any] = {"identity": {"groups": ["admin"]}}
        self.route_name = "r"
        self.client_certificate = None


def value(source: str, **exchange: Any) -> Any:
    return compile_expression(source)(Exchange(**exchange))


@pytest.mark.parametrize(
    ("source", "simple"),
    [
        ("request.method == 'GET'", True),
        ("request.method != 'PUT' && request.path.startsWith('/a')", True),
        ("request.path in ['/a/b', \"/c\"]", True),
        ("request.path.contains('a') && request.path.endsWith('b')", True),
        ("!(request.method == 'PUT') && !request.path.startsWith('/b')", True),
        ("'x' in request.headers || true", True),
        ("request.headers['x-a'] == '1'", True),
        ("request.headers.authorization == 'b'", True),
        ("has(request.headers.authorization) && !has(request.query.b)", True),
        ("request.query.a == '1 2' && request.params.id == '7'", True),
        ("request.host == 'x' && request.scheme == 'http' && client.address == '10.1.2.3'", True),
        ("consumer.name == 'acme' && 'gold' in consumer.groups && route.name == 'r'", True),
        ("response.status >= 200 && response.headers['content-type'] == 'text/plain'", True),
        ("'GET' == request.method", True),
        ("'admin' in identity.groups", False),
        ("size(request.path) == 4", False),
        ("request.path.matches('^/a/[b]$')", False),
        ("[1, 2].exists(x, x == 1)", False),
        ("request['method'] == 'GET'", False),
        ("request.headers == {'x-a': '1', 'authorization': 'b'}", False),
        ("client == {'address': '10.1.2.3'} && consumer.groups == ['gold']", False),
        ("response.headers['content-type'].startsWith('text/') && response.status / 100 == 2", False),
        ("request.method == 'GET' == true", False),
        ("'request.nope' != request.path && true == true // request.nope", False),
        ("request.path != 'a\\'b'", False),
    ],
)
def test_true(source: str, simple: bool) -> None:
    expression = compile_expression(source)
    assert expression.simple is simple
    ex = Exchange(
        headers=[(b"x-a", b"1"), (b"authorization", b"b"), (b"x-a", b"2")],
        query=b"a=1+2&a=3",
        status=200,
        consumer=Consumer("acme", frozenset({"gold"})),
    )
    assert expression(ex) is True


def test_other_values_than_true_and_false() -> None:
    assert value("request.path") == "/a/b"
    assert value("size(request.path) + 1") == 5
    assert value("consumer.name") == ""
    assert value("consumer.groups") == []


@pytest.mark.parametrize(
    "source",
    [
        "request.headers.nope == 'a'",
        "request.headers['nope'].startsWith('a')",
        "size(request.headers.nope) == 1",
        "response.status == 200",
        "response.status + 1 == 201",
        "response.headers.a == 'b'",
        "has(response.headers.a)",
        "request.path + 1 == 2",
        "request.path && true",
        "1 / 0 == 1",
        "identity.nope == 'a'",
        "request.path.matches('(')",
        "nofunction(request.path)",
        "9223372036854775807 + 1 == 0",
        "request.path[0] == '/'",
    ],
)
def test_what_cannot_be_evaluated_is_a_value_error(source: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        value(source)


def test_an_error_does_not_count_when_the_other_side_decides() -> None:
    broken = "request.headers.nope == 'a'"
    for source in (f"{broken} || true", f"true || {broken}", f"!({broken} && false)", f"!(false && {broken})"):
        assert value(source) is True
    for source in (
        f"{broken} && true",
        f"true && {broken}",
        f"{broken} || false",
        f"false || {broken}",
        f"!({broken})",
    ):
        with pytest.raises(ValueError, match="nope"):
            value(source)


@pytest.mark.parametrize(
    ("source", "line", "column", "message"),
    [
        ("", 1, 1, "empty"),
        ("  ", 1, 1, "empty"),
        ("request.method ==", 1, 18, "ends too early"),
        ("request.method = 'a'", 1, 16, "="),
        ("a ++ b", 1, 4, "unexpected '+'"),
        ("request.method == 'X' &&\n && true", 2, 2, "unexpected '&&'"),
        ("requests.method == 'X'", 1, 1, "unknown name 'requests'"),
        ("true && nope", 1, 9, "unknown name 'nope'"),
        ("request.method == 'a' ||\n request.metod == 'nope'", 2, 10, "request has no 'metod'"),
        ("size(request.headers) > 1 && client.adress == ''", 1, 37, "client has no 'adress'"),
        ("(" * 65 + "true" + ")" * 65, 1, 65, "nested"),
        ("'" + "a" * 5000 + "' == request.path", 1, 4096, "longer"),
    ],
)
def test_mistakes_are_placed(source: str, line: int, column: int, message: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        compile_expression(source)
    assert (caught.value.line, caught.value.column) == (line, column)
    assert message in str(caught.value)
    assert f"column {column}" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_compiled_expression_is_shared() -> None:
    assert compile_expression("size(request.path) == 9") is compile_expression("size(request.path) == 9")
    assert "size" in repr(compile_expression("size(request.path) == 9"))


def test_simple_expressions_do_not_load_the_library_and_others_not_its_command_line() -> None:
    script = (
        "import sys; from gatewright.proxy.expression import compile_expression as c;"
        "c(\"request.method == 'GET'\"); assert 'cel.cel' not in sys.modules;"
        "c('size(request.path) == 1'); assert 'cel.cel' in sys.modules; assert 'typer' not in sys.modules;"
        "assert 'rich' not in sys.modules; import cel; assert cel.compile is sys.modules['cel.cel'].compile"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=30)


# --- the quick way and the library agree --------------------------------------------------------------------------

NAMES = st.sampled_from(
    [
        "request.method",
        "request.path",
        "request.host",
        "client.address",
        "consumer.name",
        "route.name",
        "request.headers['x']",
        "request.headers.y",
        "request.query.q",
        "request.params.id",
        "response.headers.x",
    ]
)
LITERALS = st.sampled_from(["", "GET", "/a", "/a/b", "é", "x", "7", "a", "10.1.2.3", "1 2", "acme"]).map("'{}'".format)
RELATIONS = st.one_of(
    st.builds("{} {} {}".format, NAMES, st.sampled_from(["==", "!="]), LITERALS),
    st.builds("{} {} {}".format, LITERALS, st.sampled_from(["==", "!="]), NAMES),
    st.builds("{}.{}({})".format, NAMES, st.sampled_from(["startsWith", "endsWith", "contains"]), LITERALS),
    st.builds("{} in [{}]".format, NAMES, st.lists(LITERALS, max_size=3).map(", ".join)),
    st.builds(
        "{} in {}".format,
        LITERALS,
        st.sampled_from(["request.headers", "request.query", "consumer.groups", "response.headers"]),
    ),
    st.builds("has({})".format, st.sampled_from(["request.headers.y", "request.query.q", "request.params.id"])),
    st.builds("response.status {} {}".format, st.sampled_from(["==", "!=", "<", "<=", ">", ">="]), st.integers(0, 600)),
    st.sampled_from(["true", "false"]),
)
SOURCES = st.recursive(
    RELATIONS,
    lambda inner: st.one_of(
        st.builds("{} && {}".format, inner, inner),
        st.builds("{} || {}".format, inner, inner),
        st.builds("({})".format, inner),
        st.builds("!({})".format, inner),
        st.builds("!{}".format, inner),
        st.builds("{} == true".format, inner),
        st.builds("{} ? {} : false".format, inner, inner),
    ),
    max_leaves=6,
)
VALUES = st.sampled_from(
    [b"", b"GET", b"/a", b"/a/b", "é".encode(), b"\xc3", b"a\xc3\xa9x", b"\xe9", b"x", b"1 2", b"acme"]
)
EXCHANGES = st.builds(
    Exchange,
    method=st.sampled_from([b"GET", b"PUT"]),
    path=st.sampled_from([b"/a", b"/a/b", b"/x"]),
    headers=st.lists(st.tuples(st.sampled_from([b"x", b"y"]), VALUES), max_size=3),
    query=st.sampled_from([None, b"", b"q=1+2", b"q=%C3%A9&q=x", b"q&%71=", b"a=%ff"]),
    status=st.sampled_from([None, 200, 404]),
    consumer=st.sampled_from([None, Consumer("acme", frozenset({"a", "x"})), Consumer("é")]),
)


def outcome(call: Any, *args: Any) -> Any:
    try:
        return call(*args)
    except ValueError:
        return "error"


@settings(max_examples=400, deadline=None)
@given(SOURCES, EXCHANGES)
@example("!request.method == 'GET'", Exchange())
@example("!'x' in request.headers", Exchange())
@example("request.headers.in == 'a'", Exchange())
@example("response.status == 200 || true", Exchange())
@example("response.status == 200 && false", Exchange())
@example("request.headers.x.contains('\u00a9')", Exchange(headers=[(b"x", b"\xc3\xa9")]))
def test_the_quick_way_agrees_with_the_library(source: str, ex: Exchange) -> None:
    quick = outcome(compile_expression, source)
    library = outcome(compile_by_library, source)
    assert (quick == "error") == (library == "error")
    if quick != "error":
        ours, theirs = outcome(quick, ex), outcome(library, ex)
        assert type(ours) is type(theirs)
        assert ours == theirs


@settings(max_examples=300, deadline=None)
@given(st.text("!()[]'\"=&|.,<>1 abrequestmthodinx\\\n", max_size=40))
def test_any_text_is_an_expression_or_a_mistake_for_both(source: str) -> None:
    quick, library = outcome(compile_expression, source), outcome(compile_by_library, source)
    assert (quick == "error") == (library == "error")
    if quick != "error":
        assert outcome(quick, Exchange()) == outcome(library, Exchange())
