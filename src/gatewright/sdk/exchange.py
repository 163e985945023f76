"""What a policy sees of an exchange."""

from __future__ import annotations

from typing import Any, Final, Protocol

from gatewright.http.head import RequestHead, ResponseHead
from gatewright.http.headers import Pair
from gatewright.http.reply import Reply
from gatewright.tls.identity import ClientCertificate

#: Key in ``vars`` under which an identifying policy leaves the digest (bytes) of the credential that was used.
CREDENTIAL: Final = "credential"


class Consumer:
    """Who is calling: an application or a person that the configuration knows."""

    __slots__ = ("groups", "metadata", "name")

    def __init__(
        self,
        name: str,
        groups: frozenset[str] = frozenset(),
        metadata: dict[str, str] | None = None,
    ) -> None:
        self.name = name
        self.groups = groups
        self.metadata = metadata or {}


class Secret:
    """A credential with a name: a user and the hash of a password, or the id of a key and the key.

    Attributes:
        id: User name, or id of the key.
        value: The hash of the password, the shared secret in Base64, or the public key as PEM text.
        algorithm: Of a key: what signatures are made with; empty for passwords.
        consumer: Whose it is.
    """

    __slots__ = ("algorithm", "consumer", "id", "value")

    def __init__(self, id: str, value: str, consumer: Consumer, algorithm: str = "") -> None:  # noqa: A002 - its name
        self.id = id
        self.value = value
        self.consumer = consumer
        self.algorithm = algorithm

    def __repr__(self) -> str:  # what is printed must not hold a secret
        return f"Secret({self.id!r}, algorithm={self.algorithm!r}, consumer={self.consumer.name!r})"


class ExchangeView(Protocol):
    """One request and its response, as policies may use them.

    Policies may edit ``request.headers``, ``request.path`` and ``request.query`` before the request goes upstream,
    and ``response`` before it goes back.
    """

    request: RequestHead
    #: None until the response's head is here.
    response: ResponseHead | None
    #: Path parameters of the route, still percent-encoded.
    params: dict[bytes, bytes]
    #: The client's address after trusted proxies have been skipped, as text.
    client_addr: str
    consumer: Consumer | None
    #: Correlation id: taken over or made by the ``request_id`` policy, else made on first use.
    request_id: bytes
    #: Room for policies to leave things for their later hooks and for each other; keys start with the policy's name.
    vars: dict[str, Any]
    #: The gateway's own answer, when there is one.
    reply: Reply | None
    #: Seconds on the monotonic clock when the request's head was complete.
    started: float
    #: Bytes of request body that are let through; a policy may lower it before the body comes.
    max_body: int
    #: What is spoken: ``http1``, ``http2``, ``grpc``, ``grpc-web``, ``websocket`` or ``sse``.
    protocol: str
    #: How a gRPC call has ended, by name (``UNAVAILABLE``), for ``on_record``; empty for everything else.
    grpc_status: str
    #: Trailers of the response. Only for ``on_response_chunk`` with ``last``, which may put others in their place.
    response_trailers: tuple[Pair, ...]

    @property
    def route_name(self) -> str:
        """Name of the matched route."""

    @property
    def has_body(self) -> bool:
        """Whether a request body comes: body hooks are called for it."""

    @property
    def client_certificate(self) -> ClientCertificate | None:
        """The certificate that the client has shown, checked in the TLS handshake; None when it has shown none."""
