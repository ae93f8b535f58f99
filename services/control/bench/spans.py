"""The span store: how fast OTLP is taken in, how fast a run's spans are found, and how soon a start is seen."""

import asyncio
import json
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc

from services.control.__main__ import Control, serving
from services.control.settings import ControlSettings
from services.control.telemetry.otlp import Rejections, read_spans
from services.control.telemetry.span_store import SpanFilter, SpanStore
from shared.errors import InternalError
from shared.pb import control_v1
from shared.rpc.channel import open_channel
from shared.telemetry import attributes

SPANS_PER_RUN = 16
BATCH = 512
SENT = 100 * BATCH
SENDERS = 4
STORED = 1_000_000
QUERIES = 40
RUNS_IN_FLIGHT = 32
STARTS_PER_RUN = 10
START_NS = 1_700_000_000 * 10**9


@dataclass(frozen=True)
class Measure:
    """A figure, in the form of every bench's rows."""

    name: str
    value: float
    unit: str
    n: int
    peer: str = ""
    peer_value: float | None = None
    ratio: float | None = None


async def measure() -> list[Measure]:
    """Serve a control plane in this process, and be its clients over loopback."""
    with tempfile.TemporaryDirectory(prefix="waystation-bench-") as folder:
        async with _served(Path(folder)) as (control, port, http_port):
            rate = await _receive(port)
            latencies = await _start_to_sse(port, http_port)
            await _fill(control.spans)
            queries = await _query(control.spans)
    return [
        Measure("control.spans_per_s", rate, "spans/s", SENT),
        Measure("control.start_to_sse_p95", _p95(latencies) * 1e3, "ms", len(latencies)),
        Measure("control.query_run_p95", _p95(queries) * 1e3, "ms", QUERIES),
        Measure("control.spans_stored", STORED, "spans", 1),
    ]


@asynccontextmanager
async def _served(home: Path) -> AsyncIterator[tuple[Control, int, int]]:
    settings = ControlSettings(home=home, port=0, http_port=0, log_level="WARNING")
    async with serving(settings) as served:
        yield served


async def _receive(port: int) -> float:
    """Spans stored a second, sent by several exporters at once: sender and receiver share this process's one core."""
    requests = iter([_request(base) for base in range(0, SENT, BATCH)])
    async with open_channel(f"127.0.0.1:{port}", has_spans=False) as channel:
        stub: Any = trace_service_pb2_grpc.TraceServiceStub(channel)  # type: ignore[no-untyped-call]

        async def send(batches: Iterator[trace_service_pb2.ExportTraceServiceRequest]) -> None:
            for request in batches:
                await stub.Export(request, timeout=60)

        started = time.perf_counter()
        await asyncio.gather(*(send(requests) for _ in range(SENDERS)))
        return SENT / (time.perf_counter() - started)


async def _start_to_sse(port: int, http_port: int) -> list[float]:
    """Seconds from a span's start to its event at a connected reader, with many runs in flight."""
    latencies: list[float] = []
    wanted = RUNS_IN_FLIGHT * STARTS_PER_RUN
    connected = asyncio.Event()

    async def read() -> None:
        async with (
            httpx.AsyncClient(timeout=60) as client,
            client.stream("GET", f"http://127.0.0.1:{http_port}/api/events") as stream,
        ):
            is_start = False
            async for line in stream.aiter_lines():
                connected.set()
                if line.startswith("event:"):
                    is_start = line == "event: span_started"
                elif is_start and line.startswith("data:"):
                    latencies.append(time.time() - json.loads(line[5:])["start_unix_ms"] / 1e3)
                    if len(latencies) == wanted:
                        return

    async with open_channel(f"127.0.0.1:{port}", has_spans=False) as channel:
        stub = control_v1.TelemetryServiceStub(channel)

        async def run(number: int) -> None:
            for count in range(STARTS_PER_RUN):
                span = control_v1.Span(
                    trace_id=f"{number + 1:032x}", span_id=f"{2**40 + number * STARTS_PER_RUN + count:016x}", name="x"
                )
                span.attributes.update({attributes.RUN_ID: f"flight-{number}"})
                span.start_time.FromNanoseconds(time.time_ns())
                request = control_v1.ReportSpanStartsRequest(instance_id=f"agent-{number}", spans=[span])
                await stub.ReportSpanStarts(request, timeout=10)
                await asyncio.sleep(0.025)

        reader = asyncio.create_task(read())
        await connected.wait()
        await asyncio.gather(*(run(number) for number in range(RUNS_IN_FLIGHT)))
        await asyncio.wait_for(reader, 30)
    return latencies


async def _fill(store: SpanStore) -> None:
    for base in range(SENT, STORED, BATCH):
        await store.add_ends(list(read_spans(_request(base), Rejections())))


async def _query(store: SpanStore) -> list[float]:
    latencies = []
    for number in range(QUERIES):
        run = number * (STORED // SPANS_PER_RUN) // QUERIES
        started = time.perf_counter()
        page = await store.page(SpanFilter(around_run_id=f"run-{run:032x}"))
        latencies.append(time.perf_counter() - started)
        if len(page.spans) != SPANS_PER_RUN:
            raise InternalError(f"{len(page.spans)} spans of a run were found.")
    return latencies


def _request(base: int) -> trace_service_pb2.ExportTraceServiceRequest:
    request = trace_service_pb2.ExportTraceServiceRequest()
    group = request.resource_spans.add()
    group.resource.attributes.add(key=attributes.SERVICE_NAME).value.string_value = "agent"
    spans = group.scope_spans.add().spans
    for number in range(base, base + BATCH):
        run, start_ns = number // SPANS_PER_RUN, START_NS + number * 1_000
        span = spans.add(
            trace_id=(run + 1).to_bytes(16, "big"),
            span_id=(number + 1).to_bytes(8, "big"),
            name=attributes.SPAN_HOP,
            start_time_unix_nano=start_ns,
            end_time_unix_nano=start_ns + 500,
        )
        for key, value in (
            (attributes.RUN_ID, f"run-{run:032x}"),
            (attributes.THREAD_ID, f"thread-{run:032x}"),
            (attributes.CORRELATION_ID, f"{run:032x}"),
            (attributes.CAPABILITY, "coding"),
            (attributes.OPERATION, attributes.INVOKE_AGENT),
        ):
            span.attributes.add(key=key).value.string_value = value
    return request


def _p95(samples: list[float]) -> float:
    return sorted(samples)[int(len(samples) * 0.95)]
