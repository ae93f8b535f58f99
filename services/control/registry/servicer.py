"""RegistryService: proto in, registry, proto out."""

from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any

import grpc

from services.control.metrics.heartbeat_counters import HeartbeatCounters, check_counters
from services.control.registry.health_check import HealthCheck
from services.control.registry.health_history import HealthHistory
from services.control.registry.registry import Registration, Registry
from shared.errors import InvalidInput
from shared.fault_points import fault_point
from shared.pb import control_v1

Context = grpc.aio.ServicerContext[Any, Any]


class RegistryServicer(control_v1.RegistryServiceServicer):
    """Serves the registry. `mode` gives the observability mode in force, which every answer tells."""

    def __init__(
        self,
        registry: Registry,
        health_check: HealthCheck,
        counters: HeartbeatCounters,
        history: HealthHistory,
        heartbeat_s: float,
        mode: Callable[[], str],
    ) -> None:
        self._registry = registry
        self._health_check = health_check
        self._counters = counters
        self._history = history
        self._heartbeat_s = heartbeat_s
        self._mode = mode

    async def Register(self, request: control_v1.RegisterRequest, context: Context) -> control_v1.RegisterResponse:
        registration = Registration(request.instance_id, request.address, request.kind, request.descriptor, request.pid)
        granted = self._registry.register(registration, _seconds(request))
        # Checked before the answer, so that a process which knows that it is registered can be recommended.
        await self._health_check.check(registration)
        response = control_v1.RegisterResponse(observability_mode=self._mode())
        response.lease.FromTimedelta(timedelta(seconds=granted))
        response.heartbeat_interval.FromTimedelta(timedelta(seconds=min(self._heartbeat_s, granted / 3)))
        return response

    async def Heartbeat(self, request: control_v1.HeartbeatRequest, context: Context) -> control_v1.HeartbeatResponse:
        response = control_v1.HeartbeatResponse(observability_mode=self._mode())
        check_counters(request.counters)
        lease_s = self._registry.heartbeat(request.instance_id, request.health)
        self._counters.note(request.instance_id, self._registry.name_of(request.instance_id), request.counters)
        self._history.note(request.instance_id, request.health)
        response.lease.FromTimedelta(timedelta(seconds=lease_s))
        return response

    async def Deregister(
        self, request: control_v1.DeregisterRequest, context: Context
    ) -> control_v1.DeregisterResponse:
        self._registry.deregister(request.instance_id)
        return control_v1.DeregisterResponse()

    async def ListServices(
        self, request: control_v1.ListServicesRequest, context: Context
    ) -> control_v1.ListServicesResponse:
        snapshot = self._registry.snapshot(request.kind, request.tags)
        return control_v1.ListServicesResponse(instances=snapshot.instances, version=snapshot.version)

    async def WatchServices(
        self, request: control_v1.WatchServicesRequest, context: Context
    ) -> AsyncIterator[control_v1.WatchServicesResponse]:
        async for snapshot in self._registry.watch(request.kind):
            yield control_v1.WatchServicesResponse(instances=snapshot.instances, version=snapshot.version)
            fault_point("while_streaming")


def _seconds(request: control_v1.RegisterRequest) -> float:
    try:
        return request.lease.ToTimedelta().total_seconds()
    except (ValueError, OverflowError):
        raise InvalidInput("lease is not a valid duration.", field="lease") from None
