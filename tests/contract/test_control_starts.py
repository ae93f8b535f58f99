"""Every span's start reaches a connected reader while it runs: 32 runs in flight, a real tracer, gRPC and stream.

How soon is measured by `waystation bench spans`.
"""

import asyncio
import json
from collections import defaultdict
from pathlib import Path

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import Tracer, format_span_id

from shared.telemetry.span_starts import ControlPlane, SpanStarts
from tests.fakes.control_mesh import Mesh, following, mesh_in

RUNS = 32
HOPS = 6
TIMEOUT_S = 60.0


class Reader:
    """Follows the events, and says which spans it was told of."""

    def __init__(self) -> None:
        self.is_connected = asyncio.Event()
        self.starts: defaultdict[str, int] = defaultdict(int)
        self.seen: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)

    async def read(self, mesh: Mesh) -> None:
        async with following(mesh, "/api/events") as events:
            async for event in events:
                self.is_connected.set()
                if event.event == "span_started":
                    span_id = json.loads(event.data)["span_id"]
                    self.starts[span_id] += 1
                    self.seen[span_id].set()


async def run_one(tracer: Tracer, number: int, reader: Reader) -> None:
    run = {"run.id": f"r{number}"}
    with tracer.start_as_current_span("agent.run", attributes=run):
        for _ in range(HOPS):
            with tracer.start_as_current_span("agent.hop", attributes=run) as span:
                await reader.seen[format_span_id(span.get_span_context().span_id)].wait()


async def test_every_start_reaches_a_reader_once_while_the_span_runs(tmp_path: Path) -> None:
    async with mesh_in(tmp_path) as mesh:
        provider, reader = TracerProvider(), Reader()
        starts = SpanStarts("agent", ControlPlane(f"127.0.0.1:{mesh.grpc_port}", "agent-1"))
        provider.add_span_processor(starts)
        reading = asyncio.create_task(reader.read(mesh))
        async with asyncio.timeout(TIMEOUT_S):
            await reader.is_connected.wait()
            tracer = provider.get_tracer("test")
            await asyncio.gather(*(run_one(tracer, number, reader) for number in range(RUNS)))
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        await asyncio.to_thread(provider.shutdown)
    assert starts.dropped == 0
    assert len(reader.starts) == RUNS * (HOPS + 1)
    assert set(reader.starts.values()) == {1}
