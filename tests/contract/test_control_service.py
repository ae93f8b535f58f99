"""The whole control plane over real gRPC and real HTTP, with a real exporter and a fake agent."""

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from grpc_health.v1 import health_pb2, health_pb2_grpc
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

from services.control.clock import Clock
from shared.errors import AlreadyExists, InvalidInput, LimitExceeded, NotFound, StorageUnavailable
from shared.pb import agent_v1, control_v1
from shared.rpc.server import RpcServer
from shared.rpc.status import peer_errors
from tests.fakes.control_mesh import (
    SCRIPT,
    Mesh,
    agent_at,
    describing,
    following,
    mesh_in,
    registering,
    reporting,
    started,
    until,
)


@dataclass
class SteppedClock:
    """A clock that the test sets."""

    now: float = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def mesh(tmp_path: Path) -> AsyncIterator[Mesh]:
    async with mesh_in(tmp_path) as mesh:
        yield mesh


async def test_a_registered_service_is_checked_listed_and_watched(mesh: Mesh) -> None:
    async with describing("rag") as server:
        watch = mesh.registry.WatchServices(control_v1.WatchServicesRequest())
        assert (await watch.read()).instances == []
        granted = await mesh.registry.Register(registering("rag", server.address, tags=["retrieval"]))
        assert (granted.lease.seconds, granted.heartbeat_interval.seconds) == (10, 3)
        assert granted.observability_mode == "shipping"
        listed = await mesh.registry.ListServices(control_v1.ListServicesRequest(tags=["retrieval"]))
        assert [instance.health.state for instance in listed.instances] == [control_v1.Health.STATE_SERVING]
        while not (update := await watch.read()).instances:
            continue
        assert update.instances[0].descriptor.name == "rag"
        (service,) = (await mesh.http.get("/api/services")).json()["services"]
        assert (service["name"], service["health"]["state"]) == ("rag", "serving")


async def test_a_lying_address_is_not_serving(mesh: Mesh) -> None:
    await mesh.registry.Register(registering("liar", "127.0.0.1:1"))
    (service,) = (await mesh.http.get("/api/services")).json()["services"]
    assert service["health"]["state"] == "not_serving"
    assert "127.0.0.1:1" in service["health"]["message"]


async def test_somebody_elses_door_is_a_lying_address_too(mesh: Mesh) -> None:
    async with describing("rag") as server:
        await mesh.registry.Register(registering("liar", server.address))
        (service,) = (await mesh.http.get("/api/services")).json()["services"]
        assert service["health"]["state"] == "not_serving"
        assert "another capability, 'rag'" in service["health"]["message"]


async def test_a_door_without_the_contract_is_not_serving(mesh: Mesh) -> None:
    async with RpcServer("127.0.0.1", 0, lambda server: None, ()) as server:
        await mesh.registry.Register(registering("mute", server.address))
    (service,) = (await mesh.http.get("/api/services")).json()["services"]
    assert "UNIMPLEMENTED" in service["health"]["message"]


async def test_a_registration_of_ten_thousand_examples_is_refused_and_one_with_script_is_text(mesh: Mesh) -> None:
    with pytest.raises(InvalidInput, match="at most 1000"), peer_errors("control"):
        await mesh.registry.Register(registering("many", "127.0.0.1:1", examples=["do it"] * 10_000))
    await mesh.registry.Register(registering("script", "127.0.0.1:1"))
    (service,) = (await mesh.http.get("/api/services")).json()["services"]
    assert service["description"] == SCRIPT


async def test_a_model_server_is_asked_over_http(mesh: Mesh) -> None:
    # our own HTTP door has no /v1/models, so it is no model server
    await mesh.registry.Register(registering("models", f"127.0.0.1:{mesh.http_port}", kind="models"))
    (service,) = (await mesh.http.get("/api/services")).json()["services"]
    assert "HTTP 404" in service["health"]["message"]


@pytest.mark.parametrize("address", ["[1]:80", "no.such.host.invalid:80", "-:1"])
@pytest.mark.parametrize("kind", ["models", "capability"])
async def test_an_address_that_leads_nowhere_is_not_serving(mesh: Mesh, kind: str, address: str) -> None:
    await mesh.registry.Register(registering("odd", address, kind=kind))
    (service,) = (await mesh.http.get("/api/services")).json()["services"]
    assert service["health"]["state"] == "not_serving"


async def test_errors_of_the_registry_are_typed(mesh: Mesh) -> None:
    await mesh.registry.Register(registering("rag", "127.0.0.1:1"))
    with pytest.raises(AlreadyExists), peer_errors("control"):
        await mesh.registry.Register(registering("rag", "127.0.0.1:2", tags=["other"]))
    with pytest.raises(InvalidInput) as caught, peer_errors("control"):
        await mesh.registry.Register(registering("rag", "nowhere"))
    assert caught.value.metadata["field"] == "address"
    with pytest.raises(NotFound, match="alive"), peer_errors("control"):
        await mesh.registry.Heartbeat(control_v1.HeartbeatRequest(instance_id="nobody"))


async def test_spans_of_a_real_exporter_are_found_by_run_and_by_trace(mesh: Mesh) -> None:
    provider = TracerProvider(resource=Resource.create({"service.name": "agent"}))
    exporter = OTLPSpanExporter(endpoint=f"127.0.0.1:{mesh.grpc_port}", insecure=True)
    provider.add_span_processor(SimpleSpanProcessor(exporter))

    def work() -> str:
        tracer = provider.get_tracer("test")
        with tracer.start_as_current_span("agent.run", attributes={"run.id": "r1", "note": SCRIPT}) as span:
            tracer.start_span("rpc", None).end()
            span.add_event("thought", {"tokens": 3})
        provider.shutdown()
        return f"{span.get_span_context().trace_id:032x}"

    trace_id = await asyncio.to_thread(work)
    for key in ("r1", trace_id):
        found = (await mesh.http.get(f"/api/runs/{key}/spans")).json()["spans"]
        assert [span["name"] for span in found] == ["agent.run", "rpc"]
    assert found[0]["attributes"]["note"] == SCRIPT
    assert found[0]["events"][0]["attributes"] == {"tokens": 3}
    assert found[1]["parent_span_id"] == found[0]["span_id"]
    listed = await mesh.telemetry.ListSpans(control_v1.ListSpansRequest(filter=control_v1.SpanFilter(run_id="r1")))
    assert [(span.name, span.attributes["note"]) for span in listed.spans] == [("agent.run", SCRIPT)]


async def test_malformed_otlp_is_a_partial_success_and_garbage_harms_nobody(mesh: Mesh) -> None:
    stub: Any = trace_service_pb2_grpc.TraceServiceStub(mesh.channel)  # type: ignore[no-untyped-call]
    request = trace_service_pb2.ExportTraceServiceRequest()
    spans = request.resource_spans.add().scope_spans.add().spans
    spans.add(trace_id=b"short", span_id=b"x" * 8, start_time_unix_nano=1)
    spans.add(trace_id=b"t" * 16, span_id=b"x" * 8, start_time_unix_nano=1)
    answer = await stub.Export(request)
    assert answer.partial_success.rejected_spans == 1
    assert "trace_id" in answer.partial_success.error_message
    raw: Any = mesh.channel.unary_unary("/opentelemetry.proto.collector.trace.v1.TraceService/Export")
    with pytest.raises(grpc.aio.AioRpcError):
        await raw(b"\xff\xff\xff\xff")
    assert (await mesh.http.get("/api/health")).json()["span_count"] == 1


async def test_a_span_is_live_over_sse_and_grpc_from_its_start_to_its_end(mesh: Mesh) -> None:
    watch = mesh.telemetry.WatchSpans(control_v1.WatchSpansRequest(filter=control_v1.SpanFilter(run_id="r1")))
    await watch.wait_for_connection()
    async with following(mesh, "/api/events") as events:
        cursor = (await until(events, "ready")).id
        span = started(attributes={"run.id": "r1"})
        await mesh.telemetry.ReportSpanStarts(control_v1.ReportSpanStartsRequest(instance_id="agent-1", spans=[span]))
        start = await until(events, "span_started")
        assert start.json()["run_id"] == "r1"
        stub: Any = trace_service_pb2_grpc.TraceServiceStub(mesh.channel)  # type: ignore[no-untyped-call]
        request = trace_service_pb2.ExportTraceServiceRequest()
        ended = {"trace_id": bytes.fromhex("a" * 32), "span_id": bytes.fromhex("b" * 16)}
        request.resource_spans.add().scope_spans.add().spans.add(start_time_unix_nano=1, **ended)
        await stub.Export(request)
        end = await until(events, "span_ended")
    assert int(cursor) < int(start.id) < int(end.id)
    assert (await watch.read()).span.state == control_v1.Span.STATE_RUNNING
    async with following(mesh, "/api/events", last_event_id=start.id) as again:
        assert (await until(again, "span_ended")).id == end.id


@pytest.mark.parametrize(
    "spans, error",
    [
        ([control_v1.Span(trace_id="A" * 32)], InvalidInput),
        ([control_v1.Span(trace_id="a" * 32, span_id="b" * 16)], InvalidInput),
        ([started(attributes={"x": float("nan")})], InvalidInput),
        ([started()] * 1_001, LimitExceeded),
    ],
)
async def test_bad_span_starts_are_refused(mesh: Mesh, spans: list[control_v1.Span], error: type[Exception]) -> None:
    with pytest.raises(error), peer_errors("control"):
        await mesh.telemetry.ReportSpanStarts(control_v1.ReportSpanStartsRequest(instance_id="a", spans=spans))


async def test_the_spans_of_a_process_whose_lease_lapsed_are_lost(mesh: Mesh) -> None:
    request = registering("agent", "127.0.0.1:1", kind="agent")
    request.lease.FromMilliseconds(1)
    async with following(mesh, "/api/events") as events:
        await mesh.registry.Register(request)
        report = control_v1.ReportSpanStartsRequest(instance_id=request.instance_id, spans=[started()])
        await mesh.telemetry.ReportSpanStarts(report)
        assert (await until(events, "span_ended")).json()["state"] == "lost"


async def test_a_cursor_of_another_life_is_told_what_it_missed(mesh: Mesh) -> None:
    async with following(mesh, "/api/events?after=5") as events:
        reset = await until(events, "reset")
    assert (reset.json()["after"], reset.json()["cause"], reset.json()["missed"]) == ("5", "another_life", None)
    assert reset.id == reset.json()["until"]


async def test_a_run_comes_from_the_registered_agent(mesh: Mesh) -> None:
    async with agent_at(mesh):
        run = (await mesh.http.get("/api/runs/r1")).json()
        assert (run["query"], run["source"]) == (SCRIPT, "agent")
        missing = await mesh.http.get("/api/runs/nope")
        assert (missing.status_code, missing.json()["reason"]) == (404, "NOT_FOUND")
        assert (await mesh.http.get("/api/runs/nope/events")).status_code == 404


async def test_a_run_is_followed_resumed_and_ends_explicitly(mesh: Mesh) -> None:
    async with agent_at(mesh) as agent:
        await agent.add(text_produced=agent_v1.TextProduced(text="one\ntwo"))
        async with following(mesh, "/api/runs/r1/events") as events:
            first = await until(events, "text_produced")
            assert (first.id, first.json()["payload"]["text"]) == ("1", "one\ntwo")
            await agent.add(hop_started=agent_v1.HopStarted(capability="rag"))
            assert (await until(events, "hop_started")).id == "2"
        await agent.finish()
        async with following(mesh, "/api/runs/r1/events", last_event_id="1") as events:
            rest = [(event.event, event.id) async for event in events]
        assert rest == [("hop_started", "2"), ("state_changed", "3"), ("end", "3")]
        async with following(mesh, "/api/runs/r1/events?after=3") as events:
            assert (await anext(events)).json() == {"reason": "finished", "error": None}


async def test_a_watch_that_closes_early_is_taken_up_again(mesh: Mesh) -> None:
    async with agent_at(mesh) as agent, following(mesh, "/api/runs/r1/events") as events:
        await agent.add(text_produced=agent_v1.TextProduced(text="one"))
        await until(events, "text_produced")
        agent.is_broken = True
        agent.news.fire()
        await agent.is_alone.wait()
        agent.is_broken = False
        await agent.finish()
        assert [(event.event, event.id) async for event in events] == [("state_changed", "2"), ("end", "2")]


async def test_a_reader_that_leaves_takes_its_watch_with_it(mesh: Mesh) -> None:
    async with agent_at(mesh) as agent:
        await agent.add(text_produced=agent_v1.TextProduced(text="one"))
        async with following(mesh, "/api/runs/r1/events") as events:
            await until(events, "text_produced")
            assert agent.watchers == 1
        async with asyncio.timeout(20):
            await agent.is_alone.wait()


@pytest.mark.parametrize("path", ["/api/runs/r1", "/api/runs/r1/events"])
async def test_without_an_agent_unreported_runs_are_unavailable_with_a_remedy(mesh: Mesh, path: str) -> None:
    answer = await mesh.http.get(path)
    assert (answer.status_code, answer.json()["reason"]) == (503, "PEER_UNAVAILABLE")
    assert "waystation up" in answer.json()["remedy"]


async def test_reported_runs_are_there_when_the_agent_is_not(mesh: Mesh) -> None:
    run = agent_v1.Run(run_id="r1", query="Who?", state=agent_v1.Run.STATE_SUCCEEDED, answer="Nobody.", last_sequence=7)
    async with following(mesh, "/api/events") as events:
        await until(events, "ready")
        stored = await mesh.telemetry.ReportRunEvents(reporting(run))
        assert dict(stored.sequences) == {"r1": 7}
        assert (await until(events, "run_changed")).json()["answer"] == "Nobody."
    for found in (
        (await mesh.http.get("/api/runs/r1")).json(),
        (await mesh.http.get("/api/runs", params={"state": "succeeded"})).json()["runs"][0],
    ):
        assert (found["query"], found["state"], found["last_sequence"]) == ("Who?", "succeeded", 7)
        assert found["source"] == "projection"
    answer = await mesh.telemetry.GetRunCursors(control_v1.GetRunCursorsRequest(store_id="s"))
    assert (dict(answer.sequences), dict(answer.store_generations)) == ({"r1": 7}, {"r1": 1})


async def test_a_run_whose_agent_died_is_lost(tmp_path: Path) -> None:
    clock = SteppedClock()
    async with mesh_in(tmp_path, clock=Clock(clock), lease_s=1) as mesh, following(mesh, "/api/events") as events:
        await until(events, "ready")
        request = registering("agent", "127.0.0.1:1", kind="agent")
        await mesh.registry.Register(request)
        run = agent_v1.Run(run_id="r1", state=agent_v1.Run.STATE_RUNNING, last_sequence=1)
        await mesh.telemetry.ReportRunEvents(reporting(run, instance_id=request.instance_id))
        assert (await until(events, "run_changed")).json()["state"] == "running"
        clock.now += 60
        assert (await until(events, "run_changed")).json()["state"] == "lost"
        assert (await mesh.http.get("/api/runs/r1")).json()["state"] == "lost"


@pytest.mark.parametrize(
    "request_",
    [
        control_v1.ReportRunEventsRequest(instance_id="a"),
        control_v1.ReportRunEventsRequest(store_id="s"),
        control_v1.ReportRunEventsRequest(instance_id="a", store_id="s" * 129),
        reporting(agent_v1.Run()),
        reporting(lost_runs={"r1": -1}),
        reporting(agent_v1.Run(run_id="r", create_time=Timestamp(seconds=2**62))),
        reporting(events=[agent_v1.RunEvent(run_id="unknown", sequence=1)]),
        reporting(agent_v1.Run(run_id="r"), events=[agent_v1.RunEvent(run_id="r", sequence=n) for n in (2, 1)]),
        reporting(agent_v1.Run(run_id="r"), events=[agent_v1.RunEvent(run_id="r")]),
    ],
)
async def test_bad_reports_are_refused(mesh: Mesh, request_: control_v1.ReportRunEventsRequest) -> None:
    with pytest.raises(InvalidInput), peer_errors("control"):
        await mesh.telemetry.ReportRunEvents(request_)
    assert (await mesh.http.get("/api/runs")).json()["runs"] == []


async def test_a_report_is_bounded(mesh: Mesh) -> None:
    with pytest.raises(LimitExceeded, match="deleted_run_ids"), peer_errors("control"):
        await mesh.telemetry.ReportRunEvents(reporting(deleted_run_ids=["r"] * 1_001))


@pytest.mark.parametrize(
    "path, status, reason",
    [
        ("/api/nothing", 404, "NOT_FOUND"),
        ("/api/runs?page_size=501", 400, "INVALID_INPUT"),
        ("/api/runs?state=odd", 400, "INVALID_INPUT"),
        ("/api/runs?page_token=x", 400, "INVALID_INPUT"),
        ("/api/runs/r1/spans?page_token=x", 400, "INVALID_INPUT"),
        ("/api/events?after=x", 400, "INVALID_INPUT"),
        ("/api/events?after=-1", 400, "INVALID_INPUT"),
    ],
)
async def test_bad_requests_are_refused_as_json(mesh: Mesh, path: str, status: int, reason: str) -> None:
    answer = await mesh.http.get(path)
    assert (answer.status_code, answer.json()["reason"]) == (status, reason)


async def test_other_methods_are_refused_as_json(mesh: Mesh) -> None:
    answer = await mesh.http.post("/api/services", json={})
    assert (answer.status_code, answer.json()["reason"]) == (405, "NOT_BUILT")


async def test_foreign_hosts_and_origins_are_refused(mesh: Mesh) -> None:
    for headers in ({"host": "evil.example"}, {"origin": "http://evil.example"}):
        answer = await mesh.http.get("/api/services", headers=headers)
        assert (answer.status_code, answer.json()["reason"]) == (403, "FORBIDDEN")
        assert "access-control-allow-origin" not in answer.headers


async def test_the_pages_escape_everything_and_load_nothing(mesh: Mesh) -> None:
    async with agent_at(mesh) as agent:
        agent.run.error.message = SCRIPT
        await mesh.telemetry.ReportRunEvents(reporting(agent.run))
        await mesh.registry.Register(registering("rag", "127.0.0.1:1", tags=["<b>"], version="<i>"))
        for path in ("/", "/docs"):
            answer = await mesh.http.get(path)
            assert "default-src 'none'" in answer.headers["content-security-policy"]
            assert not any(bad in answer.text for bad in ("<script", "<b>", "<i>", "src=", "https://"))
        assert "&lt;script&gt;" in (await mesh.http.get("/")).text


async def test_the_status_page_stands_without_an_agent(mesh: Mesh) -> None:
    assert "No runs yet" in (await mesh.http.get("/")).text
    await mesh.telemetry.ReportRunEvents(reporting(agent_v1.Run(run_id="r1", query="Who was here?")))
    assert "Who was here?" in (await mesh.http.get("/")).text


async def test_the_openapi_document_has_the_streams_payloads(mesh: Mesh) -> None:
    document = (await mesh.http.get("/openapi.json")).json()
    for path, name in (("/api/events", "ControlSse"), ("/api/runs/{run_id}/events", "RunSse")):
        answer = document["paths"][path]["get"]["responses"]["200"]
        assert answer["content"]["text/event-stream"]["schema"] == {"$ref": f"#/components/schemas/{name}"}
    kinds = document["components"]["schemas"]["ControlSse"]["discriminator"]["mapping"]
    assert {"span_started", "registry_changed", "reset", "end"} <= set(kinds)
    defined = set(document["components"]["schemas"])
    references = set(json.dumps(document).split('"#/components/schemas/')[1:])
    assert {reference.partition('"')[0] for reference in references} <= defined


async def test_reflection_health_and_names_are_served(mesh: Mesh) -> None:
    stub: Any = health_pb2_grpc.HealthStub(mesh.channel)
    for name in (
        "waystation.control.v1.RegistryService",
        "opentelemetry.proto.collector.trace.v1.TraceService",
    ):
        answer = await stub.Check(health_pb2.HealthCheckRequest(service=name))
        assert answer.status == health_pb2.HealthCheckResponse.SERVING


async def test_streams_of_both_kinds_end_when_the_process_stops(tmp_path: Path) -> None:
    ends: list[str] = []
    async with mesh_in(tmp_path) as mesh, agent_at(mesh) as agent:
        await agent.add(text_produced=agent_v1.TextProduced(text="one"))
        services = mesh.registry.WatchServices(control_v1.WatchServicesRequest())
        await services.read()
        async with following(mesh, "/api/events") as events, following(mesh, "/api/runs/r1/events") as run:
            await until(events, "ready")
            await until(run, "text_produced")
            mesh.control.end_streams()
            async with asyncio.timeout(20):
                ends += [(await until(stream, "end")).json()["reason"] for stream in (events, run)]
                while await services.read() is not grpc.aio.EOF:
                    continue
    assert ends == ["shutting_down", "shutting_down"]


async def test_a_taken_http_port_is_refused_by_name(tmp_path: Path) -> None:
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(StorageUnavailable, match=str(port)):
            async with mesh_in(tmp_path, http_port=port):
                pass


async def test_spans_survive_a_restart(tmp_path: Path) -> None:
    async with mesh_in(tmp_path) as mesh:
        report = control_v1.ReportSpanStartsRequest(instance_id="agent-1", spans=[started()])
        await mesh.telemetry.ReportSpanStarts(report)
    async with mesh_in(tmp_path) as mesh:
        assert len((await mesh.http.get(f"/api/runs/{'a' * 32}/spans")).json()["spans"]) == 1
