"""The two sides of systemd that a service may use: notifications, and sockets that it opened before the start."""

from __future__ import annotations

import os
import socket

from gatewright.supervisor.listeners import Inherited, address_of

_FIRST_FD = 3


def notify(state: str) -> bool:
    """Tell the service manager, if there is one. ``state`` is as in sd_notify(3), e.g. ``READY=1``.

    Returns:
        Whether somebody was told.
    """
    path = os.environ.get("NOTIFY_SOCKET", "")
    if not path.startswith(("/", "@")):
        return False
    address = "\0" + path[1:] if path.startswith("@") else path
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
            sock.connect(address)
            sock.send(state.encode())
    except OSError:  # the manager went away: not our trouble
        return False
    return True


def take_activated() -> tuple[Inherited, ...]:
    """Sockets passed by socket activation (sd_listen_fds(3)); they serve listeners that bind the same address.

    There is one for all workers, because systemd opens only one; the kernel then spreads connections less evenly.
    """
    if os.environ.pop("LISTEN_PID", "") != str(os.getpid()):
        return ()
    count = os.environ.pop("LISTEN_FDS", "")
    os.environ.pop("LISTEN_FDNAMES", None)
    found: list[Inherited] = []
    for fd in range(_FIRST_FD, _FIRST_FD + (int(count) if count.isdigit() else 0)):
        os.set_inheritable(fd, False)
        sock = socket.socket(fileno=fd)
        sock.setblocking(False)
        bind = address_of(sock)
        found.append(Inherited(f"systemd {fd}", bind, 0, sock.detach(), shared=True))
    return tuple(found)
