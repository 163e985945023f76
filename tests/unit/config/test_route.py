"""Routes as they are written."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from gatewright.config.route import PolicyItem, Route, Split, WebSocket


def route(**keys: Any) -> Route:
    return Route.model_validate({"name": "a", **keys})


def test_an_upstream_by_its_name_is_a_split_of_one() -> None:
    assert route(to="orders").to == (Split(upstream="orders"),)
    found = route(to=[{"upstream": "a", "weight": 9}, {"upstream": "b", "headers": {"X-Canary": "1"}}]).to
    assert found is not None
    assert [(split.upstream, split.weight, list(split.headers)) for split in found] == [
        ("a", 9, []),
        ("b", 1, ["x-canary"]),
    ]


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ({"cors": {"a": 1}}, PolicyItem("cors", {"a": 1})),
        ({"cors": {}}, PolicyItem("cors", {})),
        ({"cors": None}, PolicyItem("cors", {})),
        ({"cors": "off"}, PolicyItem("cors", None)),
        ({"cors": {"when": "true", "a": None}}, PolicyItem("cors", {"a": None}, "true")),
    ],
)
def test_policies(written: object, read: PolicyItem) -> None:
    assert route(policies=[written]).policies == (read,)


def test_websockets_may_be_switched_off_or_limited() -> None:
    assert route().websocket == route(websocket=True).websocket == WebSocket()
    assert route(websocket=False).websocket is None
    assert route(websocket="off").websocket is None
    limited = route(websocket={"idle_timeout": "1m", "max_message": "1MiB"}).websocket
    assert limited is not None
    assert (limited.idle_timeout, limited.max_message) == (60.0, 1 << 20)


@pytest.mark.parametrize(
    ("keys", "place"),
    [
        ({"to": []}, ("to",)),
        ({"to": {"upstream": "a"}}, ("to",)),
        ({"to": [{"weight": 1}]}, ("to", 0, "upstream")),
        ({"match": {"paths": []}}, ("match", "paths")),
        ({"policies": ["cors"]}, ("policies", 0)),
        ({"policies": [{"cors": 5}]}, ("policies", 0)),
        ({"rewrite": {"regex": "("}}, ("rewrite", "regex")),
        ({"redirect": {"to": "/x\r\ny"}}, ("redirect", "to")),
        ({"respond": {"status": 101}}, ("respond", "status")),
        ({"respond": {"headers": {"x": "a\nb"}}}, ("respond", "headers", "x")),
        ({"timeout": "0s"}, ("timeout",)),
        ({"websocket": 5}, ("websocket",)),
    ],
)
def test_what_is_refused(keys: dict[str, Any], place: tuple[str | int, ...]) -> None:
    with pytest.raises(ValidationError) as caught:
        route(**keys)
    assert caught.value.errors()[0]["loc"] == place
