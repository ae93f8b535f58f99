"""Keeping a lease, against a registry that forgets, fails and comes back."""

import asyncio
import logging
from typing import Any

import pytest

from shared.capability import Descriptor
from shared.capability import registration as module
from shared.capability.registration import Registration, registered
from shared.errors import InvalidInput, NotFound
from shared.pb import control_v1
from tests.fakes.registry_service import FakeRegistry, served_registry

DESCRIPTOR = Descriptor("echo", "Echoes.", ("words",), ("say hello",))


def registration(address: str, **options: Any) -> Registration:
    return Registration(address, "echo-1", "127.0.0.1:9", "capability", DESCRIPTOR, **options)


@pytest.fixture(autouse=True)
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RETRY_S", 0.01)


async def test_it_registers_reports_and_gives_the_lease_back() -> None:
    registry = FakeRegistry()
    async with served_registry(registry) as server:
        degraded = control_v1.Health.STATE_DEGRADED, "no model"
        options: dict[str, Any] = {"health": lambda: degraded, "counters": lambda: {"calls": 3.0}}
        async with registered(registration(server.address, **options)):
            await registry.until(lambda: len(registry.of(control_v1.HeartbeatRequest)) >= 2)
    [request] = registry.of(control_v1.RegisterRequest)
    assert (request.instance_id, request.address, request.kind) == ("echo-1", "127.0.0.1:9", "capability")
    assert (request.descriptor.name, list(request.descriptor.examples)) == ("echo", ["say hello"])
    heartbeat = registry.of(control_v1.HeartbeatRequest)[0]
    assert (heartbeat.health.state, heartbeat.health.message) == degraded
    assert heartbeat.health.rss_bytes > 0 and heartbeat.counters["calls"] == 3.0
    assert registry.calls[-1] == control_v1.DeregisterRequest(instance_id="echo-1")


async def test_when_the_registry_forgets_it_registers_again() -> None:
    registry = FakeRegistry(heartbeat_errors=[NotFound("Who?")])
    async with served_registry(registry) as server, registered(registration(server.address)):
        await registry.until(lambda: len(registry.of(control_v1.HeartbeatRequest)) >= 2)
    kinds = [type(call).__name__ for call in registry.calls[:4]]
    assert kinds == ["RegisterRequest", "HeartbeatRequest", "RegisterRequest", "HeartbeatRequest"]


async def test_each_outage_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    registry = FakeRegistry(
        register_errors=[InvalidInput("first"), InvalidInput("first, still")], heartbeat_errors=[InvalidInput("second")]
    )
    with caplog.at_level(logging.WARNING, module.__name__):
        async with served_registry(registry) as server, registered(registration(server.address)):
            await registry.until(lambda: len(registry.of(control_v1.HeartbeatRequest)) >= 2)
    assert [record.getMessage() for record in caplog.records] == ["not registered: first", "not registered: second"]


async def test_a_control_plane_that_comes_later_is_found() -> None:
    async with served_registry(FakeRegistry()) as gone:
        address, port = gone.address, gone.port
    registry = FakeRegistry()
    async with registered(registration(address)):
        async with served_registry(registry, port):
            await registry.until(lambda: bool(registry.of(control_v1.HeartbeatRequest)))


async def test_leaving_does_not_wait_for_a_control_plane_that_is_away() -> None:
    async with asyncio.timeout(20):
        async with registered(registration("127.0.0.1:1")):
            pass


async def test_without_a_control_plane_nothing_happens() -> None:
    async with registered(None):
        pass


async def test_a_heartbeat_says_how_many_calls_are_under_way() -> None:
    registry = FakeRegistry()
    async with served_registry(registry) as server, registered(registration(server.address, in_flight=lambda: 7)):
        await registry.until(lambda: bool(registry.of(control_v1.HeartbeatRequest)))
    assert registry.of(control_v1.HeartbeatRequest)[0].health.in_flight == 7
