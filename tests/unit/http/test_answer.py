from __future__ import annotations

from gatewright.http.answer import Answer, ServiceError


def test_fields_of_an_answer() -> None:
    answer = Answer(200, ((b"x-a", b"1"), (b"x-b", b"2"), (b"x-a", b"3")), b"secret")
    assert (answer.get(b"x-a"), answer.get(b"x-c")) == (b"1", None)
    assert (answer.all(b"x-a"), answer.all(b"x-c")) == ([b"1", b"3"], [])
    assert repr(answer) == "Answer(200, 3 fields, 6 bytes)"


def test_an_error_says_its_reason() -> None:
    error = ServiceError("upstream.timeout")
    assert (error.reason, str(error)) == ("upstream.timeout", "upstream.timeout")
