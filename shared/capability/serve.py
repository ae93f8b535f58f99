"""Serves a capability: door, registration, telemetry and drain. What a service's `__main__` ends with."""

import grpc

from shared.capability.registration import Counters, Health, Registration, registered, serving
from shared.capability.service import Capability
from shared.capability.servicer import CapabilityServicer
from shared.pb import capability_v1
from shared.process import ready_file, run_process, stop_requested
from shared.rpc.server import AddServicers, RpcServer
from shared.settings import Settings

CAPABILITY_SERVICE = "waystation.capability.v1.CapabilityService"


async def serve_capability(
    settings: Settings,
    instance_id: str,
    capability: Capability,
    *,
    add_servicers: AddServicers | None = None,
    service_names: tuple[str, ...] = (),
    health: Health = serving,
    counters: Counters = dict,
) -> None:
    """Serve `capability`, and what `add_servicers` adds, until the process is told to stop."""

    def add_all(server: grpc.aio.Server) -> None:
        capability_v1.add_CapabilityServiceServicer_to_server(CapabilityServicer(capability), server)
        if add_servicers:
            add_servicers(server)

    names = (CAPABILITY_SERVICE, *service_names)
    name = capability.descriptor.name
    async with RpcServer(settings.host, settings.port, add_all, names) as server:
        address = f"{settings.advertise_host or settings.host}:{server.port}"
        registration = (
            Registration(
                settings.control_address, instance_id, address, "capability", capability.descriptor, health, counters
            )
            if settings.control_address
            else None
        )
        with ready_file(settings.home, name, address):
            async with registered(registration):
                await stop_requested()


def serve(capability: Capability, settings_class: type[Settings] | None = None) -> None:
    """Run `capability` as a process of its own; returns after a drain.

    The section of its settings is the capability's name, unless a settings class of its own is given.
    """
    name = capability.descriptor.name
    chosen = settings_class or type("OwnSettings", (Settings,), {"section": name})

    async def run(settings: Settings, instance_id: str) -> None:
        await serve_capability(settings, instance_id, capability)

    run_process(chosen, run)
