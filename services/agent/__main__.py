"""The agent process: builds everything and serves. The only file that knows all the others."""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, closing
from pathlib import Path

import grpc

from services.agent.arbitrator import Thresholds
from services.agent.checkpoint.saver import Saver
from services.agent.checkpoint.tables import SCHEMA as CHECKPOINTS
from services.agent.control_peer import ControlPeer
from services.agent.graph import Limits, build_graph
from services.agent.outbox import Outbox
from services.agent.outbox_store import SCHEMA as OUTBOX
from services.agent.outbox_store import OutboxStore, store_id
from services.agent.peers import CapabilityPeers, PeerDirectory
from services.agent.ports import Ports
from services.agent.router.gguf import GgufChatModel
from services.agent.router.opening import open_router
from services.agent.routing import LiveRouter
from services.agent.run_events import RunEvents
from services.agent.run_store import SCHEMA as RUNS
from services.agent.run_store import RunStore
from services.agent.runs import Runs
from services.agent.servicer import AgentServicer, auto_workflow
from services.agent.settings import AgentSettings
from shared.capability import Descriptor
from shared.capability.registration import Registration, registered
from shared.capability.service import Effort
from shared.models.chat import ChatModel, OpenAiChatModel
from shared.pb import agent_v1
from shared.process import ready_file, run_process, stop_requested
from shared.rpc.server import RpcServer
from shared.storage.database import Database

SERVICE_NAME = "waystation.agent.v1.AgentService"
DESCRIPTOR = Descriptor("agent", "Runs workflows: recommends, decides, calls services, checkpoints.", ("agent",))


async def serve(settings: AgentSettings, instance_id: str) -> None:
    """Serve until the process is told to stop, then drain."""
    async with AsyncExitStack() as stack:
        runs, servicer, outbox = await _build(settings, instance_id, stack)

        def add(server: grpc.aio.Server) -> None:
            agent_v1.add_AgentServiceServicer_to_server(servicer, server)

        if outbox:
            await runs.fail_missing(await outbox.missing_commits())
        await runs.recover()
        if outbox:
            await stack.enter_async_context(_in_background(outbox.run(runs.fail_missing)))
        server = await stack.enter_async_context(RpcServer(settings.host, settings.port, add, (SERVICE_NAME,)))
        address = f"{settings.advertise_host or settings.host}:{server.port}"
        registration = Registration(
            settings.control_address,
            instance_id,
            address,
            "agent",
            DESCRIPTOR,
            counters=lambda: outbox.counters if outbox else {},
        )
        stack.enter_context(ready_file(settings.home, "agent", address))
        await stack.enter_async_context(registered(registration if settings.control_address else None))
        await stop_requested()
        await runs.drain()


async def _build(
    settings: AgentSettings, instance_id: str, stack: AsyncExitStack
) -> tuple[Runs, AgentServicer, Outbox | None]:
    folder = settings.home / "agent"
    database = Database(folder / "agent.db", RUNS, CHECKPOINTS, OUTBOX)
    database.open()
    stack.callback(database.close)
    store = RunStore(database)
    outbox = None
    if settings.control_address:
        control = ControlPeer(settings.control_address, instance_id, store_id(folder))
        stack.push_async_callback(control.close)
        outbox = Outbox(OutboxStore(database), control)
    events = RunEvents(store, outbox.note if outbox else None)
    key = settings.model_api_key.get_secret_value()
    router_model = _router_model(settings, key, stack) if settings.router == "generative" else None
    router = stack.enter_context(open_router(settings.router, folder, router_model))

    async def on_change(services: Sequence[Descriptor]) -> None:
        await router.update(services)

    directory = PeerDirectory(settings.control_address, folder / "services.json", on_change)
    await directory.load()
    if settings.control_address:
        await stack.enter_async_context(_in_background(directory.follow()))
    peers = CapabilityPeers(directory)
    stack.push_async_callback(peers.close)
    model = OpenAiChatModel(settings.model_url, settings.model_name, key)
    small_model = OpenAiChatModel(settings.model_url, settings.low_effort_model_name, key)
    stack.push_async_callback(model.close)
    stack.push_async_callback(small_model.close)
    live_router = LiveRouter(router, directory.services)
    chat_models: dict[Effort, ChatModel] = {"low": small_model, "medium": model, "high": model}
    ports = Ports(live_router, directory, peers, events, chat_models)
    limits = Limits(
        Thresholds(settings.policy_confidence, settings.safe_confidence),
        settings.arbitrate_timeout_s,
        settings.hop_timeout_s,
        settings.respond_timeout_s,
    )
    graph = build_graph(ports, limits, Saver(database))
    runs = Runs(graph, store, events, settings)
    workflow = auto_workflow(graph.get_graph().draw_mermaid(), settings.max_hops)
    # what is abstract here is not built yet, and answers NOT_BUILT
    return runs, AgentServicer(runs, live_router, workflow), outbox  # type: ignore[abstract]


def _router_model(settings: AgentSettings, key: str, stack: AsyncExitStack) -> ChatModel:
    """The generative router's model: a GGUF file when the name is one, otherwise a model of the chat server."""
    name = settings.router_model_name or settings.low_effort_model_name
    if name.endswith(".gguf"):
        return stack.enter_context(closing(GgufChatModel(Path(name))))
    model = OpenAiChatModel(settings.model_url, name, key)
    stack.push_async_callback(model.close)
    return model


@asynccontextmanager
async def _in_background(work: Coroutine[None, None, None]) -> AsyncIterator[None]:
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


if __name__ == "__main__":
    run_process(AgentSettings, serve)
