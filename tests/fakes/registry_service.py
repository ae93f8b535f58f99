"""A registry that remembers every call and fails when it is told to."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import grpc

from shared.errors import WaystationError
from shared.pb import control_v1
from shared.rpc.server import RpcServer


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
            await asyncio.wait_for(self.called.wait_for(is_reached), 20)


@asynccontextmanager
async def served_registry(registry: FakeRegistry, port: int = 0) -> AsyncIterator[RpcServer]:
    def add(server: grpc.aio.Server) -> None:
        control_v1.add_RegistryServiceServicer_to_server(registry, server)

    async with RpcServer("127.0.0.1", port, add, ("waystation.control.v1.RegistryService",)) as server:
        yield server
