"""The notification protocol of systemd: one datagram per change of state."""

from __future__ import annotations

import os
import socket


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
