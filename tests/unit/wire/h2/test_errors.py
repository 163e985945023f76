"""The codes, and the error that carries one."""

from __future__ import annotations

from h2.errors import ErrorCodes

from gatewright.wire.h2 import errors
from gatewright.wire.h2.errors import H2Error


def test_the_codes_are_those_of_the_rfc() -> None:
    ours = {name: value for name, value in vars(errors).items() if name.isupper()}
    assert ours == {code.name: code.value for code in ErrorCodes}


def test_an_error_says_why() -> None:
    error = H2Error(errors.PROTOCOL_ERROR, "a frame too many")
    assert (error.code, error.detail, str(error)) == (1, "a frame too many", "a frame too many")
