"""The agent's list of services outlives a control plane that is restarted and has to hear of everyone anew."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from services.agent.peer_directory import PeerDirectory
from services.agent.peer_load import PeerLoad
from shared.capability import Descriptor
from shared.pb import capability_v1, control_v1
from tests.fakes.registry_service import FakeRegistry, served_registry


@dataclass
class ListingRegistry(FakeRegistry):
    """Sends the lists that are put into it."""

    lists: "asyncio.Queue[control_v1.WatchServicesResponse]" = field(default_factory=asyncio.Queue)

    async def WatchServices(self, request: Any, context: Any) -> AsyncIterator[control_v1.WatchServicesResponse]:
        while True:
            yield await self.lists.get()

    def tell(self, version: int, *names: str) -> None:
        response = control_v1.WatchServicesResponse(version=version)
        for name in names:
            response.instances.add(
                instance_id=f"{name}-{version}",
                address="127.0.0.1:1",
                descriptor=capability_v1.Descriptor(name=name),
                health=control_v1.Health(state=control_v1.Health.STATE_SERVING),
            )
        self.lists.put_nowait(response)


@dataclass
class Seen:
    """What a directory said that there is."""

    names: "asyncio.Queue[list[str]]" = field(default_factory=asyncio.Queue)

    async def note(self, services: Sequence[Descriptor]) -> None:
        self.names.put_nowait([item.name for item in services])

    async def next(self) -> list[str]:
        return await asyncio.wait_for(self.names.get(), 20)


@asynccontextmanager
async def following(registry: ListingRegistry, cache: Path, seen: Seen, grace_s: float) -> AsyncIterator[PeerDirectory]:
    async with served_registry(registry) as server:
        directory = PeerDirectory(server.address, cache, seen.note, PeerLoad(), grace_s)
        await directory.load()
        follower = asyncio.create_task(directory.follow())
        try:
            yield directory
        finally:
            follower.cancel()
            await asyncio.gather(follower, return_exceptions=True)


async def test_a_service_that_left_is_gone_at_once(tmp_path: Path) -> None:
    registry, seen = ListingRegistry(), Seen()
    async with following(registry, tmp_path / "services.json", seen, grace_s=60):
        registry.tell(4, "rag", "tools")
        assert await seen.next() == ["rag", "tools"]
        registry.tell(5, "rag")
        assert await seen.next() == ["rag"]


@pytest.mark.parametrize("first", [(), ("rag",)])
async def test_a_restarted_control_plane_takes_nobody_away(tmp_path: Path, first: tuple[str, ...]) -> None:
    registry, seen = ListingRegistry(), Seen()
    async with following(registry, tmp_path / "services.json", seen, grace_s=60) as directory:
        registry.tell(4, "rag", "tools")
        assert await seen.next() == ["rag", "tools"]
        registry.tell(0, *first)
        registry.tell(1, "rag", "web")
        assert await seen.next() == ["rag", "tools", "web"]
        assert directory.address_of("tools") == "127.0.0.1:1"


async def test_who_has_not_registered_again_in_time_is_gone(tmp_path: Path) -> None:
    registry, seen = ListingRegistry(), Seen()
    async with following(registry, tmp_path / "services.json", seen, grace_s=0.05):
        registry.tell(4, "rag", "tools")
        assert await seen.next() == ["rag", "tools"]
        registry.tell(0, "rag")
        assert await seen.next() == ["rag"]


async def test_a_restarted_agent_begins_with_the_list_it_kept(tmp_path: Path) -> None:
    cache = tmp_path / "services.json"
    registry, seen = ListingRegistry(), Seen()
    async with following(registry, cache, seen, grace_s=60):
        registry.tell(4, "rag", "tools")
        assert await seen.next() == ["rag", "tools"]
    async with following(registry, cache, seen, grace_s=60):
        registry.tell(9)
        registry.tell(10, "web")
        assert await seen.next() == ["rag", "tools"]
        assert await seen.next() == ["rag", "tools", "web"]


async def test_a_list_that_cannot_be_read_is_passed_over(tmp_path: Path) -> None:
    cache = tmp_path / "services.json"
    cache.write_text("{broken")
    directory = PeerDirectory("127.0.0.1:1", cache, Seen().note, PeerLoad())
    await directory.load()
    assert directory.services() == []


async def test_replicas_are_one_service_at_several_places_the_least_loaded_first(tmp_path: Path) -> None:
    registry, seen = ListingRegistry(), Seen()
    response = control_v1.WatchServicesResponse(version=1)
    health = {"busy": (control_v1.Health.STATE_SERVING, 5), "free": (control_v1.Health.STATE_DEGRADED, 0)}
    for number, name in enumerate((*health, "unchecked"), 1):
        state, in_flight = health.get(name, (control_v1.Health.STATE_UNSPECIFIED, 0))
        instance = response.instances.add(instance_id=name, address=f"127.0.0.1:{number}")
        instance.descriptor.name = "rag"
        instance.health.state, instance.health.in_flight = state, in_flight
        instance.heartbeat_time.FromSeconds(number)
    async with following(registry, tmp_path / "services.json", seen, grace_s=60) as directory:
        registry.lists.put_nowait(response)
        assert await seen.next() == ["rag"]
        assert directory.addresses_of("rag") == ["127.0.0.1:2", "127.0.0.1:1"]
        assert directory.address_of("rag") == "127.0.0.1:2"
        assert directory.addresses() == {"127.0.0.1:1", "127.0.0.1:2"}
        assert directory.addresses_of("coding") == [] and directory.address_of("coding") == ""


async def test_a_service_can_be_called_while_the_router_still_learns_of_others(tmp_path: Path) -> None:
    registry, learning, told = ListingRegistry(), asyncio.Event(), list[list[str]]()

    async def learn(services: Sequence[Descriptor]) -> None:
        told.append([item.name for item in services])
        await learning.wait()

    async with served_registry(registry) as server:
        directory = PeerDirectory(server.address, tmp_path / "services.json", learn, PeerLoad(), 60)
        follower = asyncio.create_task(directory.follow())
        registry.tell(4, "rag")
        async with asyncio.timeout(20):
            while not told:
                await asyncio.sleep(0.01)
        registry.tell(5, "coding", "rag")
        registry.tell(6, "coding", "rag", "tools")
        async with asyncio.timeout(20):
            while not directory.address_of("tools"):
                await asyncio.sleep(0.01)
        assert told == [["rag"]]
        learning.set()
        async with asyncio.timeout(20):
            while len(told) < 2:
                await asyncio.sleep(0.01)
        assert told[1:] == [["coding", "rag", "tools"]]
        follower.cancel()
        await asyncio.gather(follower, return_exceptions=True)


async def test_what_the_router_cannot_take_stops_nothing(tmp_path: Path) -> None:
    registry, seen = ListingRegistry(), Seen()

    async def learn(services: Sequence[Descriptor]) -> None:
        await seen.note(services)
        if len(services) == 1:
            raise ValueError("too few")

    async with served_registry(registry) as server:
        directory = PeerDirectory(server.address, tmp_path / "services.json", learn, PeerLoad(), 60)
        follower = asyncio.create_task(directory.follow())
        registry.tell(4, "rag")
        assert await seen.next() == ["rag"]
        registry.tell(5, "rag", "tools")
        assert await seen.next() == ["rag", "tools"]
        follower.cancel()
        await asyncio.gather(follower, return_exceptions=True)
