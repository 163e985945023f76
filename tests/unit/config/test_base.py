"""The scalars of the gateway's own configuration."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from gatewright.config import base


def read(kind: Any, value: object) -> Any:
    return TypeAdapter(kind).validate_python(value)


def refusal(kind: Any, value: object) -> tuple[str, str]:
    with pytest.raises(ValidationError) as caught:
        read(kind, value)
    (error,) = caught.value.errors()
    return error["msg"], error["ctx"]["hint"]


@pytest.mark.parametrize(
    ("written", "bind", "address"),
    [
        ("127.0.0.1:8000", "127.0.0.1:8000", ("127.0.0.1", 8000)),
        ("localhost:0", "127.0.0.1:0", ("127.0.0.1", 0)),
        ("[::]:80", "[::]:80", ("::", 80)),
        ("[0:0:0:0:0:0:0:1]:080", "[::1]:80", ("::1", 80)),
        ("unix:/run/g.sock", "unix:/run/g.sock", ("/run/g.sock", -1)),
        ("unix:g.sock", "unix:g.sock", ("g.sock", -1)),
    ],
)
def test_binds(written: str, bind: str, address: tuple[str, int]) -> None:
    assert read(base.Bind, written) == bind
    assert base.split_bind(bind) == address


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (8000, "'8000' has no address"),
        (":8000", "':8000' has no address"),
        ("*:8000", "'*:8000' has no address"),
        ("::1:80", "'::1:80' is not an address to listen on"),
        ("[127.0.0.1]:80", "'[127.0.0.1]:80' is not an address to listen on"),
        ("127.0.0.1:65536", "'127.0.0.1:65536' is not an address to listen on"),
        ("127.0.0.1", "'127.0.0.1' is not an address to listen on"),
        ("example.com:80", "'example.com' is not an IP address"),
        ("unix:", "the path of a unix socket must have 1 to 100 bytes"),
        ("unix:" + "x" * 101, "the path of a unix socket must have 1 to 100 bytes"),
        (None, "'None' is not an address to listen on"),
    ],
)
def test_binds_that_are_refused(value: object, message: str) -> None:
    assert refusal(base.Bind, value)[0] == message


def test_tests_on_values() -> None:
    assert read(base.TestValue, "x") == base.Test(value="x")
    assert read(base.TestValue, "~^x") == base.Test(regex="^x")
    assert read(base.TestValue, True) == base.Test()
    assert read(base.TestValue, False) == base.Test(absent=True)
    assert refusal(base.TestValue, 1)[1] == 'write "1"'
    assert refusal(base.TestValue, "~(")[0].startswith("'(' is not a regular expression")


def test_names() -> None:
    assert read(base.Name, "order-by-id.v2") == "order-by-id.v2"
    for bad in ("", "a b", "-a", "a\n", "a" * 129, "ü"):
        assert refusal(base.Name, bad)[0].endswith("is not a name")
    assert refusal(base.Name, 5) == ("a name must be text", "put it in quotes")


def test_methods_are_upper_case() -> None:
    assert read(base.Method, "PATCH") == "PATCH"
    assert refusal(base.Method, "get")[1] == "methods are upper case: GET"
    assert refusal(base.Method, "G ET")[0] == "'G ET' is not a method"


def test_off_is_none() -> None:
    assert read(base.OrOff[int], "off") is None
    assert read(base.OrOff[int], 5) == 5
    assert TypeAdapter(base.OrOff[int]).json_schema() == {"anyOf": [{"type": "integer"}, {"const": "off"}]}


def test_a_mapping_with_one_key() -> None:
    assert base.single_key({"a": 1}, "a policy") == ("a", 1)
    for value, message in (
        ("a", "a policy is written as a mapping"),
        ({}, "a policy is written as a mapping with one key"),
        (5, "a policy is written as a mapping with one key"),
        ({"a": 1, "b": 2}, "a policy is a mapping with one key, not 2 (a, b)"),
    ):
        with pytest.raises(base.PydanticCustomError) as caught:
            base.single_key(value, "a policy")
        assert caught.value.message() == message


def test_a_key_without_a_value_counts_as_not_written() -> None:
    class Model(base.Model):
        a: int = 5

    assert Model.model_validate({"a": None}).a == 5
