"""Several replicas of one capability, over real servers: balanced, tried elsewhere when that is safe, drained."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
import pytest

from services.agent.peer_load import PeerLoad
from services.agent.peers import CapabilityPeers
from services.agent.ports import HopTask, Moved
from services.agent.state import RunContext
from shared.capability import Output, Result, TextDelta
from shared.errors import DeadlineExceeded, Forbidden, InDoubt, ModelUnavailable, PeerUnavailable, WaystationError
from shared.pb import capability_v1
from shared.rpc.interceptors.budget import CYCLES_KEY, HOPS_KEY
from shared.rpc.status import status_code, to_trailers

RUN = RunContext("run", "thread", "c")
NOBODY = "127.0.0.1:1"


@dataclass
class Replica(capability_v1.CapabilityServiceServicer):
    """Answers with its name; fails, goes away, says something first or waits when it is told to."""

    name: str
    failure: WaystationError | None = None
    dies: bool = False
    speaks: bool = False
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    server: Any = None
    address: str = ""
    requests: list[capability_v1.InvokeRequest] = field(default_factory=list)
    metadata: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.gate.set()

    async def Invoke(self, request: capability_v1.InvokeRequest, context: Any) -> AsyncIterator[Any]:
        self.requests.append(request)
        self.metadata = dict(context.invocation_metadata())
        if self.speaks:
            yield capability_v1.InvokeResponse(text_delta=capability_v1.TextDelta(text="half"))
        if self.dies:
            asyncio.create_task(self.server.stop(0))  # noqa: RUF006
            await asyncio.Event().wait()
        await self.gate.wait()
        if self.failure:
            await context.abort(status_code(self.failure), self.failure.message, to_trailers(self.failure))
        yield capability_v1.InvokeResponse(result=capability_v1.Result(text=self.name))


@dataclass
class Directory:
    """Knows the replicas that the test lists."""

    load: PeerLoad
    is_harmless: bool = False
    listed: list[str] = field(default_factory=list)

    def addresses(self) -> Sequence[str]:
        return self.listed

    def addresses_of(self, capability: str) -> Sequence[str]:
        return self.load.ranked(self.listed)

    def is_idempotent(self, capability: str) -> bool:
        return self.is_harmless


@dataclass
class Caller:
    """Calls as hops do."""

    peers: CapabilityPeers
    directory: Directory
    moves: list[str] = field(default_factory=list)

    async def call(self, address: str | None = None, **options: Any) -> list[Output]:
        told = self.directory.load.choose(self.directory.listed) if address is None else address
        options = {"timeout_s": 20.0, "address": told, "step": "call", **options}
        task = HopTask("count", "medium", "thread/task/hop/0", 0, remaining_hops=2, remaining_cycles=1, **options)
        outputs: list[Output] = []
        async for output in self.peers.invoke("counter", task, RUN):
            if isinstance(output, Moved):
                assert not outputs
                self.moves.append(output.address)
            else:
                outputs.append(output)
        return outputs

    async def called(self, **options: Any) -> str:
        [result] = await self.call(**options)
        assert isinstance(result, Result)
        return result.text


@asynccontextmanager
async def calling(*replicas: Replica, is_idempotent: bool = False) -> AsyncIterator[Caller]:
    async with AsyncExitStack() as stack:
        load = PeerLoad()
        directory = Directory(load, is_idempotent)
        for replica in replicas:
            replica.server = grpc.aio.server()
            capability_v1.add_CapabilityServiceServicer_to_server(replica, replica.server)
            replica.address = f"127.0.0.1:{replica.server.add_insecure_port('127.0.0.1:0')}"
            await replica.server.start()
            stack.push_async_callback(replica.server.stop, 0)
            directory.listed.append(replica.address)
        peers = CapabilityPeers(directory, load, patience_s=0.2)  # type: ignore[arg-type]
        stack.push_async_callback(peers.close)
        yield Caller(peers, directory)


async def test_calls_are_spread_evenly() -> None:
    async with calling(Replica("a"), Replica("b"), Replica("c")) as caller:
        one_by_one = Counter([await caller.called() for _ in range(9)])
        at_once = Counter(await asyncio.gather(*(caller.called() for _ in range(30))))
    assert set(one_by_one.values()) == {3}
    assert set(at_once.values()) == {10}
    assert caller.moves == []


async def test_a_busy_replica_is_spared() -> None:
    busy, free = Replica("busy"), Replica("free")
    busy.gate.clear()
    async with calling(busy, free) as caller:
        waiting = asyncio.create_task(caller.called(address=busy.address))
        while not busy.requests:
            await asyncio.sleep(0)
        assert [await caller.called() for _ in range(4)] == ["free"] * 4
        busy.gate.set()
        assert await waiting == "busy"


async def test_a_call_that_was_not_sent_goes_elsewhere_and_says_so() -> None:
    async with calling(there := Replica("there")) as caller:
        caller.directory.listed.append(NOBODY)
        assert await caller.called(address=NOBODY) == "there"
        assert caller.moves == [there.address]
        assert [await caller.called() for _ in range(3)] == ["there"] * 3
    assert caller.moves == [there.address]  # who was away is not chosen again


@pytest.mark.parametrize("failure", [ModelUnavailable("away"), PeerUnavailable("its peer is away", peer="x"), None])
async def test_a_harmless_call_that_breaks_off_is_repeated_elsewhere_under_its_key(
    failure: WaystationError | None,
) -> None:
    bad, good = Replica("bad", failure, dies=failure is None), Replica("good")
    async with calling(bad, good, is_idempotent=True) as caller:
        assert await caller.called(address=bad.address) == "good"
        assert caller.moves == [good.address]
    assert [len(bad.requests), len(good.requests)] == [1, 1]
    assert bad.requests[0] == good.requests[0]


async def test_any_other_call_that_breaks_off_is_in_doubt_and_is_not_made_elsewhere() -> None:
    bad, good = Replica("bad", dies=True), Replica("good")
    async with calling(bad, good) as caller:
        with pytest.raises(InDoubt, match="broke off"):
            await caller.called(address=bad.address)
    assert good.requests == [] and caller.moves == []


async def test_what_was_said_already_is_not_said_again_by_another() -> None:
    bad, good = Replica("bad", dies=True, speaks=True), Replica("good")
    async with calling(bad, good, is_idempotent=True) as caller:
        with pytest.raises(PeerUnavailable):
            await caller.call(address=bad.address)
    assert good.requests == []


async def test_what_a_replica_says_of_the_task_is_believed() -> None:
    bad, good = Replica("bad", Forbidden("no")), Replica("good")
    async with calling(bad, good, is_idempotent=True) as caller:
        with pytest.raises(Forbidden):
            await caller.call(address=bad.address)
    assert good.requests == []


async def test_when_every_replica_fails_the_last_ones_error_is_the_hops() -> None:
    replicas = [Replica("a", ModelUnavailable("a's model")), Replica("b", ModelUnavailable("b's model"))]
    async with calling(*replicas, is_idempotent=True) as caller:
        with pytest.raises(ModelUnavailable, match="b's model"):
            await caller.call(address=replicas[0].address)
    assert [len(replica.requests) for replica in replicas] == [1, 1]


async def test_a_call_that_may_have_been_made_goes_to_the_same_replica_or_is_in_doubt() -> None:
    first, other = Replica("first"), Replica("other")
    async with calling(first, other) as caller:
        assert await caller.called(address=first.address, may_have_run=True) == "first"
        caller.directory.listed.remove(first.address)
        with pytest.raises(InDoubt, match="is not there"):
            await caller.call(address=first.address, may_have_run=True)
        assert other.requests == []
        assert await caller.called(address=first.address, may_have_run=True, repeats_in_doubt=True) == "other"


async def test_a_harmless_call_that_may_have_been_made_goes_anywhere() -> None:
    async with calling(Replica("other"), is_idempotent=True) as caller:
        assert await caller.called(address=NOBODY, may_have_run=True) == "other"


async def test_a_service_that_accepts_and_never_answers_costs_one_hop_and_is_avoided() -> None:
    mute, good = Replica("mute"), Replica("good")
    mute.gate.clear()
    async with calling(mute, good, is_idempotent=True) as caller:
        with pytest.raises(DeadlineExceeded):
            await caller.call(address=mute.address, timeout_s=0.5)
        assert [await caller.called() for _ in range(3)] == ["good"] * 3
    assert len(mute.requests) == 1


async def test_who_leaves_finishes_its_calls_gets_no_new_ones_and_is_hung_up_on() -> None:
    leaving, staying = Replica("leaving"), Replica("staying")
    leaving.gate.clear()
    async with calling(leaving, staying) as caller:
        last = asyncio.create_task(caller.called(address=leaving.address))
        while not leaving.requests:
            await asyncio.sleep(0)
        caller.directory.listed.remove(leaving.address)
        assert [await caller.called() for _ in range(3)] == ["staying"] * 3
        assert set(caller.peers._channels) == {leaving.address, staying.address}
        leaving.gate.set()
        assert await last == "leaving"
        assert set(caller.peers._channels) == {staying.address}


async def test_text_arrives_before_the_end() -> None:
    async with calling(Replica("a", speaks=True)) as caller:
        assert await caller.call() == [TextDelta("half"), Result("a")]


async def test_the_budget_travels_with_the_call() -> None:
    async with calling(replica := Replica("a")) as caller:
        await caller.called()
    assert (replica.metadata[HOPS_KEY], replica.metadata[CYCLES_KEY]) == ("2", "1")
