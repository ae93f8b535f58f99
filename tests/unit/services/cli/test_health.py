"""A capability service is healthy once the control plane lists this very process as one that can be called."""

from typing import Any

import pytest

from services.cli.health import is_listed
from shared.pb import control_v1
from tests.fakes.registry_service import FakeRegistry, served_registry

Health = control_v1.Health


class Listing(FakeRegistry):
    """Lists one instance."""

    state: Health.State.ValueType = Health.STATE_SERVING

    async def ListServices(self, request: Any, context: Any) -> control_v1.ListServicesResponse:
        response = control_v1.ListServicesResponse()
        instance = response.instances.add(pid=7, health=Health(state=self.state))
        instance.descriptor.name = "rag"
        return response


@pytest.mark.parametrize(
    ("name", "pid", "state", "expected"),
    [
        ("rag", 7, Health.STATE_SERVING, True),
        ("rag", 7, Health.STATE_DEGRADED, True),
        ("rag", 7, Health.STATE_NOT_SERVING, False),
        ("rag", 7, Health.STATE_UNSPECIFIED, False),
        ("rag", 8, Health.STATE_SERVING, False),
        ("coding", 7, Health.STATE_SERVING, False),
    ],
)
async def test_a_process_is_listed_when_it_can_be_called(
    name: str, pid: int, state: Health.State.ValueType, expected: bool
) -> None:
    registry = Listing()
    registry.state = state
    async with served_registry(registry) as server:
        assert await is_listed(server.address, name, pid) is expected


async def test_without_a_control_plane_nobody_is_listed() -> None:
    assert not await is_listed("127.0.0.1:1", "rag", 7)
