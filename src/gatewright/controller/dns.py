"""Host names of endpoints → addresses, looked up again when they have grown old.

Looked up in this order: ``localhost``, the hosts file, DNS (A and AAAA, with their TTL), and what else the system knows
(``getaddrinfo``). A name that could be looked up once never loses its addresses: when the server fails, or says that
there is no such name any more, the last good ones stay, this is reported once, and the next try comes soon.
"""

from __future__ import annotations

import asyncio
import ipaddress
import random
import socket
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from gatewright.clock import Clock
from gatewright.controller.hosts import HostsFile
from gatewright.errorlog import ErrorLog

if TYPE_CHECKING:
    from dns.asyncresolver import Resolver as DnsResolver

#: Bounds of the time for which an answer is believed, in seconds, whatever its TTL.
MIN_TTL, MAX_TTL = 1.0, 300.0
#: The same for answers without a TTL: from the hosts file and from ``getaddrinfo``.
HOSTS_TTL, SYSTEM_TTL = 10.0, 30.0
#: Seconds until a failed look-up is tried again.
RETRY_AFTER = 5.0
#: Longest look-up, in seconds, all servers and tries together.
LIFETIME = 5.0
#: Look-ups under way at once, and addresses taken from one answer.
MOST_AT_ONCE, MOST_ADDRESSES = 16, 256

_RESOLV_CONF = Path("/etc/resolv.conf")


class LookupFailed(Exception):
    """There is no answer; the message says why."""


@dataclass(slots=True)
class Entry:
    """What is known of one name. ``due`` is when it is looked up again, monotonic seconds."""

    addresses: tuple[str, ...] = ()
    due: float = 0.0
    failing: bool = False
    #: By record type: when only one of the two look-ups fails, the other's addresses stay.
    records: dict[str, tuple[str, ...]] = field(default_factory=dict)
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class Resolver:
    """Looks names up and keeps them fresh.

    Args:
        clock: For the age of answers.
        log: Told when a name cannot be looked up, and when it can again.
        on_change: Called with a followed name whose addresses have changed.
        nameservers: Addresses of servers to ask; empty for those of ``/etc/resolv.conf``.
        port: Of these servers.
        hosts: The hosts file.
        lifetime: Longest look-up, in seconds.
    """

    def __init__(
        self,
        clock: Clock,
        log: ErrorLog,
        on_change: Callable[[str], None],
        *,
        nameservers: Sequence[str] = (),
        port: int = 53,
        hosts: HostsFile | None = None,
        lifetime: float = LIFETIME,
    ) -> None:
        self._clock = clock
        self._log = log
        self._on_change = on_change
        self._nameservers = nameservers
        self._port = port
        self._hosts = hosts or HostsFile()
        self._lifetime = lifetime
        self._entries: dict[str, Entry] = {}
        self._followed: set[str] = set()
        self._wake = asyncio.Event()
        self._at_once = asyncio.Semaphore(MOST_AT_ONCE)
        self._dns: DnsResolver | None = None
        self._dns_stamp = 0

    async def resolve(self, names: Iterable[str]) -> dict[str, tuple[str, ...]]:
        """The addresses of ``names``, from memory while they are fresh. Names without any are left out."""
        wanted = sorted(set(names))
        await asyncio.gather(*(self._refresh(name) for name in wanted))
        return {name: entry.addresses for name in wanted if (entry := self._entries[name]).addresses}

    def follow(self, names: Iterable[str]) -> None:
        """Keep these fresh, and forget all others."""
        self._followed = set(names)
        self._entries = {name: entry for name, entry in self._entries.items() if name in self._followed}
        self._wake.set()

    async def run(self) -> None:
        """Look names up again when their time has come, until cancelled."""
        while True:
            self._wake.clear()
            now = self._clock.monotonic()
            due = [name for name in self._followed if self._due(name) <= now]
            await asyncio.gather(*(self._renew(name) for name in due))
            now = self._clock.monotonic()
            pause = min((self._due(name) - now for name in self._followed), default=MAX_TTL)
            try:
                async with asyncio.timeout(max(pause, 0.0)):
                    await self._wake.wait()
            except TimeoutError:
                pass  # the next name is due

    def _due(self, name: str) -> float:
        entry = self._entries.get(name)
        return 0.0 if entry is None else entry.due

    async def _renew(self, name: str) -> None:
        entry = self._entries.get(name)
        before = () if entry is None else entry.addresses
        await self._refresh(name)
        entry = self._entries.get(name)
        if entry is not None and name in self._followed and entry.addresses != before:
            self._on_change(name)

    async def _refresh(self, name: str) -> None:
        """Look ``name`` up, unless what is known is fresh; two callers make one look-up."""
        entry = self._entries.setdefault(name, Entry())
        async with entry.lock:
            if entry.due > self._clock.monotonic():
                return
            async with self._at_once:
                try:
                    addresses, ttl = await self._look_up(name, entry)
                except LookupFailed as failure:
                    self._failed(name, entry, str(failure))
                    return
            entry.addresses = tuple(sorted(set(addresses), key=_order))[:MOST_ADDRESSES]
            entry.due = self._clock.monotonic() + min(max(ttl, MIN_TTL), MAX_TTL)
            if entry.failing:
                entry.failing = False
                self._log.info("dns.restored", f"{name} can be looked up again", name=name)

    def _failed(self, name: str, entry: Entry, why: str) -> None:
        entry.due = self._clock.monotonic() + RETRY_AFTER * random.uniform(0.8, 1.2)  # noqa: S311 - spreads the load
        if not entry.failing:
            entry.failing = True
            kept = f"; its last addresses stay: {', '.join(entry.addresses)}" if entry.addresses else ""
            self._log.warning("dns.failed", f"{name} cannot be looked up: {why}{kept}", name=name)

    async def _look_up(self, name: str, entry: Entry) -> tuple[Sequence[str], float]:
        """Addresses and the seconds for which they hold. Raises LookupFailed."""
        found = self._hosts.look_up(name)
        if found:
            return found, HOSTS_TTL
        server = self._server()
        if server is None:
            return await self._ask_system(name), SYSTEM_TTL
        answers = await asyncio.gather(_ask(server, name, "A"), _ask(server, name, "AAAA"))
        failures = [answer for answer in answers if isinstance(answer, LookupFailed)]
        if len(failures) == len(answers):
            raise failures[0]
        ttl = MAX_TTL
        for kind, answer in zip(("A", "AAAA"), answers, strict=True):
            if not isinstance(answer, LookupFailed):
                entry.records[kind], seconds = answer
                ttl = min(ttl, seconds)
        addresses = [address for records in entry.records.values() for address in records]
        if failures:
            ttl = min(ttl, RETRY_AFTER)
        if addresses:
            return addresses, ttl
        return await self._ask_system(name), SYSTEM_TTL  # mDNS and the like; DNS has no such name

    def _server(self) -> DnsResolver | None:
        """The DNS resolver with the servers of now; None when no server is configured."""
        import dns.asyncresolver  # noqa: PLC0415 - 4 MB that only a configuration with names needs
        import dns.resolver  # noqa: PLC0415

        if self._dns is not None and (self._nameservers or self._dns_stamp == _stamp(_RESOLV_CONF)):
            return self._dns
        try:
            self._dns = dns.asyncresolver.Resolver(configure=not self._nameservers)
        except dns.resolver.NoResolverConfiguration:
            return None
        if self._nameservers:
            self._dns.nameservers = list(self._nameservers)
            self._dns.port = self._port
        self._dns.lifetime = self._lifetime
        self._dns.timeout = min(2.0, self._lifetime)
        self._dns_stamp = _stamp(_RESOLV_CONF)
        return self._dns

    async def _ask_system(self, name: str) -> list[str]:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._lifetime):
                found = await loop.getaddrinfo(name, None, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError, TimeoutError) as error:
            raise LookupFailed(str(error) or "no answer in time") from error
        return [str(address[0]) for *_, address in found]


async def _ask(server: DnsResolver, name: str, kind: str) -> tuple[tuple[str, ...], float] | LookupFailed:
    """The records of one type and their TTL; none, when the name or the type does not exist."""
    import dns.exception  # noqa: PLC0415
    import dns.resolver  # noqa: PLC0415

    try:
        answer = await server.resolve(name, kind, search=True, raise_on_no_answer=False)
    except dns.resolver.NXDOMAIN:
        return (), MAX_TTL
    except (dns.exception.DNSException, OSError, ValueError) as error:
        return LookupFailed(str(error))
    return tuple(record.address for record in answer), float(answer.chaining_result.minimum_ttl)


def _order(address: str) -> tuple[int, int]:
    parsed = ipaddress.ip_address(address.partition("%")[0])
    return parsed.version, int(parsed)


def _stamp(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0
