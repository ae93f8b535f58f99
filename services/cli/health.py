"""Whether a process serves: gRPC health, or an HTTP page that answers 200; and whether the control plane says so."""

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import grpc
import httpx
from grpc_health.v1 import health_pb2, health_pb2_grpc

from services.cli.doors import Door, ready_record
from shared.pb import control_v1
from shared.rpc.channel import open_channel

PROBE_TIMEOUT_S = 2.0
_USABLE = (control_v1.Health.STATE_SERVING, control_v1.Health.STATE_DEGRADED)


def probe_of(home: Path, doors: Sequence[Door]) -> Callable[[int], Awaitable[bool]]:
    """A probe for `ServiceSpec`: the process has written its ready file, and all its doors say that they serve."""
    service = doors[0].service

    async def is_healthy(pid: int) -> bool:
        record = ready_record(home, service)
        if record.get("pid") != pid:
            return False
        main, *others = doors
        if not await serves(main, str(record.get("address") or main.address)):
            return False
        for door in others:
            if door.port and not await serves(door, door.address):
                return False
        return True

    return is_healthy


def registered_probe_of(home: Path, doors: Sequence[Door], control_address: str) -> Callable[[int], Awaitable[bool]]:
    """As `probe_of`, for a capability service: it can be called once the control plane lists it, and not before."""
    serves_at_all = probe_of(home, doors)

    async def is_healthy(pid: int) -> bool:
        return await serves_at_all(pid) and await is_listed(control_address, doors[0].service, pid)

    return is_healthy


async def is_listed(control_address: str, name: str, pid: int) -> bool:
    """Whether the control plane lists the process as a capability that can be called."""
    async with open_channel(control_address) as channel:
        stub = control_v1.RegistryServiceStub(channel)
        request = control_v1.ListServicesRequest(kind="capability")
        try:
            listed = await stub.ListServices(request, timeout=PROBE_TIMEOUT_S)
        except grpc.aio.AioRpcError:
            return False
    ours = (item for item in listed.instances if (item.descriptor.name, item.pid) == (name, pid))
    return any(item.health.state in _USABLE for item in ours)


async def serves(door: Door, address: str) -> bool:
    """Whether the door at `address` (host:port) says that it serves."""
    if door.kind == "http":
        return await _answers_200(f"http://{address.removeprefix('http://')}{door.health_path}")
    async with open_channel(address) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        try:
            response = await stub.Check(health_pb2.HealthCheckRequest(), timeout=PROBE_TIMEOUT_S)
        except grpc.aio.AioRpcError:
            return False
        return bool(response.status == health_pb2.HealthCheckResponse.SERVING)


async def _answers_200(url: str) -> bool:
    # a proxy named in the environment is not meant for this machine
    async with httpx.AsyncClient(trust_env=False, timeout=PROBE_TIMEOUT_S) as client:
        try:
            return (await client.get(url)).status_code == httpx.codes.OK
        except httpx.HTTPError:
            return False
