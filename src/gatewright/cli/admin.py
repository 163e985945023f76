"""Asking a running gateway: a small client of its admin listener."""

from __future__ import annotations

import http.client
import json
import os
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from gatewright.cli.files import config_files
from gatewright.errors import ConfigError, GatewrightError

ADDRESS_VARIABLE = "GATEWRIGHT_ADMIN"
TOKEN_VARIABLE = "GATEWRIGHT_ADMIN_TOKEN"  # noqa: S105 - the name of a variable
TIMEOUT = 5.0
LARGEST_ANSWER = 64 * 1024 * 1024


class Unreachable(GatewrightError):
    """The gateway does not answer, or not as it should."""


class Admin:
    """The admin listener of one gateway. ``address`` is ``host:port`` or ``unix:/path``."""

    __slots__ = ("address", "token")

    def __init__(self, address: str, token: str = "") -> None:
        self.address = address
        self.token = token

    def get(self, path: str) -> tuple[int, Any]:
        """Status and JSON content. Raises Unreachable."""
        connection = self._connection()
        headers = {"accept": "application/json"}
        if self.token:
            headers["authorization"] = f"Bearer {self.token}"
        try:
            connection.request("GET", path, headers=headers)
            response = connection.getresponse()
            body = response.read(LARGEST_ANSWER)
        except (OSError, http.client.HTTPException) as error:
            raise Unreachable(f"no gateway answers at {self.address}: {error}") from error
        finally:
            connection.close()
        try:
            return response.status, json.loads(body)
        except ValueError as error:
            raise Unreachable(f"{self.address}{path} answers {response.status} without JSON") from error

    def status(self) -> dict[str, Any]:
        """What ``/status`` says. Raises Unreachable."""
        status, content = self.get("/status")
        if status != 200 or not isinstance(content, dict):
            detail = content.get("title", "") if isinstance(content, dict) else ""
            raise Unreachable(f"{self.address}/status answers {status} {detail}".rstrip())
        return content

    def _connection(self) -> http.client.HTTPConnection:
        if self.address.startswith("unix:"):
            return _UnixConnection(self.address.removeprefix("unix:"))
        return http.client.HTTPConnection(self.address, timeout=TIMEOUT)


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=TIMEOUT)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(TIMEOUT)
        self.sock.connect(self._path)


def find(url: str | None, config: Sequence[Path], environ: Mapping[str, str] = os.environ) -> Admin:
    """The admin listener that is meant: of ``--admin``, of the environment, or of the configuration.

    Raises Unreachable when there is no telling.
    """
    given = url or environ.get(ADDRESS_VARIABLE, "")
    token = environ.get(TOKEN_VARIABLE, "")
    if given:
        return Admin(_address(given), token)
    from gatewright.snapshot.build import build_snapshot  # noqa: PLC0415 - heavy, and mostly not needed

    try:
        admin = build_snapshot(config_files(config), environ=environ).snapshot.admin
    except ConfigError as error:
        raise Unreachable(
            f"where is the gateway? Its configuration cannot be read ({error.problems[0].message}); "
            f"give --admin http://127.0.0.1:9900"
        ) from error
    if admin is None:
        raise Unreachable("the configuration has no admin listener")
    return Admin(admin.bind, token or admin.token)


def _address(given: str) -> str:
    if given.startswith("unix:"):
        return given
    parts = urlsplit(given if "://" in given else f"http://{given}")
    if parts.scheme != "http" or not parts.netloc:
        raise Unreachable(f"{given}: expected http://host:port or unix:/path")
    return parts.netloc
