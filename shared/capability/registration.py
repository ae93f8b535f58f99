"""Keeps a process registered: a lease, renewed by heartbeats, taken up again when the control plane was away."""

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta

from shared.capability.service import Descriptor
from shared.capability.wire import descriptor_to_proto
from shared.errors import NotFound, WaystationError
from shared.pb import control_v1
from shared.rpc.channel import open_channel
from shared.rpc.status import peer_errors
from shared.telemetry.metrics import Counters, process_counters
from shared.telemetry.resources import process_resources

logger = logging.getLogger(__name__)

LEASE = timedelta(seconds=10)
RETRY_S = 1.0
FIRST_RETRY_S = 0.1
"""Doubles up to RETRY_S: in a mesh that starts, the control plane is there a moment later."""
CALL_TIMEOUT_S = 3.0
SETTLE_S = 0.2
"""How long a service that has given its lease back still takes calls: its callers hear of it meanwhile."""

Health = Callable[[], tuple["control_v1.Health.State.ValueType", str]]


def serving() -> tuple["control_v1.Health.State.ValueType", str]:
    """The health of a process that lacks nothing."""
    return control_v1.Health.STATE_SERVING, ""


class Registration:
    """Registers one process with the control plane and keeps the lease until `leave`."""

    def __init__(
        self,
        control_address: str,
        instance_id: str,
        address: str,
        kind: str,
        descriptor: Descriptor,
        health: Health = serving,
        counters: Counters = dict,
        in_flight: Callable[[], int] = int,
    ) -> None:
        self._control_address = control_address
        self._health, self.counters, self._in_flight = health, counters, in_flight
        self._is_known_down = False
        self._request = control_v1.RegisterRequest(
            instance_id=instance_id,
            address=address,
            kind=kind,
            descriptor=descriptor_to_proto(descriptor),
            pid=os.getpid(),
        )
        self._request.lease.FromTimedelta(LEASE)

    async def keep(self) -> None:
        """Register, and renew for ever. What goes wrong is logged once and tried again."""
        async with open_channel(self._control_address, has_spans=False) as channel:
            stub, retry_s = control_v1.RegistryServiceStub(channel), FIRST_RETRY_S
            while True:
                try:
                    await self._hold_lease(stub)
                except NotFound:
                    logger.info("the control plane forgot us; registering again")
                except WaystationError as error:
                    if not self._is_known_down:
                        logger.warning("not registered: %s", error)
                    self._is_known_down = True
                await asyncio.sleep(retry_s)
                retry_s = min(2 * retry_s, RETRY_S)

    async def _hold_lease(self, stub: "control_v1.RegistryServiceAsyncStub") -> None:
        with peer_errors("control"):
            granted = await stub.Register(self._request, timeout=CALL_TIMEOUT_S)
        interval = granted.heartbeat_interval.ToTimedelta().total_seconds() or RETRY_S
        self._is_known_down = False
        logger.info("registered with the control plane at %s", self._control_address)
        while True:
            request = control_v1.HeartbeatRequest(
                instance_id=self._request.instance_id,
                health=self._measure(),
                counters={**process_counters.read(), **self.counters()},
            )
            with peer_errors("control"):
                await stub.Heartbeat(request, timeout=CALL_TIMEOUT_S)
            await asyncio.sleep(interval)

    def _measure(self) -> control_v1.Health:
        state, message = self._health()
        used = process_resources.latest()
        health = control_v1.Health(
            state=state,
            message=message,
            cpu=used.cpu,
            rss_bytes=used.rss_bytes,
            threads=used.threads,
            open_files=used.open_files,
            in_flight=self._in_flight(),
        )
        health.event_loop_lag.FromTimedelta(timedelta(seconds=used.event_loop_lag_s))
        return health

    async def leave(self) -> None:
        """Give the lease back. A control plane that is away is not waited for."""
        try:
            async with open_channel(self._control_address, has_spans=False) as channel:
                request = control_v1.DeregisterRequest(instance_id=self._request.instance_id)
                with peer_errors("control"):
                    await control_v1.RegistryServiceStub(channel).Deregister(request, timeout=1.0)
            await asyncio.sleep(SETTLE_S)
        except WaystationError as error:
            logger.info("not deregistered: %s", error)


@asynccontextmanager
async def registered(registration: Registration | None) -> AsyncIterator[None]:
    """Hold the lease while the context lasts."""
    if registration is None:
        yield
        return
    process_counters.add("service", registration.counters)
    keeper = asyncio.create_task(registration.keep())
    try:
        yield
    finally:
        keeper.cancel()
        await asyncio.gather(keeper, return_exceptions=True)
        await registration.leave()
