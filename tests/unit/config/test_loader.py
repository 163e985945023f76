"""Files, directories, environment: what is read, and that one mistake hides no other."""

from __future__ import annotations

from pathlib import Path

import pytest

from gatewright.config.loader import Loaded, load
from gatewright.errors import ConfigError

GOOD = """\
version: 1
listeners: [{name: public, bind: 127.0.0.1:8000}]
upstreams: {orders: {endpoints: [http://127.0.0.1:9001]}}
routes: [{name: all, to: orders}]
"""


def write(folder: Path, **files: str) -> None:
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text, encoding="utf-8")


def places(loaded: Loaded) -> list[tuple[str, int, int, str]]:
    return [(Path(p.file).name, p.line, p.column, p.message) for p in loaded.document.all_problems()]


def refused(*paths: Path) -> list[tuple[str, str]]:
    with pytest.raises(ConfigError) as caught:
        load(paths, {})
    return [(Path(problem.file).name, problem.message) for problem in caught.value.problems]


def test_one_file(tmp_path: Path) -> None:
    write(tmp_path, a__yaml=GOOD)
    loaded = load([tmp_path / "a.yaml"], {})
    assert places(loaded) == []
    assert [(path, route.name) for path, route in loaded.routes] == [(("routes", 0), "all")]
    assert list(loaded.upstreams) == ["orders"]
    assert loaded.files == [tmp_path / "a.yaml"]


def test_a_directory_is_read_by_name_without_hidden_and_other_files(tmp_path: Path) -> None:
    write(tmp_path, b__json='{"routes": [{"name": "b", "respond": {}}]}', a__yaml=GOOD, c__yml="routes: []")
    write(tmp_path, d__txt="no: [", __e__yaml="no: [")
    loaded = load([tmp_path], {})
    assert [file.name for file in loaded.files] == ["a.yaml", "b.json", "c.yml"]
    assert [route.name for _, route in loaded.routes] == ["all", "b"]
    assert loaded.document.node(("routes", 1)).place() == f"{tmp_path}/b.json:1:13"


def test_several_files_in_the_order_given(tmp_path: Path) -> None:
    write(tmp_path, z__yaml=GOOD, a__yaml="routes: [{name: more, respond: {}}]")
    loaded = load([tmp_path / "z.yaml", tmp_path / "a.yaml"], {})
    assert [route.name for _, route in loaded.routes] == ["all", "more"]


def test_placeholder_files_are_watched_too(tmp_path: Path) -> None:
    write(tmp_path, a__yaml=GOOD + "admin: {token: '${file:token}'}", token="t0ken")
    loaded = load([tmp_path / "a.yaml"], {})
    assert loaded.settings.admin is not None
    assert loaded.settings.admin.token == "t0ken"
    assert loaded.files == [tmp_path / "a.yaml", tmp_path / "token"]


def test_the_environment_wins(tmp_path: Path) -> None:
    write(tmp_path, a__yaml=GOOD)
    loaded = load([tmp_path / "a.yaml"], {"GATEWRIGHT_WORKERS": "3", "GATEWRIGHT__LISTENERS__PUBLIC__BIND": "[::1]:1"})
    assert loaded.settings.workers == 3
    assert loaded.listeners[0][1].bind == "[::1]:1"


def test_what_cannot_be_read_at_all(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    write(tmp_path, blank__yaml="# nothing\n", bad__yaml="a: [", list__yaml="- a")
    assert refused(tmp_path / "none.yaml") == [("none.yaml", "cannot be read: no such file or directory")]
    assert refused(tmp_path / "empty") == [("empty", "the directory holds no .yaml, .yml, .json file")]
    assert refused(tmp_path / "blank.yaml") == [("blank.yaml", "the configuration is empty")]
    assert refused(tmp_path / "list.yaml") == [("list.yaml", "a configuration is a mapping (key: value)")]
    assert refused(Path("a\0b")) == [("a?b", "a path may not hold a zero byte")]
    assert len(refused(tmp_path / "bad.yaml", tmp_path / "none.yaml")) == 2


def test_a_file_that_cannot_be_read_hides_nothing_of_the_others(tmp_path: Path) -> None:
    write(tmp_path, a__yaml="x: [", b__yaml=GOOD + "typo: 1\n")
    assert [place[:3] for place in places(load([tmp_path], {}))] == [("a.yaml", 2, 1), ("b.yaml", 5, 1)]


def test_mistakes_in_all_parts_are_reported_together(tmp_path: Path) -> None:
    write(
        tmp_path,
        a__yaml="""\
version: 2
listeners:
  - {name: public, bind: x}
upstreams:
  bad name: {endpoints: [http://127.0.0.1:1]}
  orders: {endpoints: []}
  plain:
consumers:
  - {name: a, groups: x}
routes:
  - {name: b, too: orders}
  - {name: c, to: orders, priority: high, policies: [x]}
policies: [{a: {}, b: {}}]
admin: {bind: 1.2.3.4}
""",
    )
    assert [place[1:3] for place in places(load([tmp_path / "a.yaml"], {}))] == [
        (1, 10),
        (3, 26),
        (5, 3),
        (6, 23),
        (7, 9),
        (9, 23),
        (11, 15),
        (12, 37),
        (12, 54),
        (13, 12),
        (14, 15),
    ]


def test_what_is_left_of_a_faulty_part_is_kept_for_further_checks(tmp_path: Path) -> None:
    text = GOOD + "policies: [request_id, {cors: {}}]\n"
    write(tmp_path, a__yaml=text.replace("name: all, to: orders", "name: all, to: orders, priority: x"))
    loaded = load([tmp_path / "a.yaml"], {})
    assert [route.priority for _, route in loaded.routes] == [0]
    assert [(path, item.type) for path, item in loaded.policies] == [(("policies", 0), ""), (("policies", 1), "cors")]


def test_names_are_known_although_what_has_them_is_faulty(tmp_path: Path) -> None:
    write(tmp_path, a__yaml="listeners: [{name: l, x: 1}]\nupstreams: {u: {endpoints: 5}}\n")
    assert load([tmp_path / "a.yaml"], {}).names == {"upstreams": {"u"}, "listeners": {"l"}}
