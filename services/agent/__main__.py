"""The agent process: builds everything and serves. The only file that knows all the others."""

import asyncio
import gc
from collections.abc import AsyncIterator, Collection, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, closing, suppress
from dataclasses import dataclass
from pathlib import Path

import grpc

from services.agent.approvals import Approvals
from services.agent.arbitrator import Thresholds
from services.agent.care.agent_store import store_care
from services.agent.care.upkeep import cared_for
from services.agent.checkpoint.retention import size as store_size
from services.agent.checkpoint.saver import Saver
from services.agent.control_peer import ControlPeer
from services.agent.custody import Custodian
from services.agent.graph import Kit, Limits
from services.agent.guardian.boundary import GuardianBoundary
from services.agent.guardian.guardian import Guardian
from services.agent.guardian.servicer import GuardianServicer
from services.agent.guardian.store import GuardianStore
from services.agent.mailbox.mailbox import Mailbox
from services.agent.mailbox.roles import service_roles
from services.agent.outbox import Outbox
from services.agent.outbox_store import OutboxStore, store_id
from services.agent.peer_directory import PeerDirectory
from services.agent.peer_load import PeerLoad
from services.agent.peers import CapabilityPeers
from services.agent.ports import Ports
from services.agent.router.gguf import GgufChatModel
from services.agent.router.opening import open_router
from services.agent.routing import LiveRouter
from services.agent.run_events import RunEvents
from services.agent.run_retention import RunRetention
from services.agent.run_store import RunStore
from services.agent.runs import Runs
from services.agent.servicer import AgentServicer
from services.agent.settings import AgentSettings
from services.agent.step import StepBoundary
from services.agent.workflows.catalogue import open_catalogue
from services.agent.workflows.document import MAX_HOPS
from shared.capability import Descriptor
from shared.capability.registration import Registration, registered
from shared.capability.service import Effort
from shared.errors import WaystationError
from shared.models.chat import ChatModel, OpenAiChatModel
from shared.models.recorded_chat import RecordedChatModel
from shared.pb import agent_v1
from shared.process import ready_file, run_process, stop_requested
from shared.rpc.server import RpcServer
from shared.storage.backup import BackupFolder
from shared.storage.database import Database
from shared.storage.health import StorageHealth
from shared.storage.ledger import Ledger

SERVICE_NAMES = ("waystation.agent.v1.AgentService", "waystation.agent.v1.GuardianService")
DESCRIPTOR = Descriptor("agent", "Runs workflows: recommends, decides, calls services, checkpoints.", ("agent",))


@dataclass(frozen=True)
class _Storage:
    """What lives in agent.db, and what watches over it."""

    database: Database
    store: RunStore
    events: RunEvents
    outbox: Outbox | None
    health: StorageHealth
    backups: BackupFolder

    def counters(self) -> dict[str, float]:
        """What a heartbeat carries."""
        counted = dict(self.outbox.counters if self.outbox else {})
        counted["storage.write_errors"] = self.health.write_errors
        counted |= self.backups.counters
        with suppress(WaystationError):  # a heartbeat does not depend on the disk
            size = self.database.read_here(store_size)
            counted |= {"storage.used_bytes": size.used_bytes, "storage.free_bytes": size.free_bytes}
        return counted


async def serve(settings: AgentSettings, instance_id: str) -> None:
    """Serve until the process is told to stop, then drain."""
    async with AsyncExitStack() as stack:
        storage = await _open_storage(settings, instance_id, stack)
        runs, servicer, guardian = await _build(settings, storage, stack)
        gc.freeze()  # all of this lives as long as the process: looking at it again takes a third of a run's time

        def add(server: grpc.aio.Server) -> None:
            agent_v1.add_AgentServiceServicer_to_server(servicer, server)
            agent_v1.add_GuardianServiceServicer_to_server(GuardianServicer(guardian), server)

        outbox = storage.outbox
        await runs.recover(await outbox.missing_commits() if outbox else ())
        await guardian.finish()
        await stack.enter_async_context(_in_background(runs.recovery.run()))
        await stack.enter_async_context(_in_background(runs.keep_pruned()))
        if outbox:
            await stack.enter_async_context(_in_background(outbox.run(runs.fail_missing)))
        server = await stack.enter_async_context(RpcServer(settings.host, settings.port, add, SERVICE_NAMES))
        address = f"{settings.advertise_host or settings.host}:{server.port}"
        registration = Registration(
            settings.control_address, instance_id, address, "agent", DESCRIPTOR, counters=storage.counters
        )
        stack.enter_context(ready_file(settings.home, "agent", address))
        await stack.enter_async_context(registered(registration if settings.control_address else None))
        await stop_requested()
        await runs.drain()


async def _open_storage(settings: AgentSettings, instance_id: str, stack: AsyncExitStack) -> _Storage:
    care = store_care(settings.home, settings.backup_count)
    database = await stack.enter_async_context(cared_for(care, settings.backup_interval_s))
    health = StorageHealth(database.path, settings.min_free_bytes)
    database.on_write_error = health.note
    outbox = None
    if settings.control_address:
        control = ControlPeer(settings.control_address, instance_id, store_id(database.path.parent))
        stack.push_async_callback(control.close)
        outbox = Outbox(OutboxStore(database), control)
    store = RunStore(database, Custodian(instance_id, settings.lease_s))
    return _Storage(database, store, RunEvents(store, outbox.note if outbox else None), outbox, health, care.backups)


async def _build(
    settings: AgentSettings, storage: _Storage, stack: AsyncExitStack
) -> tuple[Runs, AgentServicer, Guardian]:
    folder = storage.database.path.parent
    key = settings.model_api_key.get_secret_value()
    router_model = _router_model(settings, key, stack) if settings.router == "generative" else None
    router = stack.enter_context(open_router(settings.router, folder, router_model))

    async def on_change(services: Sequence[Descriptor]) -> None:
        await router.update(services)

    load = PeerLoad()
    directory = PeerDirectory(settings.control_address, folder / "services.json", on_change, load)
    await directory.load()
    if settings.control_address:
        await stack.enter_async_context(_in_background(directory.follow()))
    peers = CapabilityPeers(directory, load)
    stack.push_async_callback(peers.close)
    live_router = LiveRouter(router, directory.services)
    chat_models = _chat_models(settings, key, Ledger(storage.database), stack)

    def roles(run: agent_v1.Run) -> Collection[str]:
        return catalogue.roles(run.workflow) or service_roles(directory.services())

    mailbox = Mailbox(storage.database, storage.events, roles)
    ports = Ports(live_router, directory, peers, storage.events, mailbox, chat_models, Approvals(settings.approvals))
    limits = Limits(
        Thresholds(settings.policy_confidence, settings.safe_confidence),
        settings.arbitrate_timeout_s,
        settings.hop_timeout_s,
        settings.respond_timeout_s,
        settings.context_budget_tokens,
    )
    acts = GuardianStore(storage.database)
    boundaries: list[StepBoundary] = [GuardianBoundary(acts, storage.events, MAX_HOPS), mailbox]
    kit = Kit(ports, limits, Saver(storage.database), boundaries)
    catalogue = open_catalogue(kit, settings.home / "workflows", settings.max_hops)
    outbox = storage.outbox
    retention = RunRetention(storage.database, outbox.note_deletions) if outbox else RunRetention(storage.database)
    runs = Runs(catalogue, storage.store, storage.events, retention, settings, storage.health.admit, live_router.expect)
    guardian = Guardian(acts, runs, storage.events, directory, catalogue.calls, catalogue.max_hops, catalogue.decides)
    return runs, AgentServicer(runs, live_router, mailbox), guardian


def _chat_models(settings: AgentSettings, key: str, ledger: Ledger, stack: AsyncExitStack) -> dict[Effort, ChatModel]:
    model = OpenAiChatModel(settings.model_url, settings.model_name, key)
    small_model = OpenAiChatModel(settings.model_url, settings.low_effort_model_name, key)
    stack.push_async_callback(model.close)
    stack.push_async_callback(small_model.close)
    recorded, small_recorded = RecordedChatModel(model, ledger), RecordedChatModel(small_model, ledger)
    return {"low": small_recorded, "medium": recorded, "high": recorded}


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
