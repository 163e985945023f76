from __future__ import annotations

import json
import os

import pytest

from gatewright.supervisor.listeners import Inherited
from gatewright.supervisor.upgrade import ENVIRONMENT, Legacy, take_legacy


def test_without_a_note_there_is_no_legacy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ENVIRONMENT, raising=False)
    legacy = take_legacy()
    assert legacy == Legacy()
    legacy.report_ready()
    assert not legacy.lives()


def test_a_note_is_read_once_and_its_descriptors_are_not_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    os.set_inheritable(writer, True)
    note = {
        "sockets": [["public", "127.0.0.1:0", 0, reader, False]],
        "segment": [reader, 2, 64, 1],
        "ready": writer,
        "parent": os.getppid(),
    }
    monkeypatch.setenv(ENVIRONMENT, json.dumps(note))
    legacy = take_legacy()
    assert ENVIRONMENT not in os.environ
    assert legacy.sockets == (Inherited("public", "127.0.0.1:0", 0, reader),)
    assert legacy.segment == (reader, 2, 64, 1)
    assert legacy.lives()
    assert not os.get_inheritable(writer)
    legacy.report_ready()
    legacy.report_ready()
    assert os.read(reader, 10) == b"1"
    assert os.read(reader, 10) == b"", "closed: the older process must not wait for more"
    os.close(reader)


def test_a_dead_predecessor_is_no_error() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    Legacy(ready_fd=writer, parent=1).report_ready()
