import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatewright.worker.redact import Redactor


@pytest.mark.parametrize(
    ("query", "masked"),
    [
        (b"a=1&b=2", b"a=1&b=2"),
        (b"token=abc", b"token=***"),
        (b"a=1&api_key=abc&b=2", b"a=1&api_key=***&b=2"),
        (b"Access-Token=abc", b"Access-Token=***"),
        (b"accessToken=abc", b"accessToken=***"),
        (b"X-Amz-Signature=abc", b"X-Amz-Signature=***"),
        (b"password[]=a&password[]=b", b"password[]=***&password[]=***"),
        (b"%74oken=abc", b"%74oken=***"),
        (b"a=1;token=abc", b"a=1;token=***"),
        (b"code=abc&barcode=abc", b"code=***&barcode=abc"),
        (b"token", b"token"),
        (b"token=", b"token=***"),
        (b"tokens=3&keyboard=us", b"tokens=3&keyboard=us"),
        (b"token=a=b", b"token=***"),
        (b"", b""),
    ],
)
def test_values_of_secret_parameters_are_masked(query: bytes, masked: bytes) -> None:
    assert Redactor().query(query) == masked


def test_more_names_can_be_configured() -> None:
    assert Redactor(["ssn", "a.b"]).query(b"SSN=1&axb=2&a.b=3") == b"SSN=***&axb=2&a.b=***"


@given(st.binary(max_size=50), st.binary(min_size=4, max_size=20).filter(lambda v: not set(v) & set(b"&;*=")))
def test_a_secret_never_comes_through(around: bytes, secret: bytes) -> None:
    query = around.replace(secret, b"") + b"&token=" + secret
    masked = Redactor().query(query)
    assert b"token=***" in masked
    assert not masked.endswith(secret)


def test_remembered_verdicts_are_bounded() -> None:
    redactor = Redactor()
    for i in range(5_000):
        redactor.query(b"p%d=1" % i)
    redactor.query(b"x" * 5_000 + b"=1")
    assert len(redactor._verdicts) <= 1_024
    assert max(map(len, redactor._verdicts)) <= 64
