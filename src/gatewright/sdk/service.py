"""Other HTTP services that a policy asks: which ones, and how.

A policy names them twice, from the same configuration: :meth:`gatewright.sdk.Policy.services` tells the gateway which
connections there are to be, and :meth:`gatewright.sdk.Env.service` gives the policy what it asks with::

    class Check(Policy[CheckConfig]):
        name, stage, config = "check", "authorize", CheckConfig

        @classmethod
        def services(cls, config):
            return (ServiceSpec(config.url, timeout=config.timeout),)

        def __init__(self, config, env):
            self._service = env.service(*self.services(config))

        async def on_request(self, ex):
            answer = await self._service.ask(b"GET", b"/may?user=anna")
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, Protocol, TypeAlias

from pydantic import AfterValidator, WithJsonSchema

from gatewright.http.answer import Answer
from gatewright.http.headers import Pair

#: Seconds for an answer, and bytes of the largest one, when nothing else is said.
TIMEOUT: Final = 5.0
MOST_BYTES: Final = 64 * 1024

_URL: Final = re.compile(
    r"(https?)://((?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::[0-9]{1,5})?)(/[!-~]*)?", re.IGNORECASE
)
_USUAL: Final = {"http": ":80", "https": ":443"}


def split_url(url: str) -> tuple[str, str]:
    """The origin of a service's URL, ``https://auth:9000``, and its path with the query.

    Raises:
        ValueError: It is not the URL of a service.
    """
    found = _URL.fullmatch(url)
    if found is None or "#" in url:
        if "@" in url.partition("://")[2].partition("/")[0]:
            raise ValueError("a service's URL holds no user name or password: set a header field instead")
        raise ValueError(f"'{url[:80]}' is not the URL of a service: write http://host:port/path or https://…")
    scheme, authority = found[1].lower(), found[2].lower()
    return f"{scheme}://{authority.removesuffix(_USUAL[scheme])}", found[3] or "/"


def _checked(url: str) -> str:
    split_url(url)
    return url


#: The URL of a service, in a policy's configuration.
ServiceUrl: TypeAlias = Annotated[
    str,
    AfterValidator(_checked),
    WithJsonSchema(
        {
            "type": "string",
            "description": "http://host:port/path or https://host:port/path.",
            "pattern": r"^https?://[^/?#@\s]+(/[!-~]*)?$",
        }
    ),
]


@dataclass(slots=True, frozen=True)
class ServiceSpec:
    """A service and how it is to be asked.

    Services with the same scheme, host and port, and the same ``ca``, share connections, health and breaker.

    Attributes:
        url: Its URL; the path is what :meth:`Service.ask` uses when it is given none.
        timeout: Seconds for each answer: waiting for a connection, retries and the whole body included.
        max_body: Bytes of the largest answer.
        repeatable: All questions may be asked twice, POST too, when a connection breaks before the answer.
        ca: PEM text of the authorities that certify it, instead of those that the system trusts.
    """

    url: str
    timeout: float = TIMEOUT
    max_body: int = MOST_BYTES
    repeatable: bool = False
    ca: str = ""


class Flights(Protocol):
    """Questions under way: who wants to know the same waits for the same answer."""

    def join(self, key: bytes, ask: Callable[[], Awaitable[Any]]) -> Awaitable[Any]:
        """Await ``ask()``, or what it comes to for the one who is asking with this key already.

        What it raises is raised for all. When the one who asks is given up, because its client has gone, one of those
        who wait asks anew.
        """


class Service(Protocol):
    """Another HTTP service. Connections are kept, verified, watched and limited like those to upstreams."""

    def ask(self, method: bytes, path: bytes, headers: Sequence[Pair] = (), body: bytes = b"") -> Awaitable[Answer]:
        """Ask, and wait for the whole answer, whatever its status; redirects are not followed.

        The question is asked when the result is awaited, and given up when the waiting ends early, as it does when
        the client has gone.

        Args:
            method: ``b"GET"`` and so on, in upper case.
            path: Path and query, encoded; empty for those of the service's URL.
            headers: Names in lower case. Host, Content-Length and the connection's own fields are not among them.
            body: Sent as it is; its Content-Type is one of ``headers``.

        Raises:
            ServiceError: There is no answer.
            ValueError: What is given cannot be sent.
        """
