import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset
import pytest

from gatewright.clock import ManualClock
from gatewright.controller import dns as dns_module
from gatewright.controller.dns import MAX_TTL, MIN_TTL, RETRY_AFTER, Resolver
from gatewright.controller.hosts import HostsFile
from gatewright.errorlog import ErrorLog


class Server(asyncio.DatagramProtocol):
    """A DNS server that answers, or misbehaves, as told."""

    def __init__(self) -> None:
        self.records: dict[tuple[str, str], list[str]] = {}
        self.ttl = 30
        self.rcode: dict[str, int] = {}  # by record type: answer with this
        self.silent: set[str] = set()  # record types that get no answer
        self.garbage = False
        self.asked: list[str] = []
        self.alias: dict[str, str] = {}

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        query = dns.message.from_wire(data)
        question = query.question[0]
        name, kind = question.name.to_text(omit_final_dot=True), dns.rdatatype.to_text(question.rdtype)
        self.asked.append(kind)
        if kind in self.silent:
            return
        if self.garbage:
            self.transport.sendto(b"\0" * 5, addr)
            return
        reply = dns.message.make_response(query)
        reply.flags |= dns.flags.RA
        owner = question.name
        if name in self.alias:
            reply.answer.append(dns.rrset.from_text(owner, 2, "IN", "CNAME", self.alias[name] + "."))
            name = self.alias[name]
            owner = dns.name.from_text(name)
        addresses = self.records.get((name, kind), [])
        if kind in self.rcode:
            reply.set_rcode(dns.rcode.Rcode(self.rcode[kind]))
        elif addresses:
            reply.answer.append(dns.rrset.from_text(owner, self.ttl, "IN", kind, *addresses))
        elif not any(known == name for known, _ in self.records):
            reply.set_rcode(dns.rcode.NXDOMAIN)
        self.transport.sendto(reply.to_wire(), addr)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    transport, protocol = await asyncio.get_running_loop().create_datagram_endpoint(Server, ("127.0.0.1", 0))
    yield protocol
    transport.close()


@pytest.fixture
def log_file(tmp_path: Path) -> Path:
    return tmp_path / "log"


@pytest.fixture
def log(log_file: Path) -> Iterator[ErrorLog]:
    with log_file.open("wb") as file:
        yield ErrorLog("controller", fd=file.fileno())


def text_of(file: Path) -> str:
    return file.read_text()


class Changes(asyncio.Queue[str]):
    async def next(self) -> str:
        async with asyncio.timeout(5):
            return await self.get()


@pytest.fixture
def changes() -> Changes:
    return Changes()


@pytest.fixture
def resolver(
    server: Server, clock: ManualClock, log: ErrorLog, changes: Changes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Resolver:
    async def nobody(self: Resolver, name: str) -> list[str]:
        raise dns_module.LookupFailed("the system does not know it either")

    monkeypatch.setattr(Resolver, "_ask_system", nobody)
    port = server.transport.get_extra_info("sockname")[1]
    hosts = HostsFile(tmp_path / "hosts")
    return Resolver(clock, log, changes.put_nowait, nameservers=["127.0.0.1"], port=port, hosts=hosts, lifetime=0.3)


@asynccontextmanager
async def running(resolver: Resolver) -> AsyncIterator[None]:
    task = asyncio.create_task(resolver.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_addresses_of_both_families_in_a_stable_order(server: Server, resolver: Resolver) -> None:
    server.records = {("orders.test", "A"): ["10.0.0.9", "10.0.0.10"], ("orders.test", "AAAA"): ["fd00::1"]}
    assert await resolver.resolve(["orders.test"]) == {"orders.test": ("10.0.0.9", "10.0.0.10", "fd00::1")}


async def test_an_answer_is_believed_for_its_ttl(server: Server, resolver: Resolver, clock: ManualClock) -> None:
    server.records = {("orders.test", "A"): ["10.0.0.1"]}
    await resolver.resolve(["orders.test"])
    server.records = {("orders.test", "A"): ["10.0.0.2"]}
    clock.advance(29)
    assert (await resolver.resolve(["orders.test"]))["orders.test"] == ("10.0.0.1",)
    clock.advance(2)
    assert (await resolver.resolve(["orders.test"]))["orders.test"] == ("10.0.0.2",)


@pytest.mark.parametrize(("ttl", "believed"), [(0, MIN_TTL), (86_400, MAX_TTL)])
async def test_the_ttl_is_bounded(
    server: Server, resolver: Resolver, clock: ManualClock, ttl: int, believed: float
) -> None:
    server.ttl = ttl
    server.records = {("orders.test", "A"): ["10.0.0.1"]}
    await resolver.resolve(["orders.test"])
    asked = len(server.asked)
    clock.advance(believed - 0.1)
    await resolver.resolve(["orders.test"])
    assert len(server.asked) == asked
    clock.advance(0.2)
    await resolver.resolve(["orders.test"])
    assert len(server.asked) == asked + 2


async def test_the_ttl_of_an_alias_counts(server: Server, resolver: Resolver, clock: ManualClock) -> None:
    server.alias = {"www.test": "orders.test"}
    server.records = {("orders.test", "A"): ["10.0.0.1"]}
    assert (await resolver.resolve(["www.test"]))["www.test"] == ("10.0.0.1",)
    asked = len(server.asked)
    clock.advance(2.1)
    await resolver.resolve(["www.test"])
    assert len(server.asked) == asked + 2


@pytest.mark.parametrize("how", ["timeout", "servfail", "garbage", "nxdomain", "refused", "empty"])
async def test_the_last_good_addresses_stay_whatever_the_server_does(
    server: Server, resolver: Resolver, clock: ManualClock, log_file: Path, how: str
) -> None:
    server.records = {("orders.test", "A"): ["10.0.0.1"]}
    await resolver.resolve(["orders.test"])
    if how == "timeout":
        server.silent = {"A", "AAAA"}
    elif how == "garbage":
        server.garbage = True
    elif how == "nxdomain":
        server.records = {}
    elif how == "empty":
        server.records = {("orders.test", "TXT"): []}
    else:
        code = dns.rcode.SERVFAIL if how == "servfail" else dns.rcode.REFUSED
        server.rcode = {"A": code, "AAAA": code}
    for _ in range(3):
        clock.advance(60)
        assert (await resolver.resolve(["orders.test"]))["orders.test"] == ("10.0.0.1",)
    assert text_of(log_file).count("dns.failed") == 1
    server.silent, server.garbage, server.rcode = set(), False, {}
    server.records = {("orders.test", "A"): ["10.0.0.2"]}
    clock.advance(RETRY_AFTER * 1.3)
    assert (await resolver.resolve(["orders.test"]))["orders.test"] == ("10.0.0.2",)
    assert text_of(log_file).count("dns.restored") == 1


async def test_one_family_may_fail(server: Server, resolver: Resolver, clock: ManualClock) -> None:
    server.records = {("orders.test", "A"): ["10.0.0.1"], ("orders.test", "AAAA"): ["fd00::1"]}
    await resolver.resolve(["orders.test"])
    server.silent = {"AAAA"}
    server.records = {("orders.test", "A"): ["10.0.0.2"]}
    clock.advance(60)
    assert (await resolver.resolve(["orders.test"]))["orders.test"] == ("10.0.0.2", "fd00::1")


async def test_a_name_that_cannot_be_looked_up_is_left_out(server: Server, resolver: Resolver, log_file: Path) -> None:
    server.records = {("orders.test", "A"): ["10.0.0.1"]}
    found = await resolver.resolve(["orders.test", "nobody.test"])
    assert found == {"orders.test": ("10.0.0.1",)}
    assert "nobody.test cannot be looked up" in text_of(log_file)


async def test_a_failed_look_up_is_not_repeated_at_once(server: Server, resolver: Resolver, clock: ManualClock) -> None:
    await resolver.resolve(["nobody.test"])
    asked = len(server.asked)
    await resolver.resolve(["nobody.test"])
    assert len(server.asked) == asked
    clock.advance(RETRY_AFTER * 1.3)
    await resolver.resolve(["nobody.test"])
    assert len(server.asked) > asked


async def test_many_callers_make_one_look_up(server: Server, resolver: Resolver) -> None:
    server.records = {("orders.test", "A"): ["10.0.0.1"]}
    await asyncio.gather(*(resolver.resolve(["orders.test"]) for _ in range(20)))
    assert sorted(server.asked) == ["A", "AAAA"]


async def test_followed_names_are_looked_up_again_and_changes_are_told(
    server: Server, resolver: Resolver, clock: ManualClock, changes: Changes
) -> None:
    server.records = {("orders.test", "A"): ["10.0.0.1"], ("same.test", "A"): ["10.0.0.7"]}
    await resolver.resolve(["orders.test", "same.test"])
    resolver.follow(["orders.test", "same.test"])
    async with running(resolver):
        server.records["orders.test", "A"] = ["10.0.0.1", "10.0.0.2"]
        clock.advance(31)
        resolver.follow(["orders.test", "same.test"])  # wakes it, as its own timer would
        assert await changes.next() == "orders.test"
        assert (await resolver.resolve(["orders.test"]))["orders.test"] == ("10.0.0.1", "10.0.0.2")
    assert changes.empty()


async def test_a_name_that_is_no_longer_followed_is_forgotten(server: Server, resolver: Resolver) -> None:
    server.records = {("orders.test", "A"): ["10.0.0.1"]}
    await resolver.resolve(["orders.test"])
    resolver.follow([])
    server.records = {("orders.test", "A"): ["10.0.0.2"]}
    assert (await resolver.resolve(["orders.test"]))["orders.test"] == ("10.0.0.2",)


async def test_the_hosts_file_comes_first(
    server: Server, resolver: Resolver, clock: ManualClock, tmp_path: Path
) -> None:
    hosts = tmp_path / "hosts"
    hosts.write_text("# c\n10.1.1.1 Orders.test orders # x\n10.1.1.2 orders.test\nnonsense here\n")
    server.records = {("orders.test", "A"): ["10.0.0.1"]}
    assert (await resolver.resolve(["orders.test"]))["orders.test"] == ("10.1.1.1", "10.1.1.2")
    assert server.asked == []
    hosts.unlink()
    clock.advance(dns_module.HOSTS_TTL + 1)
    assert (await resolver.resolve(["orders.test"]))["orders.test"] == ("10.0.0.1",)


async def test_localhost_needs_no_server(server: Server, resolver: Resolver) -> None:
    found = await resolver.resolve(["localhost", "app.localhost"])
    assert found == {"localhost": ("127.0.0.1",), "app.localhost": ("127.0.0.1",)}
    assert server.asked == []


async def test_the_system_is_asked_for_names_that_dns_does_not_know(
    server: Server, resolver: Resolver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    found = await resolver._ask_system("localhost")
    assert "127.0.0.1" in found
    with pytest.raises(dns_module.LookupFailed):
        await resolver._ask_system("a" * 70 + ".invalid")
