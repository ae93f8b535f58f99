"""Budgets on the wire: a service that calls on stays within what its caller gave, over real servers."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import grpc
import pytest

from shared.call_context import CallContext
from shared.capability import Descriptor, Invocation, Output, Result
from shared.capability.servicer import CapabilityServicer
from shared.capability.wire import output_from_proto
from shared.errors import InvalidInput, LimitExceeded
from shared.pb import capability_v1
from shared.rpc.channel import open_channel
from shared.rpc.interceptors.budget import CYCLES_KEY, HOPS_KEY
from shared.rpc.server import AddServicers, RpcServer
from shared.rpc.status import peer_errors

Stub = capability_v1.CapabilityServiceStub


class Caller:
    """Calls on as often as its task says, to the next service of the chain when there is one."""

    descriptor = Descriptor("caller", "Calls on.", ("calls",))

    def __init__(self, following: "Stub | None" = None, told: tuple[tuple[str, str], ...] = ()) -> None:
        self._following, self._told = following, told
        self.budgets: list[tuple[int | None, int | None]] = []

    async def invoke(self, invocation: Invocation, call: CallContext) -> AsyncIterator[Output]:
        budget = call.budget
        self.budgets.append((budget.remaining_hops, budget.remaining_cycles) if budget else (None, None))
        for _ in range(int(invocation.task)):
            if self._following:
                await invoke(self._following, invocation.task, self._told)
        yield Result("done")


async def invoke(stub: Stub, task: str, metadata: tuple[tuple[str, str], ...]) -> list[Output | None]:
    with peer_errors("caller"):
        call = stub.Invoke(capability_v1.InvokeRequest(task=task), timeout=10, metadata=metadata)
        return [output_from_proto(message) async for message in call]


@asynccontextmanager
async def chain(length: int, told: tuple[tuple[str, str], ...] = ()) -> AsyncIterator[tuple[Stub, list[Caller]]]:
    """So many services, each of which calls the one after it; the first one's stub, and all of them in order."""
    async with AsyncExitStack() as stack:
        callers: list[Caller] = []
        stub: Stub | None = None
        for _ in range(length):
            caller = Caller(stub, told)
            server = await stack.enter_async_context(RpcServer("127.0.0.1", 0, adder(caller), ()))
            stub = Stub(await stack.enter_async_context(open_channel(server.address)))
            callers.insert(0, caller)
        assert stub
        yield stub, callers


def adder(caller: Caller) -> AddServicers:
    def add(server: grpc.aio.Server) -> None:
        capability_v1.add_CapabilityServiceServicer_to_server(CapabilityServicer(caller), server)

    return add


def budget(hops: int, cycles: int = 0) -> tuple[tuple[str, str], ...]:
    return (HOPS_KEY, str(hops)), (CYCLES_KEY, str(cycles))


async def test_each_call_on_takes_a_hop_and_carries_what_is_left_then() -> None:
    async with chain(2) as (stub, (first, last)):
        await invoke(stub, "3", budget(3, cycles=1))
    assert first.budgets == [(3, 1)]
    assert last.budgets == [(2, 1), (1, 1), (0, 1)]


async def test_one_call_more_than_the_budget_is_refused_before_it_is_sent() -> None:
    async with chain(2) as (stub, (_, last)):
        with pytest.raises(LimitExceeded, match="spent") as caught:
            await invoke(stub, "3", budget(2))
    assert len(last.budgets) == 2
    assert caught.value.metadata["limit"] == "remaining_hops" and caught.value.remedy


async def test_a_chain_ends_where_the_budget_does() -> None:
    async with chain(4) as (stub, callers):
        with pytest.raises(LimitExceeded):
            await invoke(stub, "1", budget(2))
    assert [caller.budgets for caller in callers] == [[(2, 0)], [(1, 0)], [(0, 0)], []]


async def test_a_caller_may_give_less_than_it_has_and_never_more() -> None:
    for told, given in ((1, 1), (900, 4)):
        async with chain(2, ((HOPS_KEY, str(told)),)) as (stub, (_, last)):
            await invoke(stub, "1", budget(5))
        assert last.budgets == [(given, 0)]


async def test_without_a_budget_there_is_none_to_exceed() -> None:
    async with chain(2) as (stub, (_, last)):
        await invoke(stub, "3", ())
    assert last.budgets == [(None, None)] * 3


@pytest.mark.parametrize("key", [HOPS_KEY, CYCLES_KEY])
@pytest.mark.parametrize("value", ["-1", "many", "", "1.5", "9" * 30])
async def test_a_budget_that_is_no_number_is_refused_by_name(key: str, value: str) -> None:
    async with chain(1) as (stub, (only,)):
        with pytest.raises(InvalidInput, match=key):
            await invoke(stub, "1", ((key, value),))
    assert only.budgets == []
