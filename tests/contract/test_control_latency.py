"""How soon a span's start is in a connected reader: 32 runs in flight, a real tracer, real gRPC, a real stream."""

import asyncio
import json
import time
from pathlib import Path
from typing import Any

from opentelemetry.sdk.trace import TracerProvider

from shared.telemetry.span_starts import ControlPlane, SpanStarts
from tests.fakes.control_mesh import Mesh, following, mesh_in

RUNS = 32
HOPS = 12
HOP_S = 0.1


async def run_one(tracer: Any, number: int) -> None:
    with tracer.start_as_current_span("agent.run", attributes={"run.id": f"r{number}"}):
        await asyncio.sleep(HOP_S * number / RUNS)  # runs do not march in step
        for _ in range(HOPS):
            with tracer.start_as_current_span("agent.hop", attributes={"run.id": f"r{number}"}):
                await asyncio.sleep(HOP_S)


async def read_delays(mesh: Mesh, count: int, is_connected: asyncio.Event) -> list[float]:
    """How many seconds each start took from its span's own clock to here."""
    delays: list[float] = []
    async with following(mesh, "/api/events") as events:
        async for event in events:
            now = time.time()
            is_connected.set()
            if event.event == "span_started":
                delays.append(now - json.loads(event.data)["start_unix_ms"] / 1e3)
            if len(delays) == count:
                break
    return delays


async def test_a_spans_start_is_in_a_reader_within_100_ms(tmp_path: Path) -> None:
    async with mesh_in(tmp_path) as mesh:
        provider = TracerProvider()
        starts = SpanStarts("agent", ControlPlane(f"127.0.0.1:{mesh.grpc_port}", "agent-1"))
        provider.add_span_processor(starts)
        is_connected = asyncio.Event()
        reading = asyncio.create_task(read_delays(mesh, RUNS * (HOPS + 1), is_connected))
        await is_connected.wait()
        tracer = provider.get_tracer("test")
        await asyncio.gather(*(run_one(tracer, number) for number in range(RUNS)))
        async with asyncio.timeout(5):
            delays = sorted(await reading)
        await asyncio.to_thread(provider.shutdown)
    assert starts.dropped == 0
    p95 = delays[len(delays) * 95 // 100]
    assert p95 <= 0.1, f"p50 {delays[len(delays) // 2] * 1e3:.0f} ms, p95 {p95 * 1e3:.0f} ms"
