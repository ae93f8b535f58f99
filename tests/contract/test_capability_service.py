"""The capability contract over a real server: outputs, errors, ids and deadlines as they arrive."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from shared.call_context import CallContext, serving
from shared.capability import Descriptor, Invocation, Output, Result, TextDelta, ToolCall
from shared.capability.servicer import MAX_TASK_BYTES, CapabilityServicer
from shared.capability.wire import output_from_proto
from shared.errors import (
    TABLE,
    DeadlineExceeded,
    Forbidden,
    InternalError,
    InvalidInput,
    PeerUnavailable,
    WaystationError,
    error_from_reason,
)
from shared.pb import capability_v1
from shared.rpc.channel import open_channel
from shared.rpc.server import RpcServer
from shared.rpc.status import peer_errors

CORRELATION_ID = "0b6a9e16-3c1e-4ed9-9df0-7a1f12a4ab0f"


class Echo:
    """A capability whose task says what it does."""

    descriptor = Descriptor("echo", "Echoes.", ("echo",))

    def __init__(self) -> None:
        self.calls: list[tuple[Invocation, CallContext]] = []
        self.is_closed = asyncio.Event()

    async def invoke(self, invocation: Invocation, call: CallContext) -> AsyncIterator[Output]:
        self.calls.append((invocation, call))
        try:
            yield TextDelta(invocation.task)
            match invocation.task:
                case "refuse":
                    raise Forbidden("Not this.", remedy="Ask for that.", rule="no-this")
                case "burst":
                    raise ValueError("secret-token-123")
                case "hang":
                    await asyncio.Event().wait()
                case "endless":
                    return
            yield ToolCall("1", "echo", {"deep": {"list": [1, "two"]}})
            yield Result(invocation.task)
        finally:
            self.is_closed.set()


@asynccontextmanager
async def served(capability: Echo) -> AsyncIterator[capability_v1.CapabilityServiceStub]:
    def add(server: grpc.aio.Server) -> None:
        capability_v1.add_CapabilityServiceServicer_to_server(CapabilityServicer(capability), server)

    async with RpcServer("127.0.0.1", 0, add, ("waystation.capability.v1.CapabilityService",)) as server:
        async with open_channel(server.address) as channel:
            yield capability_v1.CapabilityServiceStub(channel)


async def invoke(stub: capability_v1.CapabilityServiceStub, task: str, timeout: float = 5.0) -> list[Output | None]:
    with peer_errors("echo"):
        call = stub.Invoke(capability_v1.InvokeRequest(task=task), timeout=timeout)
        return [output_from_proto(message) async for message in call]


async def test_outputs_arrive_as_they_were_yielded() -> None:
    async with served(Echo()) as stub:
        outputs = await invoke(stub, "hello")
    assert outputs == [TextDelta("hello"), ToolCall("1", "echo", {"deep": {"list": [1.0, "two"]}}), Result("hello")]


async def test_an_error_arrives_as_the_class_that_was_raised() -> None:
    async with served(Echo()) as stub:
        with pytest.raises(Forbidden) as caught, serving(CallContext(CORRELATION_ID)):
            await invoke(stub, "refuse")
    assert (caught.value.message, caught.value.remedy) == ("Not this.", "Ask for that.")
    assert caught.value.metadata.pop("correlation_id") == CORRELATION_ID
    assert caught.value.metadata == {"rule": "no-this"}


async def test_the_text_of_the_unforeseen_stays_with_the_service(caplog: pytest.LogCaptureFixture) -> None:
    async with served(Echo()) as stub:
        with pytest.raises(InternalError) as caught:
            await invoke(stub, "burst")
    assert "secret" not in str(caught.value)
    assert "secret-token-123" in caplog.text


async def test_a_stream_without_a_result_is_an_error() -> None:
    async with served(Echo()) as stub:
        with pytest.raises(InternalError, match="without a result"):
            await invoke(stub, "endless")


@pytest.mark.parametrize("task", ["", "  \n", "x" * (MAX_TASK_BYTES + 1)])
async def test_a_task_out_of_bounds_is_refused(task: str) -> None:
    echo = Echo()
    async with served(echo) as stub:
        with pytest.raises(InvalidInput, match="The task has"):
            await invoke(stub, task)
    assert not echo.calls


async def test_a_deadline_ends_the_call_and_releases_what_it_holds() -> None:
    echo = Echo()
    async with served(echo) as stub:
        with pytest.raises(DeadlineExceeded):
            await invoke(stub, "hang", timeout=0.2)
        await asyncio.wait_for(echo.is_closed.wait(), 20)


async def test_calls_under_way_are_counted_until_they_end() -> None:
    echo, counts = Echo(), []
    servicer = CapabilityServicer(echo)

    def add(server: grpc.aio.Server) -> None:
        capability_v1.add_CapabilityServiceServicer_to_server(servicer, server)

    async with RpcServer("127.0.0.1", 0, add, ()) as server, open_channel(server.address) as channel:
        stub = capability_v1.CapabilityServiceStub(channel)
        for task in ("hello", "refuse", "hang"):
            with contextlib.suppress(grpc.aio.AioRpcError):
                async for _ in stub.Invoke(capability_v1.InvokeRequest(task=task), timeout=0.5):
                    counts.append(servicer.in_flight)
        await asyncio.wait_for(echo.is_closed.wait(), 10)
        while servicer.in_flight:
            await asyncio.sleep(0)
    assert counts and max(counts) == 1


async def test_correlation_id_and_remaining_time_travel_with_the_call() -> None:
    echo = Echo()
    outer = CallContext(deadline=time.monotonic() + 2)
    async with served(echo) as stub:
        with serving(outer):
            await invoke(stub, "hello", timeout=60)
    [(_, call)] = echo.calls
    assert call.correlation_id == outer.correlation_id
    remaining = call.remaining_s()
    assert remaining is not None and remaining <= 2


async def test_a_peer_that_is_not_there_is_named() -> None:
    async with open_channel("127.0.0.1:1") as channel:
        with pytest.raises(PeerUnavailable, match="echo cannot be reached"):
            await invoke(capability_v1.CapabilityServiceStub(channel), "hello", timeout=2)


async def test_health_is_served() -> None:
    async with served(Echo()) as stub:
        del stub
    async with RpcServer("127.0.0.1", 0, lambda server: None, ()) as server, open_channel(server.address) as channel:
        answer = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.reason)
def test_every_error_survives_the_journey(row: object) -> None:
    cls: type[WaystationError] = row.error  # type: ignore[attr-defined]
    error = cls("message", remedy="remedy", key="value")
    again = error_from_reason(error.reason, error.message, {**error.metadata, "remedy": error.remedy})
    assert (type(again), str(again), again.metadata) == (cls, str(error), error.metadata)
