import fcntl
import multiprocessing
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from gatewright.clock import ManualClock, SystemClock
from gatewright.worker import log_sinks
from gatewright.worker.log_sinks import LINE_LIMIT, MAX_BACKLOG, FileSink, StreamSink

LINE = b"x" * 99 + b"\n"


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reader, writer = os.pipe()
    yield reader, writer
    for fd in (reader, writer):
        try:
            os.close(fd)
        except OSError:
            pass  # the test has closed it


def read_all(fd: int) -> bytes:
    os.set_blocking(fd, False)
    data = b""
    while True:
        try:
            piece = os.read(fd, 1 << 20)
        except BlockingIOError:
            return data
        if not piece:
            return data
        data += piece


# --- streams ---


def test_a_reader_that_does_not_read_never_blocks_and_costs_lines_beyond_the_backlog(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    sink = StreamSink(writer)
    written = dropped = 0
    for _ in range(60):
        dropped += sink.write(LINE * 1000)
        written += 1000
    assert dropped > 0
    assert sink.waiting <= MAX_BACKLOG
    data = b""
    while sink.waiting:
        data += read_all(reader)
        dropped += sink.write(b"")
    data += read_all(reader)
    assert data.count(b"\n") == written - dropped
    assert set(data.splitlines(keepends=True)) == {LINE}
    assert sink.problem == ""
    sink.close()


def test_the_descriptor_that_others_share_stays_blocking(pipe: tuple[int, int]) -> None:
    _, writer = pipe
    sink = StreamSink(writer)
    sink.write(LINE)
    assert os.get_blocking(writer)
    sink.close()
    os.fstat(writer)  # and open


def test_where_a_pipe_cannot_be_opened_again_poll_is_asked(
    pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, writer = pipe

    def refuse(*_: object) -> int:
        raise PermissionError

    with monkeypatch.context() as patch:
        patch.setattr(log_sinks.os, "open", refuse)
        sink = StreamSink(writer)
    assert sink.write(LINE * 20_000) > 0  # 2 MB: returns at once
    assert sink.waiting > 0
    assert read_all(reader).replace(LINE, b"") == b""
    sink.close()


def test_pieces_end_at_lines_and_fit_into_a_pipe_in_one_go(
    pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, writer = pipe
    sink = StreamSink(writer)
    pieces: list[bytes] = []
    real = os.write

    def write(fd: int, data: bytes) -> int:
        pieces.append(data)
        return real(fd, data)

    monkeypatch.setattr(log_sinks.os, "write", write)
    sink.write(LINE * 200)
    monkeypatch.undo()
    assert len(pieces) > 1
    assert all(len(piece) <= LINE_LIMIT and piece.endswith(b"\n") for piece in pieces)
    sink.close()


def test_a_reader_that_has_gone_is_a_problem_and_not_an_exception(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    sink = StreamSink(writer)
    os.close(reader)
    assert sink.write(LINE * 3) == 3
    assert "Broken pipe" in sink.problem
    assert sink.waiting == 0
    sink.close()


def test_a_socket_is_not_waited_for() -> None:
    ours, theirs = socket.socketpair()
    sink = StreamSink(ours.fileno())
    assert sink.write(LINE * 50_000) > 0
    assert sink.waiting > 0
    theirs.setblocking(False)
    data = b""
    while sink.waiting:
        data += theirs.recv(1 << 20)
        sink.write(b"")
    assert set(data.splitlines(keepends=True)) == {LINE}
    sink.close()
    os.fstat(ours.fileno())  # the stream itself stays open
    ours.close()
    theirs.close()


def test_a_redirected_stream_keeps_the_offset_of_everybody(tmp_path: Path) -> None:
    with (tmp_path / "out").open("wb") as file:
        sink = StreamSink(file.fileno())
        sink.write(b"one\n")
        os.write(file.fileno(), b"two\n")
        sink.write(b"three\n")
        sink.close()
    assert (tmp_path / "out").read_bytes() == b"one\ntwo\nthree\n"


def test_a_full_disk_is_a_problem_until_there_is_room() -> None:
    fd = os.open("/dev/full", os.O_WRONLY)
    sink = StreamSink(fd)
    assert sink.write(LINE) == 1
    assert "No space left" in sink.problem
    sink.close()
    os.close(fd)


def _write_stream(fd: int, letter: bytes) -> None:
    sink = StreamSink(fd)
    for _ in range(300):
        sink.write((letter * 299 + b"\n") * 20)
    while sink.waiting:
        sink.write(b"")
    sink.close()


def test_lines_of_several_processes_do_not_mix(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_write_stream, args=(writer, letter)) for letter in (b"a", b"b", b"c")]
    for worker in workers:
        worker.start()
    os.close(writer)
    chunks: list[bytes] = []

    def drain() -> None:
        while piece := os.read(reader, 65536):
            chunks.append(piece)

    thread = threading.Thread(target=drain)
    thread.start()
    for worker in workers:
        worker.join()
    thread.join()
    lines = b"".join(chunks).splitlines()
    assert set(lines) <= {letter * 299 for letter in (b"a", b"b", b"c")}
    assert len(set(lines)) == 3


# --- files ---


def file_sink(path: Path, clock: ManualClock | None = None, **rotate: object) -> FileSink:
    values = {"max_bytes": None, "max_age": None, "keep": 2, **rotate}
    return FileSink(str(path), clock or ManualClock(), **values)  # type: ignore[arg-type]


def test_rotation_by_size_keeps_so_many_files(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    sink = file_sink(path, max_bytes=250)
    for i in range(12):
        assert sink.write(b"%99d\n" % i) == 0
    sink.close()
    kept = [tmp_path / name for name in ("access.log.2", "access.log.1", "access.log")]
    numbers = [int(line) for file in kept for line in file.read_bytes().split()]
    assert numbers == list(range(3, 12))
    assert not (tmp_path / "access.log.3").exists()


def test_without_kept_files_the_old_one_goes(tmp_path: Path) -> None:
    sink = file_sink(tmp_path / "log", max_bytes=10, keep=0)
    sink.write(LINE)
    sink.write(b"new\n")
    sink.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log", "log.lock"]
    assert (tmp_path / "log").read_bytes() == b"new\n"


def test_rotation_by_age_survives_restarts(tmp_path: Path) -> None:
    clock = ManualClock()
    path = tmp_path / "log"
    sink = file_sink(path, clock, max_age=60.0)
    sink.write(b"one\n")
    clock.advance(59)
    sink.close()
    sink = file_sink(path, clock, max_age=60.0)  # a new process: the file is as old as it was
    sink.write(b"two\n")
    clock.advance(2)
    sink.write(b"three\n")
    clock.advance(59)
    sink.write(b"four\n")
    sink.close()
    assert (tmp_path / "log.1").read_bytes() == b"one\ntwo\n"
    assert path.read_bytes() == b"three\nfour\n"


def test_a_note_that_is_not_ours_is_written_anew(tmp_path: Path) -> None:
    (tmp_path / "log.lock").write_text("nonsense")
    clock = ManualClock()
    sink = file_sink(tmp_path / "log", clock, max_age=60.0)
    sink.close()
    assert float((tmp_path / "log.lock").read_text()) == clock.wall()


def test_a_file_moved_away_by_others_is_opened_anew(tmp_path: Path) -> None:
    path = tmp_path / "log"
    sink = file_sink(path)
    sink.write(b"one\n")
    path.rename(tmp_path / "moved")
    sink.write(b"two\n")
    path.unlink()
    path.write_bytes(b"theirs\n")
    sink.write(b"three\n")
    sink.close()
    assert (tmp_path / "moved").read_bytes() == b"one\n"
    assert path.read_bytes() == b"theirs\nthree\n"


def test_reopening_makes_the_file_again(tmp_path: Path) -> None:
    path = tmp_path / "log"
    sink = file_sink(path)
    path.unlink()
    sink.reopen()
    assert path.exists()
    sink.close()


def test_a_place_that_cannot_be_opened_is_an_error_at_once(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        file_sink(tmp_path / "no" / "log")


def test_a_folder_that_goes_is_a_problem_and_then_not(tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    sink = file_sink(folder / "log")
    (folder / "log").unlink()
    folder.rmdir()
    assert sink.write(LINE * 2) == 2
    assert "No such file" in sink.problem
    folder.mkdir()
    assert sink.write(LINE) == 0
    assert sink.problem == ""
    sink.close()


def test_a_line_torn_by_a_full_disk_does_not_spoil_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sink = file_sink(tmp_path / "log")
    real = os.write
    with monkeypatch.context() as patch:
        patch.setattr(log_sinks.os, "write", lambda fd, data: real(fd, data[:150]))
        assert sink.write(LINE * 3) == 2
    sink.write(b"whole\n")
    sink.close()
    assert (tmp_path / "log").read_bytes().splitlines()[-1] == b"whole"


def test_nobody_rotates_while_somebody_does(tmp_path: Path) -> None:
    path = tmp_path / "log"
    sink = file_sink(path, max_bytes=10)
    with Path(f"{path}.lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        sink.write(LINE)
        sink.write(LINE)
        assert not (tmp_path / "log.1").exists()
    sink.write(LINE)
    assert (tmp_path / "log.1").read_bytes() == LINE * 2
    sink.close()


def _write_file(path: str, worker: int) -> None:
    sink = FileSink(path, SystemClock(), max_bytes=5_000, max_age=None, keep=200)
    for i in range(200):
        sink.write(b"%d %d %s\n" % (worker, i, b"x" * 80))
    sink.close()


def test_several_processes_rotate_without_losing_a_line(tmp_path: Path) -> None:
    path = str(tmp_path / "log")
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_write_file, args=(path, i)) for i in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    files = [file for file in tmp_path.iterdir() if file.suffix != ".lock"]
    assert len(files) > 3
    lines = [line for file in files for line in file.read_bytes().splitlines()]
    assert all(line.endswith(b"x" * 80) for line in lines)
    seen = {tuple(map(int, line.split()[:2])) for line in lines}
    assert seen == {(worker, i) for worker in range(3) for i in range(200)}
    assert len(lines) == 600
