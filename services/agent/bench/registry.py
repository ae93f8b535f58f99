"""How soon a newcomer can be recommended, and how long routing takes, with 100 services registered: real processes."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from itertools import cycle, islice

import grpc

from services.agent.bench.measure import Measure, quantile
from services.agent.bench.router import CROWD, invented
from services.agent.bench.stack import free_port, running_stack
from services.agent.router.authored import Newcomer, labelled_queries, newcomers
from shared.call_context import CallContext
from shared.capability import Descriptor, Invocation, Output, Result
from shared.capability.registration import Registration, registered
from shared.capability.servicer import CapabilityServicer
from shared.pb import agent_v1, capability_v1, control_v1
from shared.rpc.channel import open_channel
from shared.rpc.server import RpcServer

QUERIES = 500
WARM_UP = 20
EXAMPLES = 12
"""Of each service, as docs/services.md advises."""
LOOK_S = 0.5
KNOWN_TIMEOUT_S = 600.0
"""For all to be known: their examples are embedded first."""


class _Stand:
    """A service that is there."""

    def __init__(self, descriptor: Descriptor) -> None:
        self.descriptor = descriptor

    async def invoke(self, invocation: Invocation, call: CallContext) -> AsyncIterator[Output]:
        yield Result(invocation.task)


async def measure() -> list[Measure]:
    """Fill the registry, let newcomers join one at a time, and route."""
    control = free_port()
    settings = {"WAYSTATION_CONTROL_PORT": str(control), "WAYSTATION_CONTROL_ADDRESS": f"127.0.0.1:{control}"}
    async with running_stack((), **settings) as agent, AsyncExitStack() as stack:
        for number in range(CROWD - 1):  # the stack has one of its own
            await stack.enter_async_context(_joined(_depot(number), f"127.0.0.1:{control}"))
        await _all_serving(f"127.0.0.1:{control}")
        # the first one waits until the crowd's examples are embedded
        seconds = [await _join_time(agent, newcomer, f"127.0.0.1:{control}", stack) for newcomer in newcomers()][1:]
        queries = [item.query for item in islice(cycle(labelled_queries()), WARM_UP + QUERIES)]
        latencies = [await _route_ms(agent, query) for query in queries][WARM_UP:]
    return [
        Measure(f"registry.{CROWD}_services.joins_p50", quantile(seconds, 0.5), "s", n=len(seconds)),
        Measure(f"registry.{CROWD}_services.joins_longest", max(seconds), "s", n=len(seconds)),
        Measure(f"registry.{CROWD}_services.route_p50", quantile(latencies, 0.5), "ms", n=QUERIES),
        Measure(f"registry.{CROWD}_services.route_p99", quantile(latencies, 0.99), "ms", n=QUERIES),
    ]


def _depot(number: int) -> Descriptor:
    whole = invented(number)
    return replace(whole, examples=whole.examples[:: len(whole.examples) // EXAMPLES])


@asynccontextmanager
async def _joined(descriptor: Descriptor, control_address: str) -> AsyncIterator[None]:
    def add(server: grpc.aio.Server) -> None:
        capability_v1.add_CapabilityServiceServicer_to_server(CapabilityServicer(_Stand(descriptor)), server)

    async with RpcServer("127.0.0.1", 0, add, (), has_spans=False) as server:
        name = descriptor.name
        async with registered(Registration(control_address, name, server.address, "capability", descriptor)):
            yield


async def _all_serving(control_address: str) -> None:
    request = control_v1.ListServicesRequest(kind="capability")
    async with asyncio.timeout(KNOWN_TIMEOUT_S), open_channel(control_address, has_spans=False) as channel:
        stub, serving = control_v1.RegistryServiceStub(channel), 0
        while serving < CROWD:
            await asyncio.sleep(LOOK_S)
            found = (await stub.ListServices(request, timeout=KNOWN_TIMEOUT_S)).instances
            serving = sum(item.health.state == control_v1.Health.STATE_SERVING for item in found)


async def _join_time(
    agent: "agent_v1.AgentServiceAsyncStub", newcomer: Newcomer, control_address: str, stack: AsyncExitStack
) -> float:
    """From before the registration to the first recommendation that names the newcomer, in seconds. It stays."""
    started = time.perf_counter()
    await stack.enter_async_context(_joined(newcomer.service, control_address))
    await _recommended(agent, newcomer.queries[0], newcomer.service.name)
    return time.perf_counter() - started


async def _recommended(agent: "agent_v1.AgentServiceAsyncStub", query: str, name: str) -> None:
    request = agent_v1.RecommendRouteRequest(query=query)
    async with asyncio.timeout(KNOWN_TIMEOUT_S):
        while True:
            answer = await agent.RecommendRoute(request, timeout=KNOWN_TIMEOUT_S)
            if name in {candidate.service for candidate in answer.recommendation.candidates}:
                return


async def _route_ms(agent: "agent_v1.AgentServiceAsyncStub", query: str) -> float:
    started = time.perf_counter()
    await agent.RecommendRoute(agent_v1.RecommendRouteRequest(query=query), timeout=60)
    return (time.perf_counter() - started) * 1e3
