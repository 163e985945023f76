"""Validation errors in plain words, at their places."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from gatewright.config.document import Document
from gatewright.config.interpolate import Interpolator
from gatewright.config.messages import keys_of, report
from gatewright.config.tree import Mapping, parse
from gatewright.errors import Problem


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: str = "x"
    size: Annotated[int, Field(ge=1, le=9)] = 1


class Model(BaseModel):
    model_config = ConfigDict(extra="forbid")
    text: str = ""
    number: int = 0
    ratio: Annotated[float, Field(gt=0, lt=1)] = 0.5
    flag: bool = False
    kind: Literal["one", "two", "three"] = "one"
    items: Annotated[tuple[Inner, ...], Field(max_length=2)] = ()
    one: Annotated[list[int], Field(min_length=1)] = [1]
    two: Annotated[list[int], Field(min_length=2)] = [1, 2]
    table: dict[str, Inner] = {}
    either: Inner | list[Inner] | None = None
    path: Annotated[str, Field(pattern="^/")] = "/"
    word: Annotated[str, Field(pattern="^[a-z]+$", min_length=2, max_length=4)] = "abc"
    checked: int = 0
    needed: int

    @field_validator("checked")
    @classmethod
    def _check(cls, value: int) -> int:
        if value == 13:
            raise ValueError("thirteen brings bad luck")
        return value


MERGE_KEYS = "merge keys are not part of the language; an alias (*name) may stand for a whole value"


def problems(text: str) -> list[Problem]:
    node, _ = parse("a.yaml", text.encode())
    assert isinstance(node, Mapping)
    document = Document(node, Interpolator({}))
    with pytest.raises(ValidationError) as caught:
        Model.model_validate(document.data)
    report(document, caught.value, Model, ())
    return document.problems


@pytest.mark.parametrize(
    ("text", "message", "hint", "place"),
    [
        ("needed: x", "'needed' must be a whole number", "", (1, 9)),
        ("needed: 1.5", "'needed' must be a whole number", "", (1, 9)),
        ("needed: 1\ntext: 5", "'text' must be text", 'put it in quotes: "5"', (2, 7)),
        ("needed: 1\nflag: perhaps", "'flag' must be true or false", "", (2, 7)),
        ("needed: 1\nratio: 1", "'ratio' must be below 1.0", "", (2, 8)),
        ("needed: 1\nratio: 0", "'ratio' must be above 0.0", "", (2, 8)),
        (
            "needed: 1\nkind: thre",
            "'kind' must be 'one', 'two' or 'three', not 'thre'",
            "did you mean 'three'?",
            (2, 7),
        ),
        ("needed: 1\nitems: a", "'items' must be a list", "write [a]", (2, 8)),
        ("needed: 1\nitems: {name: a}", "'items' must be a list", "put it in brackets: [{…}]", (2, 8)),
        ("needed: 1\nitems:\n  name: a", "'items' must be a list", "put '- ' in front of each member", (3, 3)),
        ("needed: 1\nitems: [{}, {size: 0}]", "'size' must be at least 1", "", (2, 20)),
        ("needed: 1\nitems: [{}, {size: 10}]", "'size' must be at most 9", "", (2, 20)),
        ("needed: 1\nitems: [{}, {}, {}]", "'items' must have at most 2 members", "", (2, 8)),
        ("needed: 1\nitems: [x]", "a member of 'items' must be a mapping (key: value)", "", (2, 9)),
        ("needed: 1\none: []", "'one' must not be empty", "", (2, 6)),
        ("needed: 1\none: [x]", "a member of 'one' must be a whole number", "", (2, 7)),
        ("needed: 1\ntwo: []", "'two' must have at least 2 members", "", (2, 6)),
        ("needed: 1\nword: a", "'word' must have at least 2 characters", "", (2, 7)),
        ("needed: 1\nword: abcde", "'word' must have at most 4 characters", "", (2, 7)),
        ("needed: 1\nword: ABC", "'word' must match ^[a-z]+$", "", (2, 7)),
        ("needed: 1\npath: a", "'path' must start with a slash", "", (2, 7)),
        ("needed: 1\ntable: [a]", "'table' must be a mapping (key: value)", "", (2, 8)),
        ("needed: 1\ntable:\n- a", "'table' must be a mapping (key: value)", "take the '- ' away", (3, 1)),
        ("needed: 1\nchecked: 13", "thirteen brings bad luck", "", (2, 10)),
        ("text: x", "the key 'needed' is missing", "", (1, 1)),
        ("needed: 1\ntxt: x", "unknown key 'txt'", "did you mean 'text'?", (2, 1)),
        ("needed: 1\n<<: {}", "unknown key '<<'", MERGE_KEYS, (2, 1)),
        ("needed: 1\ntable: {a: {nam: x}}", "unknown key 'nam'", "did you mean 'name'?", (2, 13)),
        ("needed: 1\ntable: {a: {zzz: x}}", "unknown key 'zzz'", "known keys are name, size", (2, 13)),
    ],
)  # fmt: skip
def test_one_mistake_one_problem(text: str, message: str, hint: str, place: tuple[int, int]) -> None:
    (problem,) = problems(text)
    assert (problem.message, problem.hint) == (message, hint)
    assert (problem.line, problem.column) == place


def test_all_mistakes_at_once() -> None:
    found = problems("txt: 1\nnumber: x\nitems: [{size: 0}, {nam: 1}]")
    assert [(p.code, p.path) for p in found] == [
        ("config.type", "number"),
        ("config.value", "items[0].size"),
        ("config.unknown_key", "items[1].nam"),
        ("config.missing_key", ""),
        ("config.unknown_key", "txt"),
    ]


def test_the_branches_of_a_union_leave_no_name_in_the_path() -> None:
    assert {problem.path for problem in problems("needed: 1\neither: {size: 0}")} == {"either.size", "either"}


@pytest.mark.parametrize(
    ("loc", "keys"),
    [
        (("items", 0), ["name", "size"]),
        (("table", "anything"), ["name", "size"]),
        (("either", "Inner"), ["name", "size"]),
        (("nothing",), sorted(Model.model_fields)),
    ],
)
def test_the_known_keys_at_a_place(loc: tuple[Any, ...], keys: list[str]) -> None:
    assert keys_of(Model, loc) == keys
