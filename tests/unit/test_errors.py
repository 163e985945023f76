from __future__ import annotations

import pytest

from gatewright.errors import ConfigError, GatewrightError, MissingExtra, Problem, ProtocolError


def test_a_config_error_names_every_problem_with_its_place() -> None:
    problems = [Problem("a", "first", "f.yaml", 1, 2), Problem("b", "second", "f.yaml", 3, 4)]
    error = ConfigError(problems)
    assert str(error) == "f.yaml:1:2: first; f.yaml:3:4: second"
    assert error.problems is problems


def test_problems_do_not_share_their_notes() -> None:
    one, other = Problem("a", "a"), Problem("b", "b")
    one.related.append("x")
    assert other.related == []


@pytest.mark.parametrize(("detail", "text"), [("", "request.host"), ("twice", "request.host: twice")])
def test_a_protocol_error_has_a_reason_and_a_status(detail: str, text: str) -> None:
    error = ProtocolError("request.host", 400, detail)
    assert (str(error), error.reason, error.status, error.detail) == (text, "request.host", 400, detail)


def test_a_missing_extra_says_what_to_install() -> None:
    error = MissingExtra("state: redis", "redis")
    assert "pip install 'gatewright[redis]'" in str(error)
    assert isinstance(error, GatewrightError)
