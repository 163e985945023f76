"""Where log lines go: a standard stream or a file that several workers share.

A sink never blocks the loop on a slow reader and never mixes the lines of two processes. Lines end with LF and are at
most ``LINE_LIMIT`` long.
"""

from __future__ import annotations

import fcntl
import os
import select
import socket
import stat
from pathlib import Path
from typing import Protocol

from gatewright.clock import Clock

#: What a pipe takes in one piece or not at all (POSIX wants 512, Linux has 4096): also the longest line.
LINE_LIMIT = min(select.PIPE_BUF, 4096)
#: Octets that wait for a slow reader; lines beyond are dropped and counted.
MAX_BACKLOG = 1024 * 1024

_F_SETPIPE_SZ = getattr(fcntl, "F_SETPIPE_SZ", 1031)


class Sink(Protocol):
    """Takes whole lines."""

    #: What is wrong with the place, as the system says it; empty when the last write went well.
    problem: str
    #: Octets that wait for a slow reader.
    waiting: int

    def write(self, data: bytes) -> int:
        """Write lines. Returns how many were dropped; never raises OSError, but says so in ``problem``."""

    def reopen(self) -> None:
        """Open the place anew (USR1). Raises OSError; the old one is then still used."""

    def close(self) -> None:
        """Write what can be written and release the descriptor."""


class StreamSink:
    """Standard output or error: pipe, terminal, socket or redirected file.

    The descriptor is shared with other processes, so its flags are left alone: a pipe or terminal is opened once more
    through ``/proc``, which gives a description of our own that does not block; a socket is told for each message; and
    where neither works, ``poll`` is asked before each piece. Pieces end at a line and are at most ``PIPE_BUF`` long,
    which is what the kernel writes in one go.
    """

    def __init__(self, fd: int) -> None:
        mode = os.fstat(fd).st_mode
        self._socket: socket.socket | None = None
        self._poll: select.poll | None = None
        self._backlog = b""
        self.waiting = 0
        self.problem = ""
        if stat.S_ISSOCK(mode):
            self._fd = os.dup(fd)
            self._socket = socket.socket(fileno=self._fd)
        elif stat.S_ISREG(mode):
            self._fd = os.dup(fd)  # shares the offset with everyone who writes there
        else:
            self._fd = self._open_again(fd, mode)

    def _open_again(self, fd: int, mode: int) -> int:
        try:
            own = os.open(f"/proc/self/fd/{fd}", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        except OSError:  # no /proc, or the stream belongs to another user
            own = os.dup(fd)
            self._poll = select.poll()
            self._poll.register(own, select.POLLOUT)
        if stat.S_ISFIFO(mode):
            try:
                fcntl.fcntl(own, _F_SETPIPE_SZ, MAX_BACKLOG)  # room for what comes in one turn of a busy loop
            except OSError:
                pass  # not Linux, or not allowed: the backlog does it
        return own

    def write(self, data: bytes) -> int:
        """Write what the reader takes now and keep the rest, up to a bound."""
        dropped = 0
        room = MAX_BACKLOG - len(self._backlog)
        if len(data) > room:
            cut = data.rfind(b"\n", 0, max(room, 0)) + 1
            dropped = data.count(b"\n", cut)
            data = data[:cut]
        data = self._backlog + data if self._backlog else data
        try:
            done = self._push(data)
        except OSError as error:
            self.problem = str(error)
            self._backlog, self.waiting = b"", 0
            return dropped + data.count(b"\n")
        self.problem = ""
        self._backlog = data[done:]
        self.waiting = len(self._backlog)
        return dropped

    def _push(self, data: bytes) -> int:
        at, length = 0, len(data)
        while at < length:
            end = length
            if length - at > LINE_LIMIT:
                end = data.rfind(b"\n", at, at + LINE_LIMIT) + 1 or at + LINE_LIMIT
            try:
                written = self._send(data[at:end])
            except BlockingIOError:
                break
            if not written:
                break
            at += written
        return at

    def _send(self, piece: bytes) -> int:
        if self._socket is not None:
            return self._socket.send(piece, socket.MSG_DONTWAIT)
        if self._poll is not None and not self._poll.poll(0):
            return 0
        return os.write(self._fd, piece)

    def reopen(self) -> None:
        """There is nothing to reopen."""

    def close(self) -> None:
        """Try once more to write what waits."""
        if self._backlog:
            self.write(b"")
        if self._socket is not None:
            self._socket.close()
        else:
            os.close(self._fd)


class FileSink:
    """A file that all workers append to, rotated by size or age by whichever of them notices first.

    Appending is atomic between processes on local file systems. Rotation renames under a lock file (``<path>.lock``),
    which also holds since when the present file is written; whoever finds another file under the name opens that one,
    so rotation by other programs works too.
    """

    def __init__(self, path: str, clock: Clock, *, max_bytes: int | None, max_age: float | None, keep: int) -> None:
        self._path = Path(path)
        self._lock = Path(path + ".lock")
        self.waiting = 0
        self._clock = clock
        self._max_bytes = max_bytes
        self._max_age = max_age
        self._keep = keep
        self.problem = ""
        #: The file ends within a line.
        self._torn = False
        self._fd = -1
        self._identity = (0, 0)
        self._since = 0.0
        self._open()

    def write(self, data: bytes) -> int:
        """Append the lines in one piece."""
        whole = b"\n" + data if self._torn else data
        try:
            self._follow()
            written = os.write(self._fd, whole)
        except OSError as error:
            self.problem = str(error)
            return data.count(b"\n")
        if written < len(whole):  # the disk is full: the next line must not continue the torn one
            self.problem = "only a part could be written"
            self._torn = not whole[:written].endswith(b"\n")
            return whole.count(b"\n", written)
        self.problem = ""
        self._torn = False
        return 0

    def reopen(self) -> None:
        """Open the path anew."""
        self._open()

    def close(self) -> None:
        """Nothing waits: lines are written at once."""
        os.close(self._fd)
        self._fd = -1

    def _open(self) -> None:
        fd = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC, 0o640)
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = fd
        status = os.fstat(fd)
        self._identity = (status.st_dev, status.st_ino)
        if self._max_age is not None:
            self._since = self._read_since()

    def _follow(self) -> None:
        """Go on with the file that has the name now; rotate it when it is due. 2 us for each batch of lines."""
        status = self._look()
        if status is None:
            self._open()
        elif self._due(status.st_size):
            self._rotate()

    def _look(self) -> os.stat_result | None:
        """The file under the name, when it is still ours."""
        try:
            status = self._path.stat()
        except FileNotFoundError:
            return None
        return status if (status.st_dev, status.st_ino) == self._identity else None

    def _due(self, size: int) -> bool:
        if self._max_bytes is not None and size >= self._max_bytes:
            return True
        return self._max_age is not None and size > 0 and self._clock.wall() - self._since >= self._max_age

    def _rotate(self) -> None:
        lock = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        try:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return  # somebody else is at it; the next batch finds the new file
            if self._look() is not None:
                self._shift()
                self._note_since(lock)
            self._open()
        finally:
            os.close(lock)

    def _shift(self) -> None:
        """``log`` → ``log.1`` → … → ``log.<keep>``; the oldest goes."""
        if self._keep <= 0:
            self._path.unlink()
            return
        for number in range(self._keep - 1, 0, -1):
            try:
                Path(f"{self._path}.{number}").rename(f"{self._path}.{number + 1}")
            except FileNotFoundError:
                continue
        self._path.rename(f"{self._path}.1")

    def _read_since(self) -> float:
        """Since when the present file is written; now, when nobody has noted it. Needs no lock: a note is one write."""
        note = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        try:
            return float(os.pread(note, 64, 0))
        except ValueError:  # empty, or not ours
            return self._note_since(note)
        finally:
            os.close(note)

    def _note_since(self, note: int) -> float:
        now = self._clock.wall()
        os.pwrite(note, b"%020.6f" % now, 0)  # always as long, so it need not be truncated before
        return now
