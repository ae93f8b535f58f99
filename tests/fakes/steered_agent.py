"""An agent that remembers what it was asked and answers each call with what the test laid out for it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.protobuf.message import Message

from shared.call_context import current_call
from shared.errors import NotBuilt, WaystationError
from shared.gen.waystation.agent.v1 import agent_service_pb2, guardian_service_pb2
from shared.pb import agent_v1, control_v1
from shared.rpc.server import RpcServer
from tests.fakes.control_mesh import Mesh, registering

CALLS = [
    method.name
    for service in (agent_service_pb2.DESCRIPTOR, guardian_service_pb2.DESCRIPTOR)
    for each in service.services_by_name.values()
    for method in each.methods
    if not method.server_streaming
]
SERVICES = ("waystation.agent.v1.AgentService", "waystation.agent.v1.GuardianService")


@dataclass
class SteeredAgent:
    """Answers with `answers[call]`, or with `failure`; what has no answer is not built."""

    answers: dict[str, Message] = field(default_factory=dict)
    failure: WaystationError | None = None
    requests: list[Any] = field(default_factory=list)
    correlation_ids: list[str] = field(default_factory=list)
    remaining_s: list[float] = field(default_factory=list)

    async def answer(self, call: str, request: Message, context: Any) -> Message:
        self.requests.append(request)
        self.remaining_s.append(context.time_remaining())
        if call_context := current_call():
            self.correlation_ids.append(call_context.correlation_id)
        if self.failure:
            raise self.failure
        if call not in self.answers:
            raise NotBuilt(f"{call} is not built.")
        return self.answers[call]


@asynccontextmanager
async def steered_agent_at(mesh: Mesh) -> AsyncIterator[SteeredAgent]:
    """The agent, served and registered until the context ends."""
    agent = SteeredAgent()

    def bound(call: str) -> Any:
        async def serve(_: Any, request: Message, context: Any) -> Message:
            return await agent.answer(call, request, context)

        return serve

    methods = {call: bound(call) for call in CALLS}
    runs = type("Runs", (agent_v1.AgentServiceServicer,), methods)()
    guardian = type("Guardian", (agent_v1.GuardianServiceServicer,), methods)()

    def add(server: grpc.aio.Server) -> None:
        agent_v1.add_AgentServiceServicer_to_server(runs, server)
        agent_v1.add_GuardianServiceServicer_to_server(guardian, server)

    async with RpcServer("127.0.0.1", 0, add, SERVICES) as server:
        registration = registering("agent", server.address, kind="agent")
        await mesh.registry.Register(registration)
        yield agent
        await mesh.registry.Deregister(control_v1.DeregisterRequest(instance_id=registration.instance_id))
