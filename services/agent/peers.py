"""The capability services as the agent sees them: who is there, and how they are called."""

import asyncio
import json
import logging
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
from google.protobuf.json_format import MessageToDict, ParseDict, ParseError

from services.agent.ports import HopTask
from services.agent.state import RunContext
from shared.capability import Descriptor, Output
from shared.capability.registration import LEASE
from shared.capability.wire import EFFORTS, artifact_to_proto, descriptor_from_proto, output_from_proto
from shared.errors import Cancelled, DeadlineExceeded, InDoubt, PeerProtocol, PeerUnavailable, WaystationError
from shared.fault_points import fault_point
from shared.pb import capability_v1, common_v1, control_v1
from shared.rpc.channel import open_channel
from shared.rpc.interceptors.idempotency import REPEAT_KEY
from shared.rpc.status import peer_errors

logger = logging.getLogger(__name__)

RETRY_S = 1.0
WATCH_TIMEOUT_S = 3600.0
PATIENCE_S = 10.0
"""How long a call that may have been made before waits for its service: a mesh that restarts comes up together."""
POLL_S = 0.1
# not checked yet is not usable: a service with a lying address must never be called
_USABLE = (control_v1.Health.STATE_SERVING, control_v1.Health.STATE_DEGRADED)

Instance = control_v1.ServiceInstance
OnChange = Callable[[Sequence[Descriptor]], Awaitable[None]]


class PeerDirectory:
    """The service list, followed from the control plane and kept on disk for when that is down."""

    def __init__(
        self, control_address: str, cache: Path, on_change: OnChange, grace_s: float = LEASE.total_seconds()
    ) -> None:
        self._control_address, self._cache, self._on_change, self._grace_s = control_address, cache, on_change, grace_s
        self._instances: dict[str, Instance] = {}
        self._told: list[Instance] = []
        self._version = 0.0
        self._is_relearning = False

    def services(self) -> Sequence[Descriptor]:
        """The capability services that are healthy, by name; replicas once."""
        by_name = {item.descriptor.name: item for item in self._usable()}
        return [descriptor_from_proto(by_name[name].descriptor) for name in sorted(by_name)]

    def address_of(self, capability: str) -> str:
        """The address of its least loaded healthy instance; "" when there is none."""
        found = [item for item in self._usable() if item.descriptor.name == capability]
        return min(found, key=lambda item: item.health.in_flight).address if found else ""

    def is_idempotent(self, capability: str) -> bool:
        """Whether a second call to it does no harm; what is known of it counts while it is away, too."""
        return any(
            item.descriptor.is_idempotent for item in self._instances.values() if item.descriptor.name == capability
        )

    def _usable(self) -> list[Instance]:
        return [item for item in self._instances.values() if item.health.state in _USABLE]

    async def load(self) -> None:
        """Begin with the list that was seen last."""
        try:
            stored = json.loads(self._cache.read_text())
            instances = [ParseDict(item, Instance(), ignore_unknown_fields=True) for item in stored]
        except FileNotFoundError:
            return
        except (ValueError, ParseError, OSError) as error:
            logger.warning("the kept service list %s is not readable: %s", self._cache, error)
            return
        self._version = math.inf
        await self._replace(instances)

    async def follow(self) -> None:
        """Follow the control plane for ever; without it the last list stands."""
        is_known_down = False
        async with open_channel(self._control_address, has_spans=False) as channel:
            stub = control_v1.RegistryServiceStub(channel)
            while True:
                try:
                    with peer_errors("control"):
                        async for update in self._updates(stub):
                            is_known_down = False
                            await self._take(list(update.instances), update.version)
                except WaystationError as error:
                    if not is_known_down:
                        logger.warning("the control plane is away, going on with the last service list: %s", error)
                    is_known_down = True
                await asyncio.sleep(RETRY_S)

    async def _updates(
        self, stub: "control_v1.RegistryServiceAsyncStub"
    ) -> AsyncIterator[control_v1.WatchServicesResponse]:
        settling = asyncio.create_task(self._settle())
        try:
            request = control_v1.WatchServicesRequest(kind="capability")
            async for update in stub.WatchServices(request, timeout=WATCH_TIMEOUT_S):
                yield update
        finally:
            settling.cancel()  # a control plane that dies before that has to hear of everyone once more

    async def _take(self, instances: list[Instance], version: int) -> None:
        # one of us was restarted: the services register one after the other, all that live within one lease
        self._is_relearning |= version < self._version
        self._version, self._told = version, instances
        if self._is_relearning:
            names = {item.descriptor.name for item in instances if item.health.state in _USABLE}
            instances = [*instances, *(item for item in self._instances.values() if item.descriptor.name not in names)]
        await self._replace(instances)
        self._keep(instances)

    async def _settle(self) -> None:
        await asyncio.sleep(self._grace_s)
        if self._is_relearning:
            self._is_relearning = False
            await self._replace(self._told)
            self._keep(self._told)

    def _keep(self, instances: Sequence[Instance]) -> None:
        partial = self._cache.with_suffix(".partial")
        try:
            self._cache.parent.mkdir(parents=True, exist_ok=True)
            partial.write_text(json.dumps([MessageToDict(item) for item in instances]))
            partial.replace(self._cache)
        except OSError as error:
            logger.warning("the service list cannot be kept in %s: %s", self._cache, error)

    async def _replace(self, instances: Sequence[Instance]) -> None:
        before = self.services()
        self._instances = {item.instance_id: item for item in instances}
        after = self.services()
        if after != before:
            logger.info("services: %s", ", ".join(item.name for item in after) or "none")
            await self._on_change(after)


class CapabilityPeers:
    """Calls capability services over gRPC; one channel an address. Close it with `close`."""

    def __init__(self, directory: PeerDirectory, patience_s: float = PATIENCE_S) -> None:
        self._directory, self._patience_s = directory, patience_s
        self._channels: dict[str, grpc.aio.Channel] = {}

    async def invoke(self, capability: str, task: HopTask, run_context: RunContext) -> AsyncIterator[Output]:
        """Call `capability` and yield its outputs; kinds that are not known here are passed over.

        Raises `PeerUnavailable`, `DeadlineExceeded`, or what the service raised; `InDoubt` when the call broke off
        and a second one could be a second effect.
        """
        request = capability_v1.InvokeRequest(
            ids=common_v1.CallIds(
                thread_id=run_context.thread_id,
                run_id=run_context.run_id,
                correlation_id=run_context.correlation_id,
                tenant=run_context.tenant,
                idempotency_key=task.idempotency_key,
                hop_index=task.hop_index,
            ),
            role=task.role,
            task=task.text,
            context=[artifact_to_proto(item) for item in task.context],
            budget=common_v1.Budget(remaining_hops=task.remaining_hops),
            effort=EFFORTS[task.effort],
        )
        metadata = ((REPEAT_KEY, "1"),) if task.repeats_in_doubt else ()
        may_have_run = task.may_have_run
        try:
            invoke = capability_v1.CapabilityServiceStub(await self._reach(capability, task)).Invoke
            may_have_run = True
            with peer_errors(capability):
                async with _cancelled_at_exit(invoke(request, timeout=task.timeout_s, metadata=metadata)) as call:
                    async for message in call:
                        fault_point("during_call")
                        output = output_from_proto(message)
                        if output is not None:
                            yield output
        except (PeerUnavailable, PeerProtocol, DeadlineExceeded, Cancelled) as error:
            if not may_have_run or self._directory.is_idempotent(capability):
                raise
            raise InDoubt(
                f"The call to {capability} broke off ({error.message}) and its effect may have happened.",
                remedy="Find out whether it did, then have the call repeated or end the run.",
                capability=capability,
                idempotency_key=task.idempotency_key,
            ) from error

    async def _reach(self, capability: str, task: HopTask) -> grpc.aio.Channel:
        """A channel that is connected. Raises `PeerUnavailable`, and then nothing was sent."""
        patience_s = self._patience_s if task.may_have_run else 0.0
        give_up = time.monotonic() + min(patience_s, task.timeout_s)
        while True:
            address = self._directory.address_of(capability)
            if address and await _is_connected(self._channel(address), task.timeout_s):
                return self._channel(address)
            if time.monotonic() >= give_up:
                what = "cannot be reached" if address else "is not there"
                raise PeerUnavailable(
                    f"{capability} {what}.", remedy="`waystation services` shows who is.", peer=capability
                )
            await asyncio.sleep(POLL_S)

    def _channel(self, address: str) -> grpc.aio.Channel:
        if address not in self._channels:
            self._channels[address] = open_channel(address, has_spans=False)
        return self._channels[address]

    async def close(self) -> None:
        """Close every channel."""
        await asyncio.gather(*(channel.close() for channel in self._channels.values()))


async def _is_connected(channel: grpc.aio.Channel, timeout_s: float) -> bool:
    try:
        async with asyncio.timeout(timeout_s):
            while (state := channel.get_state(try_to_connect=True)) is not grpc.ChannelConnectivity.READY:
                if state in (grpc.ChannelConnectivity.TRANSIENT_FAILURE, grpc.ChannelConnectivity.SHUTDOWN):
                    return False
                await channel.wait_for_state_change(state)
    except TimeoutError:
        return False
    return True


@asynccontextmanager
async def _cancelled_at_exit(
    call: "grpc.aio.UnaryStreamCall[capability_v1.InvokeRequest, capability_v1.InvokeResponse]",
) -> AsyncIterator["grpc.aio.UnaryStreamCall[capability_v1.InvokeRequest, capability_v1.InvokeResponse]"]:
    try:
        yield call
    finally:
        call.cancel()  # does nothing to a call that has ended
