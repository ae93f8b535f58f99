"""Metrics: received over OTLP, counted from spans and heartbeats, and scraped as Prometheus does."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from prometheus_client.parser import text_string_to_metric_families

from services.control.metrics.series import MAX_SERIES
from shared.errors import InvalidInput
from shared.pb import agent_v1, control_v1
from shared.rpc.status import peer_errors
from tests.fakes.control_mesh import Mesh, describing, mesh_in, registering, reporting
from tests.fakes.otlp import NOW_NS, gauge, metric_request, metrics_of, pairs, trace_request, traces_of


@dataclass(frozen=True)
class Scrape:
    """What a Prometheus parser reads; names are given without their common beginning."""

    samples: dict[tuple[str, frozenset[tuple[str, str]]], float]

    def value(self, name: str, **labels: str) -> float | None:
        return self.samples.get((f"waystation_{name}", frozenset(labels.items())))

    def count(self, name: str) -> int:
        return sum(key[0] == f"waystation_{name}" for key in self.samples)


@pytest.fixture
async def mesh(tmp_path: Path) -> AsyncIterator[Mesh]:
    async with mesh_in(tmp_path) as mesh:
        yield mesh


async def scrape(mesh: Mesh) -> Scrape:
    """Scrape `/metrics` as Prometheus does."""
    answer = await mesh.http.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    families = list(text_string_to_metric_families(answer.text))
    assert all(family.documentation and family.type != "unknown" for family in families)
    assert all(family.name.startswith("waystation_") for family in families)
    samples = [sample for family in families for sample in family.samples]
    return Scrape({(sample.name, frozenset(sample.labels.items())): sample.value for sample in samples})


def span(number: int, name: str, seconds: float = 0.2, **attributes: Any) -> dict[str, Any]:
    end = NOW_NS + int(seconds * 1e9)
    fields = {"span_id": number.to_bytes(8, "big"), "name": name, "end_time_unix_nano": end}
    return {**fields, "attributes": pairs(**attributes)}


async def test_spans_are_counted_once_each(mesh: Mesh) -> None:
    request = trace_request(
        span(1, "agent.hop", capability_name="rag"),
        span(2, "agent.route_recommendation", 0.004),
        span(3, "agent.arbitrate", decision_source="policy", decision_capability="rag"),
        span(4, "checkpoint.save", 0.002, checkpoint_bytes=1_500),
    )
    chat = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "qwen", "gen_ai.usage.input_tokens": 100}
    chatting = span(5, "model.chat", **chat, **{"gen_ai.usage.output_tokens": 20})
    # an agent's span that sums its calls up is not counted again
    summing = span(6, "agent.run", **{**chat, "gen_ai.operation.name": "invoke_agent"})
    request.MergeFrom(trace_request(chatting, summing))
    for _ in range(2):  # the sender did not get the first answer
        await traces_of(mesh.channel).Export(request)
    found = await scrape(mesh)
    hop = {"capability": "rag", "state": "ok"}
    assert found.value("hop_duration_seconds_count", **hop) == 1
    assert found.value("hop_duration_seconds_sum", **hop) == pytest.approx(0.2)
    for bound, count in (("0.1", 0), ("0.25", 1), ("+Inf", 1)):
        assert found.value("hop_duration_seconds_bucket", **hop, le=bound) == count
    assert found.value("route_duration_seconds_bucket", le="0.005") == 1
    assert found.value("arbitrate_duration_seconds_count", source="policy") == 1
    assert found.value("decisions_total", source="policy", capability="rag") == 1
    assert found.value("checkpoint_bytes_total") == 1_500
    assert found.value("checkpoint_duration_seconds_count") == 1
    assert found.value("tokens_total", model="qwen", direction="input") == 100
    assert found.value("tokens_total", model="qwen", direction="output") == 20
    assert found.value("spans_total", state="ok") == 6


async def test_runs_are_counted_by_state(mesh: Mesh) -> None:
    states = (agent_v1.Run.STATE_SUCCEEDED, agent_v1.Run.STATE_SUCCEEDED, agent_v1.Run.STATE_FAILED)
    runs = [agent_v1.Run(run_id=f"r{number}", state=state) for number, state in enumerate(states)]
    await mesh.telemetry.ReportRunEvents(reporting(*runs))
    found = await scrape(mesh)
    for state, count in {"succeeded": 2, "failed": 1, "running": 0, "lost": 0}.items():
        assert found.value("runs", state=state) == count


async def test_heartbeats_carry_counters_and_health_in_both_modes(mesh: Mesh) -> None:
    async with describing("rag") as server:
        request = registering("rag", server.address)
        for mode in ("shipping", "debug"):
            await mesh.control.mode.set(mode)
            await mesh.registry.Register(request)
            health = control_v1.Health(state=control_v1.Health.STATE_SERVING, cpu=0.5, rss_bytes=10**8, threads=7)
            health.event_loop_lag.FromMilliseconds(12)
            counters = {"spans.dropped": 3.0, "storage.write_errors": 1.0, "outbox.waiting_runs": 2.0, "chunks": 40.0}
            beat = control_v1.HeartbeatRequest(instance_id=request.instance_id, health=health, counters=counters)
            await mesh.registry.Heartbeat(beat)
            found = await scrape(mesh)
            process = {"service": "rag", "instance_id": request.instance_id}
            assert found.value("service_up", **process, kind="capability") == 1
            assert found.value("service_cpu_cores", **process) == 0.5
            assert found.value("service_resident_memory_bytes", **process) == 10**8
            assert found.value("service_threads", **process) == 7
            assert found.value("service_event_loop_lag_seconds", **process) == 0.012
            assert found.value("spans_dropped_total", service="rag") == 3
            assert found.value("storage_write_errors_total", service="rag") == 1
            assert found.value("storage_write_errors_total", service="control") == 0
            assert found.value("outbox_waiting_runs", service="rag") == 2
            assert found.value("reported", service="rag", counter="chunks") == 40
            assert found.value("observability_mode", mode=mode) == 1


async def test_counters_only_grow_when_a_process_is_replaced(mesh: Mesh) -> None:
    for instance, count in (("rag-1", 5.0), ("rag-2", 2.0)):
        request = registering("rag", "127.0.0.1:1")
        request.instance_id = instance
        await mesh.registry.Register(request)
        beat = control_v1.HeartbeatRequest(instance_id=instance, counters={"spans.dropped": count, "chunks": count})
        await mesh.registry.Heartbeat(beat)
    found = await scrape(mesh)
    assert found.value("spans_dropped_total", service="rag") == 7
    assert found.value("reported", service="rag", counter="chunks") == 2
    # nobody is at port 1
    assert found.value("service_up", service="rag", instance_id="rag-2", kind="capability") == 0


@pytest.mark.parametrize(
    "counters", [{"x": float("inf")}, {"Bad name": 1.0}, {"": 1.0}, {f"c{number}": 1.0 for number in range(257)}]
)
async def test_bad_counters_are_refused(mesh: Mesh, counters: dict[str, float]) -> None:
    request = registering("rag", "127.0.0.1:1")
    await mesh.registry.Register(request)
    with pytest.raises(InvalidInput, match="counter"), peer_errors("control"):
        beat = control_v1.HeartbeatRequest(instance_id=request.instance_id, counters=counters)
        await mesh.registry.Heartbeat(beat)
    assert (await scrape(mesh)).count("reported") == 0


async def test_names_from_strangers_are_bounded_and_escaped(mesh: Mesh) -> None:
    names = ['a"b\\c\nd', *(f"capability-{number}" for number in range(400))]
    spans = [span(number, "agent.hop", capability_name=name) for number, name in enumerate(names, 1)]
    await traces_of(mesh.channel).Export(trace_request(*spans))
    found = await scrape(mesh)
    assert found.count("hop_duration_seconds_count") == 201
    assert found.value("hop_duration_seconds_count", capability="other", state="ok") == 201
    assert found.value("hop_duration_seconds_count", capability=names[0], state="ok") == 1


async def test_metrics_of_a_real_exporter_are_kept_with_their_latest_value(mesh: Mesh) -> None:
    exporter = OTLPMetricExporter(endpoint=f"127.0.0.1:{mesh.grpc_port}", insecure=True)
    provider = MeterProvider(
        [PeriodicExportingMetricReader(exporter)], Resource.create({"service.name": "stranger"}), shutdown_on_exit=False
    )

    def work() -> None:
        meter = provider.get_meter("test")
        meter.create_counter("calls", unit="1").add(2, {"kind": "a"})
        meter.create_histogram("latency").record(0.3)
        provider.force_flush()
        meter.create_counter("calls", unit="1").add(3, {"kind": "a"})
        provider.shutdown()

    await asyncio.to_thread(work)
    series = (await mesh.http.get("/api/metrics", params={"service": "stranger"})).json()["series"]
    calls, latency = series
    assert (calls["name"], calls["kind"], calls["value"], calls["attributes"]) == ("calls", "sum", 5.0, {"kind": "a"})
    assert (latency["kind"], latency["count"], latency["sum"]) == ("histogram", 1, 0.3)
    assert len(latency["bucket_counts"]) == len(latency["bounds"]) + 1


async def test_an_older_point_changes_nothing(mesh: Mesh) -> None:
    for value, time_ns in ((1.0, 200), (2.0, 100)):
        await metrics_of(mesh.channel).Export(metric_request(gauge("depth", value, time_ns)))
    [series] = (await mesh.http.get("/api/metrics")).json()["series"]
    assert series["value"] == 1.0


async def test_malformed_points_are_a_partial_success(mesh: Mesh) -> None:
    lopsided = Metric(name="lopsided")
    lopsided.histogram.data_points.add(time_unix_nano=1, explicit_bounds=[1.0, 2.0], bucket_counts=[1])
    empty = Metric(name="empty")
    empty.gauge.data_points.add(time_unix_nano=1)
    large = gauge("large", 1.0, a="x" * 5_000)
    nameless = gauge("", 1.0)
    bad = (gauge("nan", float("nan")), gauge("timeless", 1.0, 0), lopsided, empty, large, nameless)
    answer = await metrics_of(mesh.channel).Export(metric_request(*bad, gauge("good", 1.0)))
    assert answer.partial_success.rejected_data_points == len(bad)
    assert answer.partial_success.error_message
    assert [each["name"] for each in (await mesh.http.get("/api/metrics")).json()["series"]] == ["good"]
    raw: Any = mesh.channel.unary_unary("/opentelemetry.proto.collector.metrics.v1.MetricsService/Export")
    with pytest.raises(grpc.aio.AioRpcError):
        await raw(b"\xff\xff\xff\xff")


async def test_the_number_of_series_is_bounded(mesh: Mesh) -> None:
    metric = Metric(name="wild")
    for number in range(MAX_SERIES + 10):
        metric.gauge.data_points.add(time_unix_nano=1, as_double=1.0, attributes=pairs(number=number))
    answer = await metrics_of(mesh.channel).Export(metric_request(metric))
    assert answer.partial_success.rejected_data_points == 10
    found = await scrape(mesh)
    assert found.value("control_metric_series") == MAX_SERIES
    page = (await mesh.http.get("/api/metrics")).json()
    assert (len(page["series"]), page["is_complete"]) == (1_000, False)
