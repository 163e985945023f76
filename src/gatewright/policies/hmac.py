"""Identify the consumer by a signature of the request (RFC 9421), and verify the digest of its body (RFC 9530).

Unlike a key or a password a signature shows nothing that could be used again: the secret stays with the caller, and
what was signed cannot be changed on the way. Keys belong to the `consumers` of the configuration: shared secrets for
`hmac-sha256`, public keys for RSA, ECDSA and Ed25519.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Any, Final

from pydantic import Field

from gatewright.http.headers import Headers
from gatewright.http.signature import Signature, identifier_of, read_signatures
from gatewright.http.structured import Item, Malformed, parse_dictionary
from gatewright.sdk import (
    CREDENTIAL,
    BodyPolicy,
    Env,
    ExchangeView,
    InvalidPolicy,
    Outcome,
    PolicyConfig,
    Refused,
    Reply,
    Secret,
)
from gatewright.sdk.signing import Verifier, verifier_of
from gatewright.sdk.types import Duration

_DIGEST: Final = b'"content-digest"'
_CHECK: Final = "hmac.check"
_HASHES: Final[dict[str, Any]] = {"sha-256": hashlib.sha256, "sha-512": hashlib.sha512}
#: Of the fields of signatures together, and of Content-Digest: reading 8 KiB of the worst takes 3 ms.
_MOST_OCTETS: Final = 8192


class HmacConfig(PolicyConfig):
    """Configuration of `hmac`."""

    components: tuple[str, ...] = ("@method", "@target-uri", "content-digest")
    """What must be signed: `@method`, `@target-uri`, `@authority`, `@path`, `@query`, `@query-param;name="id"`, or the
    name of a header field. `content-digest` is wanted of requests with a body only."""
    max_age: Duration = Field(default=300.0, gt=0, le=86400)
    """How old a signature may be, by its `created`."""
    skew: Duration = Field(default=30.0, ge=0, le=3600)
    """How far the clocks may differ."""
    require_nonce: bool = False
    """Refuse signatures without a `nonce`. One that has a nonce is accepted once in any case."""
    label: str | None = Field(default=None, pattern=r"^[a-z*][a-z0-9_.*-]*$")
    """Label of the signature that counts. Without it there must be exactly one."""
    tag: str | None = Field(default=None, min_length=1)
    """The `tag` that the signature must have: the name of your application."""
    forward: bool = False
    """Leave `Signature` and `Signature-Input` in the request that goes upstream."""
    optional: bool = False
    """Let requests without a signature pass, with no consumer. A wrong one is refused all the same."""
    realm: str = Field(default="api", pattern=r'^[^"\\\x00-\x1f\x7f-\U0010ffff]*$')
    """Shown in `WWW-Authenticate`."""


class Hmac(BodyPolicy[HmacConfig]):
    """Identify the consumer by a signature of the request (RFC 9421)."""

    __slots__ = (
        "_clock", "_digest", "_expired", "_forward", "_keys", "_label", "_malformed", "_max_age", "_mismatch",
        "_missing", "_nonces", "_optional", "_replayed", "_require_nonce", "_required", "_skew", "_tag",
        "_unknown", "_verifiers", "_wrong",
    )  # fmt: skip
    name, stage, config = "hmac", "identify", HmacConfig

    def __init__(self, config: HmacConfig, env: Env) -> None:
        self._clock = env.clock
        self._keys = env.secrets("hmac")
        #: Made when a key is first used; there are as many as keys at most.
        self._verifiers: dict[str, Verifier] = {}
        try:
            required = frozenset(map(identifier_of, config.components))
        except ValueError as error:
            raise InvalidPolicy(str(error), "components") from None
        self._digest = _DIGEST in required
        self._required = required - {_DIGEST}
        self._max_age, self._skew = config.max_age, config.skew
        self._require_nonce = config.require_nonce
        self._label, self._tag = config.label, config.tag
        self._forward, self._optional = config.forward, config.optional
        # A bucket that holds one and needs longer to fill than a signature lives: shared by all workers, and bounded.
        self._nonces = env.limiter("token_bucket", "nonces", 1, config.max_age + 2 * config.skew + 1, 1)
        wanted = b"sig=(%b);created;keyid" % b" ".join(map(identifier_of, config.components))
        challenge = (
            (b"www-authenticate", f'Signature realm="{config.realm}"'.encode()),
            (b"accept-signature", wanted + (b";nonce" if config.require_nonce else b"")),
        )
        self._missing = Reply(401, "hmac.missing", challenge, detail="A signature is needed")
        self._malformed = Reply(401, "hmac.malformed", challenge, detail="The signature does not fit the request")
        self._unknown = Reply(401, "hmac.unknown_key", challenge, detail="The key of the signature is not known")
        self._expired = Reply(401, "hmac.expired", challenge, detail="The signature is too old, or of a time to come")
        self._replayed = Reply(401, "hmac.replayed", challenge, detail="The nonce was used before")
        self._wrong = Reply(401, "hmac.signature", challenge, detail="The signature is wrong")
        self._mismatch = Reply(401, "hmac.digest", challenge, detail="The digest is not that of the body")

    def on_request(self, ex: ExchangeView) -> Outcome:
        """Find the consumer, and get ready for the body."""
        headers = ex.request.headers
        inputs, signatures = _joined(headers, b"signature-input"), _joined(headers, b"signature")
        if not inputs and not signatures:
            return None if self._optional else self._missing
        try:
            signature = self._choose(inputs, signatures)
            if signature is None:
                return self._missing
            return self._judge(ex, signature)
        except Malformed:
            return self._malformed

    def on_request_chunk(self, ex: ExchangeView, data: bytes, last: bool) -> bytes:
        """Hold the last piece back until the digest is known: no body but the signed one gets whole upstream."""
        check = ex.vars.get(_CHECK)
        if check is None:
            return data
        passed: bytes = check.add(data)
        if not last:
            return passed
        if not check.good():
            raise Refused(self._mismatch)
        held: bytes = check.held
        return passed + held

    def _choose(self, inputs: bytes, signatures: bytes) -> Signature | None:
        """The signature that counts; None when there is none of the label."""
        if len(inputs) + len(signatures) > _MOST_OCTETS:
            raise Malformed("too long")
        found = read_signatures(inputs, signatures)
        if self._label is not None:
            return found.get(self._label)
        if len(found) != 1:
            raise Malformed("not exactly one signature")
        return next(iter(found.values()))

    def _judge(self, ex: ExchangeView, signature: Signature) -> Reply | None:
        """What is wrong with it; None when nothing is. Raises Malformed."""
        parameters = signature.parameters
        covered = signature.covered()
        if not self._required <= covered or (self._tag is not None and parameters.get("tag") != self._tag):
            return self._malformed
        check = self._check(ex, covered)
        secret = self._keys.get(str(parameters.get("keyid", "")))
        if secret is None:
            return self._unknown
        if parameters.get("alg", secret.algorithm) != secret.algorithm:
            return self._malformed
        if not self._is_current(signature):
            return self._expired
        nonce = str(parameters.get("nonce", ""))
        if self._require_nonce and not nonce:
            return self._malformed
        if not self._verifier(secret).verify(signature.octets, signature.base(ex.request)):
            return self._wrong
        if nonce and self._nonces.take(b"%b\0%b" % (secret.id.encode(), nonce.encode())) > 0.0:
            return self._replayed
        if check is not None and not ex.has_body and not check.good():
            return self._mismatch
        self._accept(ex, secret, check)
        return None

    def _is_current(self, signature: Signature) -> bool:
        created, expires = signature.parameters.get("created"), signature.parameters.get("expires")
        if not isinstance(created, int):
            raise Malformed("a signature without its time")
        now = self._clock.wall()
        if not -self._skew <= now - created <= self._max_age + self._skew:
            return False
        return not isinstance(expires, int) or now < expires + self._skew

    def _verifier(self, secret: Secret) -> Verifier:
        verifier = self._verifiers.get(secret.id)
        if verifier is None:
            verifier = self._verifiers[secret.id] = verifier_of(secret)
        return verifier

    def _accept(self, ex: ExchangeView, secret: Secret, check: _BodyCheck | None) -> None:
        if check is not None:
            ex.vars[_CHECK] = check
        ex.consumer = secret.consumer
        ex.vars[CREDENTIAL] = hashlib.sha256(b"hmac:" + secret.id.encode()).digest()
        if not self._forward:
            ex.request.headers.drop(b"signature")
            ex.request.headers.drop(b"signature-input")

    def _check(self, ex: ExchangeView, covered: set[bytes]) -> _BodyCheck | None:
        """What the body must have, None when nothing is said about it. Raises Malformed when it must be said."""
        digests = b", ".join(ex.request.headers.fields.all(b"content-digest"))
        if self._digest and ex.has_body and _DIGEST not in covered:
            raise Malformed("the body is not signed")
        if not digests:
            return None
        if len(digests) > _MOST_OCTETS:
            raise Malformed("too long")
        wanted = []
        for name, member in parse_dictionary(digests).items():
            if not isinstance(member, Item) or not isinstance(member.value, bytes):
                raise Malformed("no digest")
            if name in _HASHES:
                wanted.append((_HASHES[name](), member.value))
        if not wanted and self._digest and ex.has_body:
            raise Malformed("no digest that is known")
        return _BodyCheck(wanted) if wanted else None


class _BodyCheck:
    """Computes the digests of a body while it passes; one piece behind."""

    __slots__ = ("_wanted", "held")

    def __init__(self, wanted: list[tuple[Any, bytes]]) -> None:
        self._wanted = wanted
        #: The piece that has not been passed on yet.
        self.held = b""

    def add(self, data: bytes) -> bytes:
        """Take a piece; returns the one before it."""
        if not data:
            return b""
        for digest, _ in self._wanted:
            digest.update(data)
        before, self.held = self.held, data
        return before

    def good(self) -> bool:
        """Whether all digests are those that were wanted."""
        good = True
        for digest, wanted in self._wanted:
            good &= hmac.compare_digest(digest.digest(), wanted)
        return good


def _joined(headers: Headers, name: bytes) -> bytes:
    return b", ".join(headers.all(name))
