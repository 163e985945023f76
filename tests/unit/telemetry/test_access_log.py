import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gatewright.clock import ManualClock
from gatewright.ipc.messages import Log
from gatewright.proxy.families import LOG_DROPPED
from gatewright.proxy.record import RefusedRequest, WorkerStats
from gatewright.snapshot.model import AccessLog as Spec
from gatewright.worker.access_log import BATCH, AccessLog

Make = Callable[..., Any]


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_lines_are_written_together(tmp_path: Path, finished: Make) -> None:
    path = tmp_path / "log"
    log = AccessLog(Spec(to=str(path)), ManualClock())
    for i in range(3):
        log.append(finished(request_id=b"%d" % i))
    assert path.read_bytes() == b""
    log.flush()
    assert [line["request_id"] for line in lines_of(path)] == ["0", "1", "2"]
    log.flush()
    log.close()
    assert len(lines_of(path)) == 3


def test_a_full_batch_is_written_at_once(tmp_path: Path, finished: Make) -> None:
    path = tmp_path / "log"
    log = AccessLog(Spec(to=str(path)), ManualClock())
    for _ in range(BATCH + 1):
        log.append(finished())
    assert len(lines_of(path)) == BATCH
    log.close()
    assert len(lines_of(path)) == BATCH + 1


def test_sampling_spares_failures(tmp_path: Path, finished: Make) -> None:
    path = tmp_path / "log"
    numbers = iter([0.05, 0.5, 0.099])
    log = AccessLog(Spec(to=str(path), sample=0.1), ManualClock(), rand=lambda: next(numbers))
    for status, reason in ((200, ""), (200, ""), (301, ""), (404, ""), (502, "upstream.reset"), (200, "client.gone")):
        log.append(finished(status=status, reason=reason))
    log.append(finished(grpc_status="NOT_FOUND"))
    log.close()
    assert [line["status"] for line in lines_of(path)] == [200, 301, 404, 502, 200, 200]


def test_requests_that_could_not_be_read_get_an_id_as_well(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log = AccessLog(Spec(to=str(path)), ManualClock(), new_id=lambda: b"made")
    log.append(RefusedRequest("public", "192.0.2.1", 431, "request.headers_too_large", 1.0, "http2"))
    log.close()
    (line,) = lines_of(path)
    assert (line["request_id"], line["protocol"], line["status"]) == ("made", "http2", 431)


def test_off_is_off(finished: Make) -> None:
    log = AccessLog(Spec(to="off"), ManualClock())
    assert not log.enabled
    log.append(finished())
    log.flush()
    log.reopen()
    log.close()


def test_text_and_redaction_are_configured(tmp_path: Path, finished: Make) -> None:
    path = tmp_path / "log"
    log = AccessLog(Spec(to=str(path), format="text", redact=("ssn",)), ManualClock())
    log.append(finished(target=b"/x?ssn=1"))
    log.close()
    assert "/x?ssn=***" in path.read_text()


@pytest.mark.parametrize(("name", "fd"), [("stdout", 1), ("stderr", 2)])
def test_standard_streams(name: str, fd: int, finished: Make, capfd: pytest.CaptureFixture[str]) -> None:
    log = AccessLog(Spec(to=name), ManualClock())
    log.append(finished())
    log.close()
    captured = capfd.readouterr()
    assert json.loads(captured.out if fd == 1 else captured.err)["status"] == 200


def test_dropped_lines_are_counted_and_the_trouble_is_told_once(tmp_path: Path, finished: Make) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    stats, told = WorkerStats(), list[Log]()
    log = AccessLog(Spec(to=str(folder / "log")), ManualClock(), stats, told.append)
    (folder / "log").unlink()
    folder.rmdir()
    for _ in range(2):
        log.append(finished())
        log.flush()
    assert log.dropped == 2
    assert list(stats.counter(LOG_DROPPED).drain().values()) == [2.0]
    assert [entry.event for entry in told] == ["access_log.broken"]
    folder.mkdir()
    log.append(finished())
    log.flush()
    assert [entry.event for entry in told] == ["access_log.broken", "access_log.restored"]
    log.close()


def test_reopening_follows_the_name(tmp_path: Path, finished: Make) -> None:
    path = tmp_path / "log"
    told = list[Log]()
    log = AccessLog(Spec(to=str(path)), ManualClock(), None, told.append)
    log.append(finished(request_id=b"old"))
    log.flush()
    path.rename(tmp_path / "log.old")
    log.reopen()
    assert path.exists()
    log.append(finished(request_id=b"new"))
    log.close()
    assert [line["request_id"] for line in lines_of(path)] == ["new"]
    assert told == []


def test_what_waits_for_a_slow_reader_is_written_by_a_later_flush(
    finished: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, writer = os.pipe()
    monkeypatch.setattr("gatewright.worker.access_log._STREAMS", {"stdout": writer})
    log = AccessLog(Spec(), ManualClock())
    for _ in range(BATCH * 12):  # more than the pipe takes
        log.append(finished())
    os.set_blocking(reader, False)
    received = b""
    for _ in range(100):
        try:
            received += os.read(reader, 1 << 20)
        except BlockingIOError:
            break
        log.flush()
    assert received.count(b"\n") + log.dropped == BATCH * 12
    log.close()
    os.close(reader)
    os.close(writer)
