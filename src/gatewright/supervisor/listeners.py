"""The listening sockets. The supervisor opens them and keeps them open; workers borrow them.

A TCP address gets one ``SO_REUSEPORT`` socket per worker slot: the kernel spreads connections over them, and closing
one would reset what waits in its queue, so a socket stays with its slot while processes come and go. A Unix socket
and the admin address are one socket each.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from gatewright.errors import GatewrightError

BACKLOG = 4096
#: The name under which the admin address is kept; no listener can have it.
ADMIN = ""

_CURES = {
    errno.EADDRINUSE: "another process listens there; stop it or choose another address",
    errno.EACCES: "not permitted; ports below 1024 need root or CAP_NET_BIND_SERVICE",
    errno.EADDRNOTAVAIL: "this machine has no such address; check it against `ip address`",
    errno.EAFNOSUPPORT: "this machine has no such address family (IPv6 may be switched off)",
    errno.ENOENT: "the directory of the socket does not exist",
}


class BindError(GatewrightError):
    """A listener cannot be opened. The message has its name, its address and the cure."""

    def __init__(self, name: str, bind: str, error: str) -> None:
        self.name = name
        self.bind = bind
        self.error = error
        who = f"listener {name}" if name else "the admin listener"
        super().__init__(f"{who} cannot bind {bind}: {error}")


@dataclass(slots=True)
class Place:
    """One listener's address with its sockets, by slot; a shared place has only one for all slots."""

    name: str
    bind: str
    address: str
    shared: bool
    sockets: list[socket.socket] = field(default_factory=list)

    def of(self, slot: int) -> socket.socket:
        """The socket of a slot."""
        return self.sockets[0 if self.shared else slot]

    def close(self) -> None:
        """Close all its sockets."""
        for sock in self.sockets:
            sock.close()
        self.sockets.clear()


@dataclass(frozen=True, slots=True)
class Inherited:
    """A socket that came from an older supervisor, or from systemd: one that serves all slots then."""

    name: str
    bind: str
    slot: int
    fd: int
    shared: bool = False


class Listeners:
    """All places of the gateway."""

    __slots__ = ("_inherited", "_shared", "places")

    def __init__(self, inherited: Iterable[Inherited] = ()) -> None:
        self.places: dict[tuple[str, str], Place] = {}
        self._inherited: dict[tuple[str, str], dict[int, socket.socket]] = {}
        self._shared: set[tuple[str, str]] = set()
        for item in inherited:
            key = (item.name, item.bind)
            self._inherited.setdefault(key, {})[item.slot] = socket.socket(fileno=item.fd)
            if item.shared:
                self._shared.add(key)

    def open(self, wanted: Sequence[tuple[str, str]], slots: int) -> list[Place]:
        """Make sure that every (name, bind) has a socket for each of ``slots`` slots. Returns the new places.

        Raises:
            BindError: One of them cannot be opened; nothing has changed then.
        """
        new: list[Place] = []
        grown: list[tuple[Place, int]] = []
        for name, bind in wanted:
            place = self.places.get((name, bind))
            if place is None:
                shared = name == ADMIN or bind.startswith("unix:") or self._legacy_key(name, bind) in self._shared
                place = Place(name, bind, "", shared)
                new.append(place)
            else:
                grown.append((place, len(place.sockets)))
            try:
                self._fill(place, slots)
            except OSError as error:
                _undo(new, grown)
                raise _explained(name, bind, error) from error
        for place in new:
            self.places[place.name, place.bind] = place
        return new

    def settle(self, wanted: Iterable[tuple[str, str]], slots: int) -> list[Place]:
        """Close every place that is not in ``wanted``, and the sockets of slots that are gone. Returns the closed."""
        keep = set(wanted)
        gone = [place for key, place in self.places.items() if key not in keep]
        for place in gone:
            del self.places[place.name, place.bind]
            self._unlink(place)
            place.close()
        for place in self.places.values():
            while not place.shared and len(place.sockets) > slots:
                place.sockets.pop().close()
        return gone

    def forget_inherited(self) -> None:
        """Close what an older supervisor handed over and this configuration does not use."""
        for sockets in self._inherited.values():
            for sock in sockets.values():
                sock.close()
        self._inherited.clear()

    def close(self, unlink: bool) -> None:
        """Close everything; ``unlink`` also removes the files of Unix sockets."""
        for place in self.places.values():
            if unlink:
                self._unlink(place)
            place.close()
        self.places.clear()
        self.forget_inherited()

    def _fill(self, place: Place, slots: int) -> None:
        """Open the sockets that a place lacks."""
        inherited = self._inherited.get(self._legacy_key(place.name, place.bind), {})
        while len(place.sockets) < (1 if place.shared else slots):
            sock = inherited.pop(len(place.sockets), None) or self._donated(place) or self._opened(place)
            place.sockets.append(sock)
            if not place.address:
                place.address = address_of(sock)

    def _legacy_key(self, name: str, bind: str) -> tuple[str, str]:
        """Under which name the sockets of this address were handed over: it may have been renamed since."""
        if (name, bind) in self._inherited or bind.endswith(":0") or name == ADMIN:
            return name, bind
        return next((key for key in self._inherited if key[1] == bind), (name, bind))

    def _donated(self, place: Place) -> socket.socket | None:
        """A listener that was only renamed goes on with the same sockets, queue and all."""
        if place.bind.endswith(":0"):
            return None
        for other in self.places.values():
            if other.bind == place.bind and other.name != place.name and ADMIN not in (other.name, place.name):
                index = len(place.sockets)
                if index < len(other.sockets):
                    return other.sockets[index].dup()
        return None

    def _opened(self, place: Place) -> socket.socket:
        if place.bind.startswith("unix:"):
            return _open_unix(place.bind.removeprefix("unix:"))
        family, address = _parse(place.address or place.bind)
        if not place.address and address[1] and not self._owns_port(address[1]):
            _probe(family, address)
        return _listen(family, address, reuse_port=not place.shared)

    def _owns_port(self, port: int) -> bool:
        own = f":{port}"
        return any(place.address.endswith(own) for place in self.places.values())

    def _unlink(self, place: Place) -> None:
        if not place.bind.startswith("unix:"):
            return
        if any(other.bind == place.bind and other is not place for other in self.places.values()):
            return
        try:
            Path(place.bind.removeprefix("unix:")).unlink()
        except OSError:
            return  # somebody else removed it, or the directory is gone


def _undo(new: list[Place], grown: list[tuple[Place, int]]) -> None:
    for place in new:
        place.close()
    for place, count in grown:
        while len(place.sockets) > count:
            place.sockets.pop().close()


def _explained(name: str, bind: str, error: OSError) -> BindError:
    cure = _CURES.get(error.errno or 0)
    text = (error.strerror or str(error)).lower()
    return BindError(name, bind, f"{text}: {cure}" if cure else text)


def _parse(bind: str) -> tuple[socket.AddressFamily, tuple[str, int]]:
    """``host:port`` or ``[v6]:port``. Only literal addresses: a look-up would mean threads before the fork."""
    host, _, port = bind.rpartition(":")
    host = {"": "0.0.0.0", "*": "0.0.0.0", "localhost": "127.0.0.1"}.get(host, host)  # noqa: S104 - as configured
    family = socket.AF_INET
    if host.startswith("["):
        family, host = socket.AF_INET6, host.strip("[]")
    try:
        socket.inet_pton(family, host)
        number = int(port)
    except (OSError, ValueError) as error:
        raise OSError(errno.EINVAL, "not an address of the form host:port, [v6]:port or unix:/path") from error
    return family, (host, number)


def _probe(family: socket.AddressFamily, address: tuple[str, int]) -> None:
    """Fail when anybody listens there. With SO_REUSEPORT alone a second gateway would silently share the port."""
    with socket.socket(family, socket.SOCK_STREAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        _only_v6(sock)
        sock.bind(address)


def _listen(family: socket.AddressFamily, address: tuple[str, int], reuse_port: bool) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        _only_v6(sock)
        sock.bind(address)
        sock.listen(BACKLOG)
        sock.setblocking(False)
    except OSError:
        sock.close()
        raise
    return sock


def _only_v6(sock: socket.socket) -> None:
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)


def _open_unix(path: str) -> socket.socket:
    _remove_stale(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.bind(path)
        sock.listen(BACKLOG)
        sock.setblocking(False)
    except OSError:
        sock.close()
        raise
    return sock


def _remove_stale(path: str) -> None:
    """Remove the file that a crashed gateway left behind; never one that somebody serves, or another kind of file."""
    try:
        if not stat.S_ISSOCK(Path(path).stat().st_mode):
            raise FileExistsError(errno.EEXIST, "a file that is not a socket stands there")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        try:
            sock.connect(path)
        except ConnectionRefusedError:
            Path(path).unlink()
            return
    raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))


def address_of(sock: socket.socket) -> str:
    """The real address of a socket, in the form of the configuration."""
    name = sock.getsockname()
    if sock.family == socket.AF_UNIX:
        return f"unix:{name}"
    host = f"[{name[0]}]" if sock.family == socket.AF_INET6 else name[0]
    return f"{host}:{name[1]}"
