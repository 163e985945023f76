from __future__ import annotations

import pytest
from pydantic import TypeAdapter, ValidationError

from gatewright.sdk.service import ServiceSpec, ServiceUrl, split_url


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("http://auth", ("http://auth", "/")),
        ("HTTP://Auth:80/Check?a=1", ("http://auth", "/Check?a=1")),
        ("http://auth:8080/", ("http://auth:8080", "/")),
        ("https://auth:443/a", ("https://auth", "/a")),
        ("https://auth:80", ("https://auth:80", "/")),
        ("http://[::1]:9000/x", ("http://[::1]:9000", "/x")),
        ("http://10.0.0.1:9000", ("http://10.0.0.1:9000", "/")),
    ],
)
def test_a_url_has_an_origin_and_a_target(url: str, parts: tuple[str, str]) -> None:
    assert split_url(url) == parts
    assert TypeAdapter(ServiceUrl).validate_python(url) == url


@pytest.mark.parametrize(
    "url",
    [
        "",
        "auth:9000",
        "ftp://auth",
        "unix:/run/auth.sock",
        "http://",
        "http://auth/a b",
        "http://auth/#a",
        "http://auth?a=1",
        "http://auth/\r\nx: y",
        "http://auth/é",
        "http://auth:123456/",
    ],
)
def test_other_texts_are_refused(url: str) -> None:
    with pytest.raises(ValueError, match="is not the URL of a service"):
        split_url(url)
    with pytest.raises(ValidationError):
        TypeAdapter(ServiceUrl).validate_python(url)


def test_a_password_is_not_repeated() -> None:
    with pytest.raises(ValueError, match="no user name or password") as caught:
        split_url("http://anna:secret@auth/")
    assert "secret" not in str(caught.value)


def test_what_is_taken_when_nothing_is_said() -> None:
    spec = ServiceSpec("http://auth")
    assert (spec.timeout, spec.max_body, spec.repeatable, spec.ca) == (5.0, 65_536, False, "")
