"""Keeping a lease, against a registry that forgets, fails and comes back."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import grpc
import pytest

from shared.capability import Descriptor
from shared.capability import registration as module
from shared.capability.registration import Registration, registered
from shared.errors import InvalidInput, NotFound, WaystationError
from shared.pb import control_v1
from shared.rpc.server import RpcServer

DESCRIPTOR = Descriptor("echo", "Echoes.", ("words",), ("say hello",))


@dataclass
class FakeRegistry(control_v1.RegistryServiceServicer):
    """Remembers every call; each kind of call fails with what lies in its list, one error a call."""

    calls: list[Any] = field(default_factory=list)
    register_errors: list[WaystationError] = field(default_factory=list)
    heartbeat_errors: list[WaystationError] = field(default_factory=list)
    called: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def Register(self, request: Any, context: Any) -> control_v1.RegisterResponse:
        await self._note(request, self.register_errors)
        response = control_v1.RegisterResponse()
        response.heartbeat_interval.FromTimedelta(timedelta(milliseconds=10))
        return response

    async def Heartbeat(self, request: Any, context: Any) -> control_v1.HeartbeatResponse:
        await self._note(request, self.heartbeat_errors)
        return control_v1.HeartbeatResponse()

    async def Deregister(self, request: Any, context: Any) -> control_v1.DeregisterResponse:
        await self._note(request, [])
        return control_v1.DeregisterResponse()

    async def _note(self, request: Any, errors: list[WaystationError]) -> None:
        async with self.called:
            self.calls.append(request)
            self.called.notify_all()
        if errors:
            raise errors.pop(0)

    def of(self, kind: type) -> list[Any]:
        return [call for call in self.calls if isinstance(call, kind)]

    async def until(self, is_reached: Callable[[], bool]) -> None:
        async with self.called:
            await asyncio.wait_for(self.called.wait_for(is_reached), 5)


@asynccontextmanager
async def served(registry: FakeRegistry, port: int = 0) -> AsyncIterator[RpcServer]:
    def add(server: grpc.aio.Server) -> None:
        control_v1.add_RegistryServiceServicer_to_server(registry, server)

    async with RpcServer("127.0.0.1", port, add, ("waystation.control.v1.RegistryService",)) as server:
        yield server


def registration(address: str, **options: Any) -> Registration:
    return Registration(address, "echo-1", "127.0.0.1:9", "capability", DESCRIPTOR, **options)


@pytest.fixture(autouse=True)
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RETRY_S", 0.01)


async def test_it_registers_reports_and_gives_the_lease_back() -> None:
    registry = FakeRegistry()
    async with served(registry) as server:
        degraded = control_v1.Health.STATE_DEGRADED, "no model"
        options: dict[str, Any] = {"health": lambda: degraded, "counters": lambda: {"calls": 3.0}}
        async with registered(registration(server.address, **options)):
            await registry.until(lambda: len(registry.of(control_v1.HeartbeatRequest)) >= 2)
    [request] = registry.of(control_v1.RegisterRequest)
    assert (request.instance_id, request.address, request.kind) == ("echo-1", "127.0.0.1:9", "capability")
    assert (request.descriptor.name, list(request.descriptor.examples)) == ("echo", ["say hello"])
    heartbeat = registry.of(control_v1.HeartbeatRequest)[0]
    assert (heartbeat.health.state, heartbeat.health.message) == degraded
    assert heartbeat.health.rss_bytes > 0 and heartbeat.counters == {"calls": 3.0}
    assert registry.calls[-1] == control_v1.DeregisterRequest(instance_id="echo-1")


async def test_when_the_registry_forgets_it_registers_again() -> None:
    registry = FakeRegistry(heartbeat_errors=[NotFound("Who?")])
    async with served(registry) as server, registered(registration(server.address)):
        await registry.until(lambda: len(registry.of(control_v1.HeartbeatRequest)) >= 2)
    kinds = [type(call).__name__ for call in registry.calls[:4]]
    assert kinds == ["RegisterRequest", "HeartbeatRequest", "RegisterRequest", "HeartbeatRequest"]


async def test_each_outage_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    registry = FakeRegistry(
        register_errors=[InvalidInput("first"), InvalidInput("first, still")], heartbeat_errors=[InvalidInput("second")]
    )
    with caplog.at_level(logging.WARNING, module.__name__):
        async with served(registry) as server, registered(registration(server.address)):
            await registry.until(lambda: len(registry.of(control_v1.HeartbeatRequest)) >= 2)
    assert [record.getMessage() for record in caplog.records] == ["not registered: first", "not registered: second"]


async def test_a_control_plane_that_comes_later_is_found() -> None:
    async with served(FakeRegistry()) as gone:
        address, port = gone.address, gone.port
    registry = FakeRegistry()
    async with registered(registration(address)):
        async with served(registry, port):
            await registry.until(lambda: bool(registry.of(control_v1.HeartbeatRequest)))


async def test_leaving_does_not_wait_for_a_control_plane_that_is_away() -> None:
    async with asyncio.timeout(3):
        async with registered(registration("127.0.0.1:1")):
            pass


async def test_without_a_control_plane_nothing_happens() -> None:
    async with registered(None):
        pass
