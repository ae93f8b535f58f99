"""One agent and one capability service, served over real gRPC; the chat model is scripted."""

import asyncio
import json
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc

from services.agent.approvals import Approvals
from services.agent.arbitrator import Thresholds
from services.agent.care.agent_store import SCHEMAS
from services.agent.checkpoint.saver import Saver
from services.agent.custody import Custodian
from services.agent.graph import Kit, Limits
from services.agent.guardian.boundary import GuardianBoundary
from services.agent.guardian.guardian import Guardian
from services.agent.guardian.servicer import GuardianServicer
from services.agent.guardian.store import GuardianStore
from services.agent.lost_commits import MissingCommits
from services.agent.mailbox.mailbox import Mailbox
from services.agent.mailbox.roles import service_roles
from services.agent.peer_load import PeerLoad
from services.agent.peers import CapabilityPeers
from services.agent.ports import Ports
from services.agent.run_events import RunEvents
from services.agent.run_retention import RunRetention
from services.agent.run_store import RunStore
from services.agent.runs import Runs
from services.agent.servicer import AgentServicer
from services.agent.settings import AgentSettings
from services.agent.state import Candidate, Recommendation
from services.agent.workflows.catalogue import PythonWorkflow, open_catalogue
from services.agent.workflows.document import MAX_HOPS
from shared.call_context import CallContext
from shared.capability import Artifact, Citation, Descriptor, Invocation, OutgoingMessage, Output, Result, TextDelta
from shared.capability.servicer import CapabilityServicer
from shared.errors import (
    WaystationError,
)
from shared.models.chat import ChatDelta, ChatMessage, ChatUsage, Completion
from shared.pb import agent_v1, capability_v1
from shared.rpc.channel import open_channel
from shared.rpc.server import RpcServer
from shared.rpc.status import peer_errors
from shared.storage.database import Database

TERMINAL = (agent_v1.Run.STATE_SUCCEEDED, agent_v1.Run.STATE_FAILED, agent_v1.Run.STATE_CANCELLED)


class FakeService:
    """A capability service with memory and dials."""

    descriptor = Descriptor("coding", "Writes code.", ("python",), ("write a sort",))

    def __init__(self) -> None:
        self.calls: list[Invocation] = []
        self.failure: WaystationError | None = None
        self.forgets_failure = False
        self.outgoing: list[OutgoingMessage] = []
        self.hang = asyncio.Event()
        self.hang.set()
        self.was_called = asyncio.Event()
        self.is_closed = asyncio.Event()

    async def invoke(self, invocation: Invocation, call: CallContext) -> AsyncIterator[Output]:
        self.calls.append(invocation)
        self.was_called.set()
        try:
            if self.failure:
                failure = self.failure
                self.failure = None if self.forgets_failure else failure
                raise failure
            for message in self.outgoing:
                yield message
            yield TextDelta("It is ")
            await self.hang.wait()
            yield TextDelta("sorted.")
            yield Artifact("a1", "code", "main.py", "text/x-python", "print(1)")
            yield Citation(1, "notes.md", start_line=3, end_line=4)
            yield Result("It is sorted.")
        finally:
            self.is_closed.set()


class ScriptedModel:
    """A chat model: decisions for schema-bound calls, words for the others."""

    def __init__(self) -> None:
        self.decisions: list[dict[str, Any]] = []
        self.words = ["Hel", "lo."]
        self.failure: WaystationError | None = None
        self.asked: list[Sequence[ChatMessage]] = []

    async def complete(self, messages: Sequence[ChatMessage], **_: Any) -> Completion:
        self.asked.append(messages)
        if self.failure:
            raise self.failure
        return Completion(json.dumps(self.decisions.pop(0)))

    async def stream(self, messages: Sequence[ChatMessage], **_: Any) -> AsyncIterator[ChatDelta]:
        if self.failure:
            raise self.failure
        for word in self.words:
            yield ChatDelta(word)
        yield ChatDelta(usage=ChatUsage("scripted", 1, len(self.words)))


@dataclass
class FakeRouter:
    top: str = "coding"

    async def recommend(self, query: str, tags: Collection[str] = ()) -> Recommendation:
        candidate = Candidate(service="coding", confidence=0.95, matched_tags=["python"], nearest_examples=["write"])
        return Recommendation(top=self.top, confidence=0.95, candidates=[candidate], router="embedding", latency_ms=2.0)


@dataclass
class FakeDirectory:
    address: str = ""
    is_harmless: bool = False

    def services(self) -> Sequence[Descriptor]:
        return [FakeService.descriptor]

    def address_of(self, capability: str) -> str:
        return self.address

    def addresses_of(self, capability: str) -> Sequence[str]:
        return [self.address] if self.address else []

    def addresses(self) -> Sequence[str]:
        return self.addresses_of("")

    def is_idempotent(self, capability: str) -> bool:
        return self.is_harmless


@dataclass
class Mesh:
    """One agent and one capability service, served."""

    stub: agent_v1.AgentServiceStub
    guardian: agent_v1.GuardianServiceStub
    service: FakeService
    model: ScriptedModel
    router: FakeRouter
    directory: FakeDirectory
    runs: Runs
    store: RunStore
    database: Database
    address: str
    """Where the agent serves."""
    seen: list[agent_v1.RunEvent] = field(default_factory=list)

    async def start(self, query: str = "sort it", **fields: Any) -> agent_v1.Run:
        with peer_errors("agent"):
            return (await self.stub.StartRun(agent_v1.StartRunRequest(query=query, **fields), timeout=10)).run

    async def watch(self, run_id: str, after: int = 0) -> list[agent_v1.RunEvent]:
        request = agent_v1.WatchRunRequest(run_id=run_id, after_sequence=after)
        with peer_errors("agent"):
            return [message.event async for message in self.stub.WatchRun(request, timeout=20)]

    async def finish(self, query: str = "sort it", **fields: Any) -> agent_v1.Run:
        self.seen = await self.watch((await self.start(query, **fields)).run_id)
        return self.seen[-1].state_changed.run

    def payloads(self, kind: str) -> list[Any]:
        return [getattr(event, kind) for event in self.seen if event.WhichOneof("payload") == kind]


class DyingStore(RunStore):
    """The store of a process that dies: it lets go of nothing."""

    async def release_lease(self, thread_id: str, epoch: int) -> None:
        pass


@asynccontextmanager
async def mesh(
    home: Path,
    missing: Sequence[MissingCommits] = (),
    *,
    dies: bool = False,
    hangs: bool = False,
    owner: str = "agent-test",
    registered: Sequence[PythonWorkflow] = (),
    service: Any = None,
    is_idempotent: bool = False,
    **settings: Any,
) -> AsyncIterator[Mesh]:
    """An agent that serves until the context ends: with a drain, or, when it `dies`, as by a kill.

    `missing` is what the control plane knows of commits that its store has lost; `service` stands for every service.
    """
    service, model, router = service or FakeService(), ScriptedModel(), FakeRouter()
    directory = FakeDirectory(is_harmless=is_idempotent)
    if hangs:
        service.hang.clear()
    async with AsyncExitStack() as stack:

        def add_capability(server: grpc.aio.Server) -> None:
            capability_v1.add_CapabilityServiceServicer_to_server(CapabilityServicer(service), server)

        # a service that is started again has its old address: at another one it would be a replica
        door = home / "service_port"
        port = int(door.read_text()) if door.exists() else 0
        served = await stack.enter_async_context(RpcServer("127.0.0.1", port, add_capability, ()))
        door.write_text(str(served.port))
        directory.address = served.address
        database = Database(home / "agent.db", *SCHEMAS)
        database.open()
        stack.callback(database.close)
        agent_settings = AgentSettings(home=home, **{"drain_timeout_s": 0, **settings})
        custodian = Custodian(owner, agent_settings.lease_s)
        store = (DyingStore if dies else RunStore)(database, custodian)
        events = RunEvents(store)
        peers = CapabilityPeers(directory, PeerLoad())  # type: ignore[arg-type]
        stack.push_async_callback(peers.close)

        def roles(run: agent_v1.Run) -> Collection[str]:
            return catalogue.roles(run.workflow) or service_roles(directory.services())

        mailbox = Mailbox(database, events, roles)
        models = {"low": model, "medium": model, "high": model}
        approvals = Approvals(agent_settings.approvals)
        ports = Ports(router, directory, peers, events, mailbox, models, approvals)  # type: ignore[arg-type]
        acts = GuardianStore(database)
        boundaries = [GuardianBoundary(acts, events, MAX_HOPS), mailbox]
        kit = Kit(ports, Limits(Thresholds(0.8, 0.5), 5, 5, 5), Saver(database), boundaries)
        catalogue = open_catalogue(kit, home / "workflows", agent_settings.max_hops, registered)
        runs = Runs(catalogue, store, events, RunRetention(database), agent_settings)
        guardian = Guardian(acts, runs, events, directory, catalogue.calls, catalogue.max_hops, catalogue.decides)

        def add_agent(server: grpc.aio.Server) -> None:
            servicer = AgentServicer(runs, router, mailbox)
            agent_v1.add_AgentServiceServicer_to_server(servicer, server)
            agent_v1.add_GuardianServiceServicer_to_server(GuardianServicer(guardian), server)

        agent = await stack.enter_async_context(RpcServer("127.0.0.1", 0, add_agent, ()))
        channel = await stack.enter_async_context(open_channel(agent.address))
        stack.push_async_callback(runs.drain)
        await runs.recover(missing)
        await guardian.finish()
        sweeper = asyncio.create_task(runs.recovery.run())
        stack.push_async_callback(_cancelled, sweeper)
        stub, guardian_stub = agent_v1.AgentServiceStub(channel), agent_v1.GuardianServiceStub(channel)
        yield Mesh(stub, guardian_stub, service, model, router, directory, runs, store, database, agent.address)


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
