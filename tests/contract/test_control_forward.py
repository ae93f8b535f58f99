"""Forwarding: what the control plane receives reaches another collector, and a dead one is in nobody's way."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from services.control.forward.queue import ForwardQueue, Parcel
from services.control.settings import ControlSettings
from shared.errors import InvalidInput
from tests.fakes.control_mesh import Mesh, mesh_in
from tests.fakes.otlp import (
    Collector,
    collector_at,
    gauge,
    log_record,
    log_request,
    logs_of,
    metric_request,
    metrics_of,
    trace_request,
    traces_of,
)


@pytest.fixture
async def collector() -> AsyncIterator[tuple[Collector, int]]:
    async with collector_at() as found:
        yield found


def span(number: int) -> dict[str, Any]:
    return {"span_id": number.to_bytes(8, "big"), "name": f"span-{number}"}


async def send(mesh: Mesh, *numbers: int) -> None:
    await traces_of(mesh.channel).Export(trace_request(*map(span, numbers)))


async def test_all_three_signals_are_passed_on(tmp_path: Path, collector: tuple[Collector, int]) -> None:
    received, port = collector
    async with mesh_in(tmp_path, forward_endpoint=f"127.0.0.1:{port}") as mesh:
        await send(mesh, 1, 2)
        await logs_of(mesh.channel).Export(log_request(log_record("hello")))
        await metrics_of(mesh.channel).Export(metric_request(gauge("depth", 1.0)))
        await received.wait_for(spans=2, logs=1, metrics=1)
    assert (received.spans, received.logs, received.metrics) == (["span-1", "span-2"], ["hello"], ["depth"])


async def test_what_waits_is_passed_on_at_the_end_and_in_batches(
    tmp_path: Path, collector: tuple[Collector, int]
) -> None:
    received, port = collector
    async with mesh_in(tmp_path, forward_endpoint=f"127.0.0.1:{port}") as mesh:
        for number in range(1, 41):
            await send(mesh, number)
    assert sorted(received.spans) == sorted(f"span-{number}" for number in range(1, 41))
    assert received.calls < 20


async def test_a_collector_that_comes_back_gets_what_waited(tmp_path: Path) -> None:
    async with collector_at() as (_, port):
        pass  # its port is free again
    async with mesh_in(tmp_path, forward_endpoint=f"127.0.0.1:{port}") as mesh:
        async with asyncio.timeout(5):  # nobody waits for it
            await send(mesh, 1)
        assert (await mesh.http.get("/api/health")).json()["span_count"] == 1
        async with collector_at(port) as (received, _):
            await send(mesh, 2)
            await received.wait_for(spans=2)
            assert received.spans == ["span-1", "span-2"]
        assert 'waystation_forward_dropped_total{signal="spans"} 0.0' in (await mesh.http.get("/metrics")).text


async def test_what_a_collector_refuses_is_counted_and_not_sent_again(
    tmp_path: Path, collector: tuple[Collector, int]
) -> None:
    received, port = collector
    received.refusal = grpc.StatusCode.INVALID_ARGUMENT
    async with mesh_in(tmp_path, forward_endpoint=f"127.0.0.1:{port}") as mesh:
        await send(mesh, 1, 2)
        async with asyncio.timeout(10):
            while mesh.control.forwarder.queues["spans"].dropped < 2:
                await asyncio.sleep(0.01)
        received.refusal = None
        await send(mesh, 3)
        await received.wait_for(spans=1)
        assert 'waystation_forward_dropped_total{signal="spans"} 2.0' in (await mesh.http.get("/metrics")).text
    assert received.spans == ["span-3"]


async def test_the_oldest_are_dropped_and_counted_when_too_much_waits() -> None:
    queue = ForwardQueue(max_bytes=100)
    for number in range(5):
        queue.put(Parcel(bytes([number]) * 40, count=10))
    assert (queue.queued, queue.dropped) == (20, 30)
    taken = await queue.take()
    assert taken == Parcel(b"\x03" * 40 + b"\x04" * 40, 20)
    queue.put(Parcel(b"\x05" * 40, count=1))
    queue.put_back(taken)  # what could not be delivered is the oldest
    assert (queue.queued, queue.dropped) == (1, 50)
    assert await queue.take() == Parcel(b"\x05" * 40, 1)


async def test_what_is_larger_than_the_queue_is_dropped() -> None:
    queue = ForwardQueue(max_bytes=100)
    queue.put(Parcel(b"x" * 101, count=7))
    assert (queue.queued, queue.dropped) == (0, 7)


@pytest.mark.parametrize(
    "endpoint",
    ["nowhere", "collector:port", "ftp://collector:4317", "http://collector:4317/v1/traces", "127.0.0.1:7400"],
)
def test_bad_endpoints_are_refused_by_name(endpoint: str) -> None:
    with pytest.raises(InvalidInput, match="WAYSTATION_CONTROL_FORWARD_ENDPOINT"):
        ControlSettings.load({"WAYSTATION_CONTROL_FORWARD_ENDPOINT": endpoint})


@pytest.mark.parametrize(
    "endpoint, meant",
    [("http://phoenix:4317", "phoenix:4317"), ("https://otel.example:443/", "https://otel.example:443"), ("", "")],
)
def test_endpoints_may_be_written_as_urls(endpoint: str, meant: str) -> None:
    settings = ControlSettings.load({"WAYSTATION_CONTROL_FORWARD_ENDPOINT": endpoint})
    assert settings.forward_endpoint == meant
