"""Log records: sent by a real exporter and by strangers, stored in bounds, found by what they belong to."""

import asyncio
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue, KeyValueList
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.sdk._logs import LoggerProvider, LoggingHandler
from opentelemetry.sdk._logs.export import SimpleLogRecordProcessor
from opentelemetry.sdk.resources import Resource

from tests.fakes.control_mesh import Mesh, mesh_in
from tests.fakes.otlp import NOW_NS, log_record, log_request, logs_of

SECOND_NS = 10**9


@pytest.fixture
async def mesh(tmp_path: Path) -> AsyncIterator[Mesh]:
    async with mesh_in(tmp_path) as mesh:
        yield mesh


async def listed(mesh: Mesh, **query: Any) -> list[str]:
    answer = await mesh.http.get("/api/logs", params=query)
    assert answer.status_code == 200, answer.text
    return [log["message"] for log in answer.json()["logs"]]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
async def test_records_of_a_real_exporter_are_found(mesh: Mesh) -> None:
    provider = LoggerProvider(resource=Resource.create({"service.name": "rag", "service.instance.id": "rag-1"}))
    exporter = OTLPLogExporter(endpoint=f"127.0.0.1:{mesh.grpc_port}", insecure=True)
    provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    logger = logging.getLogger("stranger")
    logger.propagate = False
    logger.addHandler(LoggingHandler(logger_provider=provider))

    def work() -> None:
        logger.error("the disk is full", extra={"run.id": "r1"})
        provider.shutdown()

    await asyncio.to_thread(work)
    [log] = (await mesh.http.get("/api/logs", params={"run_id": "r1"})).json()["logs"]
    assert (log["message"], log["severity"], log["service"]) == ("the disk is full", "error", "rag")
    assert (log["instance_id"], log["logger"], log["run_id"]) == ("rag-1", "stranger", "r1")


async def test_records_are_found_by_each_of_their_marks(mesh: Mesh) -> None:
    first = log_record("one", NOW_NS, 9, run_id="r1", correlation_id="c1", thread_id="t1")
    first.trace_id, first.span_id = b"t" * 16, b"s" * 8
    stub = logs_of(mesh.channel)
    await stub.Export(log_request(first, log_record("two", NOW_NS + SECOND_NS, 17, run_id="r2")))
    await stub.Export(log_request(log_record("Three", NOW_NS + 2 * SECOND_NS, 13), service="rag"))
    assert await listed(mesh) == ["Three", "two", "one"]
    for query, expected in (
        ({"run_id": "r1"}, ["one"]),
        ({"correlation_id": "c1"}, ["one"]),
        ({"thread_id": "t1"}, ["one"]),
        ({"trace_id": (b"t" * 16).hex()}, ["one"]),
        ({"service": "rag"}, ["Three"]),
        ({"severity": "warn"}, ["Three", "two"]),
        ({"severity": "error"}, ["two"]),
        ({"text": "thr"}, ["Three"]),
        ({"from_unix_ms": NOW_NS / 1e6 + 500}, ["Three", "two"]),
        ({"to_unix_ms": NOW_NS / 1e6 + 500}, ["one"]),
        ({"run_id": "r1", "severity": "error"}, []),
    ):
        assert await listed(mesh, **query) == expected, query


async def test_pages_follow_each_other_without_gap(mesh: Mesh) -> None:
    await logs_of(mesh.channel).Export(log_request(*(log_record(f"{number}") for number in range(7))))
    seen: list[str] = []
    token = ""
    while True:
        page = (await mesh.http.get("/api/logs", params={"page_size": 3, "page_token": token})).json()
        seen += [log["message"] for log in page["logs"]]
        if not (token := page["next_page_token"]):
            break
    assert seen == ["6", "5", "4", "3", "2", "1", "0"]


async def test_odd_records_are_stored_as_far_as_they_make_sense(mesh: Mesh) -> None:
    nested = AnyValue(kvlist_value=KeyValueList(values=[KeyValue(key="a", value=AnyValue(array_value=ArrayValue()))]))
    odd = LogRecord(body=nested, severity_number=99, trace_id=b"short")  # type: ignore[arg-type]  # out of range
    answer = await logs_of(mesh.channel).Export(log_request(odd, LogRecord(), log_record("x" * 100_000)))
    assert answer.partial_success.rejected_log_records == 0
    shown = (await mesh.http.get("/api/logs")).json()["logs"]
    assert {len(log["message"]) for log in shown} == {16_384, 0, len('{"a":[]}')}
    assert all(log["time_unix_ms"] > 0 and log["trace_id"] == "" for log in shown)


async def test_malformed_records_are_a_partial_success(mesh: Mesh) -> None:
    late = log_record("late")
    late.time_unix_nano = 2**64 - 1
    huge = log_record("huge", **{f"a{number}": "x" * 10_000 for number in range(20)})
    answer = await logs_of(mesh.channel).Export(log_request(late, huge, log_record("good")))
    assert answer.partial_success.rejected_log_records == 2
    assert "2262" in answer.partial_success.error_message
    assert await listed(mesh) == ["good"]


async def test_garbage_and_messages_that_are_too_large_harm_nobody(mesh: Mesh) -> None:
    raw: Any = mesh.channel.unary_unary("/opentelemetry.proto.collector.logs.v1.LogsService/Export")
    for garbage in (b"\xff\xff\xff\xff", b"\x0a" + b"x" * 20_000_000):
        with pytest.raises(grpc.aio.AioRpcError):
            await raw(garbage)
    await logs_of(mesh.channel).Export(log_request(log_record("good")))
    assert await listed(mesh) == ["good"]


async def test_the_oldest_go_when_there_are_too_many_bytes(tmp_path: Path) -> None:
    async with mesh_in(tmp_path, max_log_bytes=1024 * 1024) as mesh:
        for batch in range(6):
            records = [log_record(f"{batch}-{number} " + "x" * 1_000) for number in range(500)]
            await logs_of(mesh.channel).Export(log_request(*records))
        assert mesh.control.logs.stored_bytes <= 1024 * 1024
        newest = await listed(mesh, page_size=2_000)
        assert newest[0].startswith("5-499 ") and 0 < len(newest) < 1_500
    async with mesh_in(tmp_path, max_log_bytes=1024 * 1024) as mesh:
        assert mesh.control.logs.stored_bytes <= 1024 * 1024
        assert len(await listed(mesh, page_size=2_000)) == len(newest)


async def test_old_records_are_pruned(mesh: Mesh) -> None:
    await logs_of(mesh.channel).Export(log_request(log_record("old"), log_record("new", NOW_NS + 1)))
    assert await mesh.control.logs.prune(NOW_NS + 1) == 1
    assert await listed(mesh) == ["new"]


@pytest.mark.parametrize(
    "query",
    [
        {"severity": "loud"},
        {"page_size": 2_001},
        {"page_token": "x"},
        {"page_token": "9" * 19 + "." + "9" * 19},
        {"from_unix_ms": -1},
        {"to_unix_ms": "nan"},
        {"run_id": "r" * 501},
    ],
)
async def test_bad_queries_are_refused(mesh: Mesh, query: dict[str, Any]) -> None:
    answer = await mesh.http.get("/api/logs", params=query)
    assert (answer.status_code, answer.json()["reason"]) == (400, "INVALID_INPUT")
