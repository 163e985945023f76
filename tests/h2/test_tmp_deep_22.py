"""Requests, content, windows, settings, resets and goodbyes in any order, over both versions on either side.

The h2 library is the peer: it raises when the gateway breaks a rule, above all one about windows. Besides, no octet of
a message may be lost, doubled or come from another one; every exchange leaves exactly one record; what is held inside
is bounded; and nothing stays behind.
"""

from __future__ import annotations

from h2.settings import SettingCodes
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tests.h2 import raw
from tests.h2.actors import Bench, Call, H1Call, H1Clients, H1Serving, H2Call, H2Client, H2Endpoint, H2Serving, Serving
from tests.h2.oracle import Oracle

from gatewright.snapshot import model
from gatewright.testing.rig import Rig

#: Octets of one message that the gateway may hold: what it gives as a window, and its writing and reading buffers.
MOST_INSIDE = 768 * 1024
SIZES = st.sampled_from([0, 1, 100, 16_384, 16_385, 70_000, 200_000])
WINDOWS = st.sampled_from([0, 1, 1000, 65_535, 1_000_000])


def content(key: bytes, begin: int, size: int) -> bytes:
    """A piece of a content that is different for each message, and nowhere the same as before or behind."""
    unit = key + b"0123456789abcdefghijklmnopqrstuvwxyz" + b"." * (len(key) % 3)
    first = begin // len(unit)
    text = b"".join(b"%b%x" % (unit, i) for i in range(first, first + size // len(unit) + 2))
    return text[:size]


class Message:
    """What one side has been told to send."""

    def __init__(self) -> None:
        self.begun = self.ended = self.reset = False
        self.sent = b""

    def piece(self, key: bytes, size: int) -> bytes:
        data = content(key, len(self.sent), size)
        self.sent += data
        return data


class Pair:
    """A call and what became of it."""

    def __init__(self, key: bytes, call: Call, client: H2Client | H1Clients) -> None:
        self.key = key
        self.call = call
        self.client = client
        self.request = Message()
        self.response = Message()
        self.serving: Serving | None = None


class CutLink(raw.RigLink):
    """Keeps the last octets back until something else is sent."""

    keep = 0
    kept = b""

    def send(self, data: bytes) -> None:
        data = self.kept + data
        at = max(0, len(data) - self.keep)
        self.kept = data[at:]
        if at:
            super().send(data[:at])


class AnyOrder(RuleBasedStateMachine):
    @initialize(
        down=st.sampled_from(["http1", "h2", "h2"]), up=st.sampled_from(["http1", "h2", "h2"]), most=st.integers(1, 4)
    )
    def begin(self, down: str, up: str, most: int) -> None:
        self.rig = Rig()
        pool = model.Pool(max_connections=1000 if most > 2 else most, wait_timeout=3.0)
        self.bench = Bench(self.rig, down, up, pool, timeout=500.0)
        self.pairs: list[Pair] = []
        self.count = 0
        if isinstance(self.bench.client, H2Client):
            oracle = self.bench.client.oracle
            oracle.link = CutLink(self.rig, oracle.link.peer)  # type: ignore[attr-defined]

    # --- who there is -------------------------------------------------------------------------------------------------

    def open_pairs(self) -> list[Pair]:
        return [pair for pair in self.pairs if not pair.request.reset and not over(pair.call)]

    def sending(self) -> list[Pair]:
        return [pair for pair in self.open_pairs() if not pair.request.ended and can_send(pair.call)]

    def servings(self) -> list[Pair]:
        return [pair for pair in self.pairs if pair.serving is not None and can_respond(pair.serving, pair.response)]

    def oracles(self) -> list[Oracle]:
        found = [self.bench.client.oracle] if isinstance(self.bench.client, H2Client) else []
        if isinstance(self.bench.endpoint, H2Endpoint):
            found += self.bench.endpoint.oracles
        return [each for each in found if not each.over]

    # --- requests -----------------------------------------------------------------------------------------------------

    @rule(method=st.sampled_from([b"GET", b"POST", b"HEAD"]), streams=st.booleans(), crumbs=st.integers(0, 2))
    def call(self, method: bytes, streams: bool, crumbs: int) -> None:
        client = self.bench.client
        if isinstance(client, H2Client):
            if client.oracle.over or len(client.oracle.streams) > 40:
                client = self.bench.client = H2Client(self.bench)
            if client.oracle.connection.open_outbound_streams >= 20:
                return
        self.count += 1
        key = b"/%d" % self.count
        fields = [(b"cookie", b"a=%d" % i) for i in range(crumbs)][: 1 if isinstance(client, H1Clients) else 2]
        call = self.bench.call(method, key, *fields, streams=streams)
        pair = Pair(key, call, client)
        pair.request.begun, pair.request.ended = True, not streams
        self.pairs.append(pair)

    @precondition(lambda self: self.sending())
    @rule(which=st.data(), size=SIZES)
    def client_sends(self, which: st.DataObject, size: int) -> None:
        pair = which.draw(st.sampled_from(self.sending()))
        pair.call.send(pair.request.piece(b"q" + pair.key, size))

    @precondition(lambda self: self.sending())
    @rule(which=st.data(), trailers=st.booleans())
    def client_ends(self, which: st.DataObject, trailers: bool) -> None:
        pair = which.draw(st.sampled_from(self.sending()))
        pair.request.ended = True
        pair.call.end(*([(b"x-sum", pair.key)] if trailers else []))

    @precondition(lambda self: self.open_pairs())
    @rule(which=st.data())
    def client_cancels(self, which: st.DataObject) -> None:
        pair = which.draw(st.sampled_from(self.open_pairs()))
        pair.request.reset = True
        pair.call.cancel()

    # --- responses ----------------------------------------------------------------------------------------------------

    @precondition(lambda self: any(not pair.response.begun for pair in self.servings()))
    @rule(which=st.data(), status=st.sampled_from([200, 200, 404, 503]), interim=st.booleans())
    def endpoint_responds(self, which: st.DataObject, status: int, interim: bool) -> None:
        pair = which.draw(st.sampled_from([pair for pair in self.servings() if not pair.response.begun]))
        assert pair.serving is not None
        if interim and not pair.request.reset:  # the library objects to 1xx on a stream that it has reset
            pair.serving.inform(103, (b"link", pair.key))
        pair.response.begun = True
        pair.serving.respond(status, (b"x-key", pair.key))

    @precondition(lambda self: any(pair.response.begun for pair in self.servings()))
    @rule(which=st.data(), size=SIZES, end=st.booleans(), trailers=st.booleans())
    def endpoint_sends(self, which: st.DataObject, size: int, end: bool, trailers: bool) -> None:
        pair = which.draw(st.sampled_from([pair for pair in self.servings() if pair.response.begun]))
        assert pair.serving is not None
        if pair.serving.method != b"HEAD":
            pair.serving.send(pair.response.piece(b"s" + pair.key, size))
        if end and can_respond(pair.serving, pair.response):
            pair.response.ended = True
            pair.serving.end(*([(b"x-sum", pair.key)] if trailers and pair.serving.method != b"HEAD" else []))

    @precondition(lambda self: self.servings())
    @rule(which=st.data())
    def endpoint_resets(self, which: st.DataObject) -> None:
        pair = which.draw(st.sampled_from(self.servings()))
        assert pair.serving is not None
        pair.response.reset = True
        pair.serving.reset()

    # --- connections --------------------------------------------------------------------------------------------------

    @precondition(lambda self: self.oracles())
    @rule(which=st.data(), window=WINDOWS)
    def initial_window(self, which: st.DataObject, window: int) -> None:
        which.draw(st.sampled_from(self.oracles())).set(INITIAL_WINDOW_SIZE=window)
        self.bench.settle()

    @precondition(lambda self: self.oracles())
    @rule(which=st.data(), frame=st.sampled_from([16_384, 100_000]), table=st.sampled_from([0, 100, 4096]))
    def other_settings(self, which: st.DataObject, frame: int, table: int) -> None:
        oracle = which.draw(st.sampled_from(self.oracles()))
        oracle.set(MAX_FRAME_SIZE=frame, HEADER_TABLE_SIZE=table)
        self.bench.settle()

    @precondition(lambda self: isinstance(self.bench.endpoint, H2Endpoint) and self.bench.endpoint.oracles)
    @rule(most=st.sampled_from([0, 1, 3, 100]))
    def fewer_streams(self, most: int) -> None:
        assert isinstance(self.bench.endpoint, H2Endpoint)
        self.bench.endpoint.local = {SettingCodes.MAX_CONCURRENT_STREAMS: most}
        for oracle in self.bench.endpoint.oracles[-1:]:
            if not oracle.over:
                oracle.connection.update_settings({3: most})  # not in force until it is acknowledged
                self.bench.settle()

    @precondition(lambda self: self.oracles())
    @rule(which=st.data(), size=st.sampled_from([1, 5000, 1 << 20]))
    def widen(self, which: st.DataObject, size: int) -> None:
        oracle = which.draw(st.sampled_from(self.oracles()))
        oracle.widen(size)
        self.bench.settle()

    @precondition(lambda self: self.oracles())
    @rule(which=st.data())
    def ping(self, which: st.DataObject) -> None:
        oracle = which.draw(st.sampled_from(self.oracles()))
        before = len(oracle.pongs)
        oracle.ping()
        self.bench.settle()
        assert len(oracle.pongs) == before + 1 or oracle.over or self.cut(oracle)

    def cut(self, oracle: Oracle) -> bool:
        return isinstance(oracle.link, CutLink) and bool(oracle.link.kept)

    @precondition(lambda self: isinstance(self.bench.client, H2Client))
    @rule(keep=st.sampled_from([0, 0, 1, 8, 9, 10, 30, 5000]))
    def keep_back(self, keep: int) -> None:
        assert isinstance(self.bench.client, H2Client)
        link = self.bench.client.oracle.link
        if isinstance(link, CutLink):
            link.keep = keep
            link.send(b"")
            self.bench.settle()

    @rule(side=st.sampled_from(["client", "endpoint"]))
    def stall(self, side: str) -> None:
        getattr(self.bench, side).stall()

    @rule(side=st.sampled_from(["client", "endpoint"]))
    def unstall(self, side: str) -> None:
        getattr(self.bench, side).unstall()
        self.bench.settle()

    @precondition(lambda self: isinstance(self.bench.endpoint, H2Endpoint) and self.bench.endpoint.oracles)
    @rule(keep=st.integers(0, 3))
    def endpoint_goes_away(self, keep: int) -> None:
        assert isinstance(self.bench.endpoint, H2Endpoint)
        oracle = self.bench.endpoint.oracles[-1]
        if not oracle.over and not self.cut(oracle):
            oracle.link.send(raw.goaway(max([0, *sorted(oracle.streams)][: 1 + keep])))
            self.bench.settle()

    @rule()
    def client_goes_away(self) -> None:
        if isinstance(self.bench.client, H2Client) and not self.bench.client.oracle.over:
            oracle = self.bench.client.oracle
            oracle.link.send(raw.goaway(0))
            self.bench.settle()
            self.bench.client = H2Client(self.bench)  # nobody asks it any more, and nobody looks at it

    @rule(end=st.booleans())
    def client_leaves(self, end: bool) -> None:
        if isinstance(self.bench.client, H2Client):
            peer = self.bench.client.oracle.link.peer  # type: ignore[attr-defined]
            peer.end() if end else peer.reset()
            self.bench.settle()
            self.bench.client = H2Client(self.bench)

    @rule(seconds=st.sampled_from([0.05, 1.0, 15.0, 100.0]))
    def time_passes(self, seconds: float) -> None:
        self.rig.advance(seconds)
        if seconds > 5 and not self.rig.origin("a").waiting:
            assert not self.rig.origin("a").endpoint.pool.waiters, "somebody waits without end"
        self.bench.settle()

    # --- what must be -------------------------------------------------------------------------------------------------

    @invariant()
    def nothing_is_wrong(self) -> None:
        if not hasattr(self, "rig"):
            return
        assert not self.rig.world.bugs, self.rig.world.bugs
        self.meet()
        for pair in self.pairs:
            self.check(pair)
        seen = [id(record) for record in self.rig.records]
        assert len(seen) == len(set(seen)), "an exchange was recorded twice"
        assert len(seen) <= self.count
        assert all(record.ended and record.status for record in self.rig.records)

    def meet(self) -> None:
        """Find out which calls have reached the endpoint; one that was not looked at may come again."""
        last = {each.target: each for each in self.bench.endpoint.servings}
        for pair in self.pairs:
            found = last.get(pair.key)
            if found is not pair.serving:
                pair.serving = found
                pair.response = Message()

    def check(self, pair: Pair) -> None:
        call, serving = pair.call, pair.serving
        if serving is not None:
            assert pair.request.sent.startswith(serving.body), "the endpoint got something else"
            assert not serving.ended or serving.body == pair.request.sent or pair.request.reset
            assert serving.trailers in {(), ((b"x-sum", pair.key),)}
            inside = forwarded(pair) - len(serving.body)
            assert inside <= MOST_INSIDE, f"{inside} octets of a request are held"
        if call.get(b"x-key") is not None:
            assert call.get(b"x-key") == pair.key
            if serving is not None and pair.response.begun:
                assert pair.response.sent.startswith(call.body), "the client got something else"
                if call.ended and pair.response.ended and call.status == 200:
                    assert call.body == pair.response.sent
                assert not (call.ended and pair.response.reset and not pair.response.ended) or not call.body
        elif call.ended and call.status:
            assert call.status in {408, 499, 502, 503, 504}, f"the gateway has answered {call.status}"

    def teardown(self) -> None:
        if not hasattr(self, "rig"):
            return
        for client in self.rig.clients:
            if not client.closed:
                client.reset()
        while self.rig.origin("a").waiting:
            self.rig.origin("a").refuse()
        self.rig.advance(10)
        self.rig.check_idle()
        assert len(self.rig.records) <= self.count


def over(call: Call) -> bool:
    """Nothing more is to come of it."""
    if isinstance(call, H2Call):
        return call.heard.reset is not None or call.clients.oracle.over or call.ended
    return call.ended or call.broken


def can_send(call: Call) -> bool:
    """Whether the request's side is open."""
    if isinstance(call, H2Call):
        return call.heard.reset is None and not call.clients.oracle.over
    assert isinstance(call, H1Call)
    return not call.wire.peer.closed and not call.broken


def can_respond(serving: Serving, response: Message) -> bool:
    """Whether the response's side is open."""
    if response.ended or response.reset:
        return False
    if isinstance(serving, H2Serving):
        return serving.heard.reset is None and not serving.oracle.over
    assert isinstance(serving, H1Serving)
    return not serving.wire.peer.closed and not serving.broken


def forwarded(pair: Pair) -> int:
    """Octets of the request's content that the gateway has taken."""
    if isinstance(pair.call, H2Call):
        return len(pair.request.sent) - sum(map(len, pair.call.heard.out))
    assert isinstance(pair.call, H1Call)
    return len(pair.request.sent) - sum(map(len, pair.call.wire.peer.transport.unread))


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(max_examples=2000, phases=[Phase.generate], stateful_step_count=40, deadline=None, report_multiple_bugs=False)
