"""Serves a capability: door, ledger, registration, telemetry and drain. What a service's `__main__` ends with."""

from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager

import grpc

from shared.capability.registration import Health, Registration, registered, serving
from shared.capability.service import Capability, Descriptor
from shared.capability.servicer import CapabilityServicer
from shared.pb import capability_v1
from shared.process import ready_file, run_process, stop_requested
from shared.rpc.interceptors.idempotency import IdempotencyInterceptor
from shared.rpc.server import AddServicers, RpcServer
from shared.settings import Settings
from shared.storage import ledger as ledger_store
from shared.storage.database import Database, Schema
from shared.storage.ledger import Ledger
from shared.telemetry.metrics import Counters

CAPABILITY_SERVICE = "waystation.capability.v1.CapabilityService"


async def serve_capability(
    settings: Settings,
    instance_id: str,
    capability: Capability,
    *,
    ledger: Ledger | None = None,
    schemas: tuple[Schema, ...] = (),
    add_servicers: AddServicers | None = None,
    service_names: tuple[str, ...] = (),
    health: Health = serving,
    counters: Counters = dict,
) -> None:
    """Serve `capability`, and what `add_servicers` adds, until the process is told to stop.

    Without a `ledger` one is opened, in a file that has the tables of `schemas` too (`open_ledger`).
    """
    descriptor, servicer = capability.descriptor, CapabilityServicer(capability)

    def add_all(server: grpc.aio.Server) -> None:
        capability_v1.add_CapabilityServiceServicer_to_server(servicer, server)
        if add_servicers:
            add_servicers(server)

    names = (CAPABILITY_SERVICE, *service_names)
    async with AsyncExitStack() as stack:
        if ledger is None:
            ledger = stack.enter_context(open_ledger(settings, descriptor.name, *schemas))
        server = await stack.enter_async_context(
            RpcServer(settings.host, settings.port, add_all, names, (idempotency(ledger, descriptor),))
        )
        address = f"{settings.advertise_host or settings.host}:{server.port}"
        registration = (
            Registration(
                settings.control_address,
                instance_id,
                address,
                "capability",
                descriptor,
                health,
                counters,
                lambda: servicer.in_flight,
            )
            if settings.control_address
            else None
        )
        stack.enter_context(ready_file(settings.home, descriptor.name, address))
        await stack.enter_async_context(registered(registration))
        await stop_requested()


@contextmanager
def open_ledger(settings: Settings, name: str, *schemas: Schema) -> Iterator[Ledger]:
    """The ledger of the service `name`, in `<home>/<name>/ledger.db`, a file that has the tables of `schemas` too.

    Raises `StorageUnavailable` or `StorageCorrupt` when the file cannot be used.
    """
    database = Database(settings.home / name / "ledger.db", ledger_store.SCHEMA, *schemas)
    database.open()
    try:
        yield Ledger(database)
    finally:
        database.close()


def idempotency(ledger: Ledger, descriptor: Descriptor) -> IdempotencyInterceptor:
    """The interceptor that gives a capability's calls one effect each."""
    return IdempotencyInterceptor(ledger, is_harmless=descriptor.is_idempotent or descriptor.is_transactional)


def serve(capability: Capability, *schemas: Schema, settings_class: type[Settings] | None = None) -> None:
    """Run `capability` as a process of its own; returns after a drain.

    The section of its settings is the capability's name, unless a settings class of its own is given. `schemas` are
    the tables that its `Commit`s need.
    """
    name = capability.descriptor.name
    chosen = settings_class or type("OwnSettings", (Settings,), {"section": name})

    async def run(settings: Settings, instance_id: str) -> None:
        await serve_capability(settings, instance_id, capability, schemas=schemas)

    run_process(chosen, run)
