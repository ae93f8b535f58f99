"""A control plane that serves over real gRPC and HTTP, its clients, and an agent with one run."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import httpx
from httpx_sse import ServerSentEvent as Sse
from httpx_sse import aconnect_sse

from services.control.__main__ import Control, serving
from services.control.settings import ControlSettings
from services.control.signal import Signal
from shared.errors import NotFound
from shared.pb import agent_v1, capability_v1, control_v1
from shared.rpc.channel import open_channel
from shared.rpc.server import RpcServer

AGENT = "waystation.agent.v1.AgentService"
SCRIPT = "<script>alert(1)</script>"


@dataclass
class FakeAgent(agent_v1.AgentServiceServicer):
    """An agent with one run whose events the test appends; `broken` ends a watch in the middle."""

    run: agent_v1.Run = field(
        default_factory=lambda: agent_v1.Run(run_id="r1", query=SCRIPT, state=agent_v1.Run.STATE_RUNNING)
    )
    events: list[agent_v1.RunEvent] = field(default_factory=list)
    news: Signal = field(default_factory=Signal)
    is_broken: bool = False
    watchers: int = 0
    is_alone: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the last watcher has gone."""

    async def add(self, **payload: Any) -> None:
        event = agent_v1.RunEvent(run_id="r1", sequence=len(self.events) + 1, **payload)
        event.create_time.GetCurrentTime()
        self.run.last_sequence = event.sequence
        self.events.append(event)
        self.news.fire()

    async def finish(self) -> None:
        self.run.state = agent_v1.Run.STATE_SUCCEEDED
        await self.add(state_changed=agent_v1.RunStateChanged(run=self.run))

    async def GetRun(self, request: agent_v1.GetRunRequest, context: Any) -> agent_v1.GetRunResponse:
        if request.run_id != self.run.run_id:
            raise NotFound(f"There is no run {request.run_id!r}.", remedy="List the runs.")
        return agent_v1.GetRunResponse(run=self.run)

    async def WatchRun(
        self, request: agent_v1.WatchRunRequest, context: Any
    ) -> AsyncIterator[agent_v1.WatchRunResponse]:
        sent = request.after_sequence
        self.watchers += 1
        self.is_alone.clear()
        try:
            while not self.is_broken:
                if sent < len(self.events):
                    yield agent_v1.WatchRunResponse(event=self.events[sent])
                    sent += 1
                elif self.run.state == agent_v1.Run.STATE_SUCCEEDED:
                    return
                else:
                    await self.news.wait()
        finally:
            self.watchers -= 1
            if not self.watchers:
                self.is_alone.set()


@dataclass
class Mesh:
    """A control plane that serves, and its clients."""

    control: Control
    grpc_port: int
    http_port: int
    channel: grpc.aio.Channel
    http: httpx.AsyncClient

    @property
    def registry(self) -> Any:
        return control_v1.RegistryServiceStub(self.channel)

    @property
    def telemetry(self) -> Any:
        return control_v1.TelemetryServiceStub(self.channel)


@asynccontextmanager
async def mesh_in(home: Path, **changes: Any) -> AsyncIterator[Mesh]:
    # nobody listens at port 1
    defaults = {"home": home, "port": 0, "http_port": 0, "agent_address": "127.0.0.1:1"}
    clock = changes.pop("clock", None)
    settings = ControlSettings(**{**defaults, **changes})
    async with (
        serving(settings, clock) as (control, grpc_port, http_port),
        open_channel(f"127.0.0.1:{grpc_port}") as channel,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{http_port}", timeout=20) as http,
    ):
        yield Mesh(control, grpc_port, http_port, channel, http)


@asynccontextmanager
async def agent_at(mesh: Mesh, agent: FakeAgent | None = None) -> AsyncIterator[FakeAgent]:
    """A registered agent: a new one, or one that is back."""
    agent = agent or FakeAgent()  # type: ignore[abstract]  # the calls that are not here are UNIMPLEMENTED
    agent.is_broken = False
    add = agent_v1.add_AgentServiceServicer_to_server
    async with RpcServer("127.0.0.1", 0, lambda server: add(agent, server), (AGENT,)) as server:
        await mesh.registry.Register(registering("agent", server.address, kind="agent"))
        yield agent
        # what still watches ends, so that the drain need not wait for it
        agent.is_broken = True
        agent.news.fire()


def registering(name: str, address: str, kind: str = "capability", **changes: Any) -> control_v1.RegisterRequest:
    descriptor = capability_v1.Descriptor(name=name, description=SCRIPT, **changes)
    return control_v1.RegisterRequest(
        instance_id=f"{name}-{address}", address=address, kind=kind, descriptor=descriptor
    )


@dataclass
class Describing(capability_v1.CapabilityServiceServicer):
    """A capability service that says who it is, and nothing more."""

    name: str

    async def Describe(self, request: capability_v1.DescribeRequest, context: Any) -> capability_v1.DescribeResponse:
        return capability_v1.DescribeResponse(descriptor=capability_v1.Descriptor(name=self.name))


@asynccontextmanager
async def describing(name: str) -> AsyncIterator[RpcServer]:
    """The door of such a service."""
    servicer = Describing(name)  # type: ignore[abstract]  # it is never invoked
    add = capability_v1.add_CapabilityServiceServicer_to_server
    async with RpcServer("127.0.0.1", 0, lambda server: add(servicer, server), ()) as server:
        yield server


def started(span_id: str = "b" * 16, **changes: Any) -> control_v1.Span:
    span = control_v1.Span(trace_id="a" * 32, span_id=span_id, name="agent.hop", service="agent", **changes)
    span.start_time.GetCurrentTime()
    return span


def reporting(*runs: agent_v1.Run, instance_id: str = "agent-1", **changes: Any) -> control_v1.ReportRunEventsRequest:
    """A report in which each run has one event: its newest."""
    events = [agent_v1.RunEvent(run_id=run.run_id, sequence=run.last_sequence or 1) for run in runs]
    defaults = {"store_id": "s", "store_generation": 1, "events": events}
    return control_v1.ReportRunEventsRequest(instance_id=instance_id, runs=runs, **{**defaults, **changes})


@asynccontextmanager
async def following(mesh: Mesh, path: str, **headers: str) -> AsyncIterator[AsyncIterator[Sse]]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    async with aconnect_sse(mesh.http, "GET", path, headers=named) as source:
        assert source.response.headers["cache-control"] == "no-cache, no-transform"
        yield source.aiter_sse()


async def until(events: AsyncIterator[Sse], name: str) -> Sse:
    async for event in events:
        if event.event == name:
            return event
    raise AssertionError(f"the stream ended without {name}")
