"""Calls capability services: which replica gets a call, what is tried elsewhere, and what is in doubt."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Sequence
from contextlib import aclosing, asynccontextmanager
from time import monotonic as _now

import grpc

from services.agent.peer_directory import PeerDirectory
from services.agent.peer_load import PeerLoad
from services.agent.ports import HopTask, Moved
from services.agent.state import RunContext
from shared.capability import Output
from shared.capability.wire import EFFORTS, artifact_to_proto, output_from_proto
from shared.errors import (
    Cancelled,
    DeadlineExceeded,
    InDoubt,
    PeerProtocol,
    PeerUnavailable,
    Unavailable,
    WaystationError,
)
from shared.fault_points import fault_point
from shared.pb import capability_v1, common_v1
from shared.rpc.channel import open_channel
from shared.rpc.interceptors.budget import CYCLES_KEY, HOPS_KEY
from shared.rpc.interceptors.idempotency import REPEAT_KEY
from shared.rpc.status import peer_errors

PATIENCE_S = 10.0
"""How long a call that may have been made before waits for its service: a mesh that restarts comes up together."""
CONNECT_TIMEOUT_S = 5.0
POLL_S = 0.1

_OPEN = (PeerUnavailable, PeerProtocol, DeadlineExceeded, Cancelled)
"""After these nobody knows what a call did."""
_BROKEN = (*_OPEN, Unavailable)
"""After these the same call may succeed elsewhere."""


class CapabilityPeers:
    """Calls capability services over gRPC; one channel an address. Close it with `close`.

    `load` is the one that `directory` ranks replicas by.
    """

    def __init__(self, directory: PeerDirectory, load: PeerLoad, patience_s: float = PATIENCE_S) -> None:
        self._directory, self._load, self._patience_s = directory, load, patience_s
        self._channels: dict[str, grpc.aio.Channel] = {}

    async def invoke(self, capability: str, task: HopTask, run_context: RunContext) -> AsyncIterator[Output | Moved]:
        """Call `capability` and yield its outputs; kinds that are not known here are passed over.

        A call that was not sent goes to the next replica, and so does one that broke off before its first output when
        a repeated call does no harm. `Moved` comes before the outputs when that is not `task.address`.
        Raises `PeerUnavailable`, `DeadlineExceeded`, or what the service raised; `InDoubt` when the call broke off
        and a second one could be a second effect.
        """
        request, give_up = _request(task, run_context), _now() + task.timeout_s
        failed: set[str] = set()
        address = task.address
        while True:
            try:
                reached = await self._reach(capability, task, failed, give_up)
            except PeerUnavailable as error:
                if not task.may_have_run or self._directory.is_idempotent(capability):
                    raise
                raise _doubt(capability, task, error) from error
            if reached != address:
                address = reached
                yield Moved(address)
            is_harmless, has_output = self._directory.is_idempotent(capability), False
            try:
                async with aclosing(self._outputs(capability, address, request, task, give_up)) as outputs:
                    async for output in outputs:
                        has_output = True
                        yield output
                return
            except _BROKEN as error:
                failed.add(address)
                if not is_harmless and isinstance(error, _OPEN):
                    raise _doubt(capability, task, error) from error
                if not is_harmless or has_output or _now() >= give_up:
                    raise
                if not self._places(capability, task, failed):
                    raise

    async def _outputs(
        self, capability: str, address: str, request: capability_v1.InvokeRequest, task: HopTask, give_up: float
    ) -> AsyncGenerator[Output]:
        invoke = capability_v1.CapabilityServiceStub(self._channel(address)).Invoke
        budget = (HOPS_KEY, max(0, task.remaining_hops)), (CYCLES_KEY, max(0, task.remaining_cycles))
        metadata = [(key, str(value)) for key, value in budget]
        if task.repeats_in_doubt:
            metadata.append((REPEAT_KEY, "1"))
        try:
            with self._load.calling(address), peer_errors(capability):
                timeout_s = max(0.0, give_up - _now())
                async with _cancelled_at_exit(invoke(request, timeout=timeout_s, metadata=metadata)) as call:
                    async for message in call:
                        fault_point("during_call")
                        output = output_from_proto(message)
                        if output is not None:
                            yield output
        except _OPEN:
            self._load.avoid(address)
            raise
        finally:
            await self._close_unused()

    async def _reach(self, capability: str, task: HopTask, failed: Collection[str], give_up: float) -> str:
        """The address of a replica that is connected. Raises `PeerUnavailable`, and then nothing was sent."""
        patient_until = min(give_up, _now() + (self._patience_s if task.may_have_run else 0.0))
        while True:
            places = self._places(capability, task, failed)
            for address in places:
                if await _is_connected(self._channel(address), give_up - _now()):
                    return address
                self._load.avoid(address)
            if _now() >= patient_until:
                what = "cannot be reached" if places else "is not there"
                raise PeerUnavailable(
                    f"{capability} {what}.", remedy="`waystation services` shows who is.", peer=capability
                )
            await asyncio.sleep(POLL_S)

    def _places(self, capability: str, task: HopTask, failed: Collection[str]) -> Sequence[str]:
        """Where the call may go, the best first."""
        places = [item for item in self._directory.addresses_of(capability) if item not in failed]
        is_first_try = not task.may_have_run or task.repeats_in_doubt
        if is_first_try or not task.address or self._directory.is_idempotent(capability):
            return sorted(places, key=lambda item: item != task.address)
        # each replica has a ledger of its own: only the one that may have had the call knows what became of it
        return [item for item in places if item == task.address]

    def _channel(self, address: str) -> grpc.aio.Channel:
        if address not in self._channels:
            self._channels[address] = open_channel(address, has_spans=False)
        return self._channels[address]

    async def _close_unused(self) -> None:
        """Close the channels to who has left, once their last calls have ended."""
        used = self._directory.addresses()
        unused = [item for item in self._channels if item not in used and not self._load.is_calling(item)]
        for channel in [self._channels.pop(item) for item in unused]:
            await channel.close()

    async def close(self) -> None:
        """Close every channel."""
        await asyncio.gather(*(channel.close() for channel in self._channels.values()))


def _request(task: HopTask, run_context: RunContext) -> capability_v1.InvokeRequest:
    return capability_v1.InvokeRequest(
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
        inbox=task.inbox,
        context=[artifact_to_proto(item) for item in task.context],
        budget=common_v1.Budget(remaining_hops=task.remaining_hops),
        effort=EFFORTS[task.effort],
        guarded_tools=task.guarded_tools,
        approved_tool_calls=task.approved_tool_calls,
    )


def _doubt(capability: str, task: HopTask, error: WaystationError) -> InDoubt:
    return InDoubt(
        f"The call to {capability} broke off ({error.message}) and its effect may have happened.",
        remedy="Find out whether it did, then have the call repeated or end the run.",
        capability=capability,
        idempotency_key=task.idempotency_key,
    )


async def _is_connected(channel: grpc.aio.Channel, timeout_s: float) -> bool:
    try:
        async with asyncio.timeout(min(timeout_s, CONNECT_TIMEOUT_S)):
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
