"""OTLP as a stranger sends and receives it: requests, stubs, and a collector with memory and dials."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2, logs_service_pb2_grpc
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2, metrics_service_pb2_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric

NOW_NS = time.time_ns()
"""Older things would be pruned."""


def pairs(**attributes: Any) -> list[KeyValue]:
    """Attributes; an underscore in a name stands for a dot, unless there is one."""
    keys = {name if "." in name else name.replace("_", "."): value for name, value in attributes.items()}
    return [KeyValue(key=key, value=_value(value)) for key, value in keys.items()]


def _value(value: Any) -> AnyValue:
    if isinstance(value, bool):
        return AnyValue(bool_value=value)
    if isinstance(value, int):
        return AnyValue(int_value=value)
    return AnyValue(double_value=value) if isinstance(value, float) else AnyValue(string_value=value)


def trace_request(*spans: dict[str, Any], service: str = "agent") -> trace_service_pb2.ExportTraceServiceRequest:
    """Spans of one service; each is given as the fields of an OTLP span."""
    request = trace_service_pb2.ExportTraceServiceRequest()
    resource_spans = request.resource_spans.add()
    resource_spans.resource.attributes.extend(pairs(service_name=service))
    scope = resource_spans.scope_spans.add()
    for fields in spans:
        scope.spans.add(**{"trace_id": b"t" * 16, "start_time_unix_nano": NOW_NS, **fields})
    return request


def log_request(*records: LogRecord, service: str = "agent") -> logs_service_pb2.ExportLogsServiceRequest:
    """Log records of one service."""
    request = logs_service_pb2.ExportLogsServiceRequest()
    resource_logs = request.resource_logs.add()
    resource_logs.resource.attributes.extend(pairs(service_name=service))
    resource_logs.scope_logs.add(log_records=records)
    return request


def log_record(message: str, time_ns: int = NOW_NS, severity: int = 9, **attributes: Any) -> LogRecord:
    """A log record; an underscore in an attribute's name stands for a dot."""
    body = AnyValue(string_value=message)
    return LogRecord(time_unix_nano=time_ns, severity_number=severity, body=body, attributes=pairs(**attributes))  # type: ignore[arg-type]


def metric_request(*metrics: Metric, service: str = "agent") -> metrics_service_pb2.ExportMetricsServiceRequest:
    """Metrics of one service."""
    request = metrics_service_pb2.ExportMetricsServiceRequest()
    resource_metrics = request.resource_metrics.add()
    resource_metrics.resource.attributes.extend(pairs(service_name=service))
    resource_metrics.scope_metrics.add(metrics=metrics)
    return request


def gauge(name: str, value: float, time_ns: int = NOW_NS, **attributes: Any) -> Metric:
    """A gauge with one point."""
    metric = Metric(name=name, unit="1")
    metric.gauge.data_points.add(time_unix_nano=time_ns, as_double=value, attributes=pairs(**attributes))
    return metric


def traces_of(channel: grpc.aio.Channel) -> Any:
    """The stub for traces; `logs_of` and `metrics_of` likewise."""
    return trace_service_pb2_grpc.TraceServiceStub(channel)  # type: ignore[no-untyped-call]


def logs_of(channel: grpc.aio.Channel) -> Any:
    return logs_service_pb2_grpc.LogsServiceStub(channel)  # type: ignore[no-untyped-call]


def metrics_of(channel: grpc.aio.Channel) -> Any:
    return metrics_service_pb2_grpc.MetricsServiceStub(channel)  # type: ignore[no-untyped-call]


@dataclass
class Collector:
    """What an OTLP collector has received; `refusal` is what the coming calls get instead."""

    spans: list[str] = field(default_factory=list)
    logs: list[str] = field(default_factory=list)
    metrics: list[str] = field(default_factory=list)
    calls: int = 0
    refusal: grpc.StatusCode | None = None
    news: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def wait_for(self, **counts: int) -> None:
        """Wait until it has so many of each."""
        async with asyncio.timeout(10), self.news:
            await self.news.wait_for(lambda: all(len(getattr(self, name)) >= want for name, want in counts.items()))

    async def take(self, context: Any, kept: list[str], names: list[str]) -> None:
        """Take what came with a call."""
        self.calls += 1
        if self.refusal:
            await context.abort(self.refusal, "not now")
        kept += names
        async with self.news:
            self.news.notify_all()


class _Traces(trace_service_pb2_grpc.TraceServiceServicer):
    def __init__(self, collector: Collector) -> None:
        self._collector = collector

    async def Export(self, request: Any, context: Any) -> trace_service_pb2.ExportTraceServiceResponse:
        names = [span.name for each in request.resource_spans for scope in each.scope_spans for span in scope.spans]
        await self._collector.take(context, self._collector.spans, names)
        return trace_service_pb2.ExportTraceServiceResponse()


class _Logs(logs_service_pb2_grpc.LogsServiceServicer):
    def __init__(self, collector: Collector) -> None:
        self._collector = collector

    async def Export(self, request: Any, context: Any) -> logs_service_pb2.ExportLogsServiceResponse:
        records = [
            record for each in request.resource_logs for scope in each.scope_logs for record in scope.log_records
        ]
        await self._collector.take(context, self._collector.logs, [record.body.string_value for record in records])
        return logs_service_pb2.ExportLogsServiceResponse()


class _Metrics(metrics_service_pb2_grpc.MetricsServiceServicer):
    def __init__(self, collector: Collector) -> None:
        self._collector = collector

    async def Export(self, request: Any, context: Any) -> metrics_service_pb2.ExportMetricsServiceResponse:
        metrics = [
            metric for each in request.resource_metrics for scope in each.scope_metrics for metric in scope.metrics
        ]
        await self._collector.take(context, self._collector.metrics, [metric.name for metric in metrics])
        return metrics_service_pb2.ExportMetricsServiceResponse()


@asynccontextmanager
async def collector_at(port: int = 0) -> AsyncIterator[tuple[Collector, int]]:
    """A collector that serves, and its port."""
    collector, server = Collector(), grpc.aio.server(options=(("grpc.so_reuseport", 0),))
    add_traces: Any = trace_service_pb2_grpc.add_TraceServiceServicer_to_server
    add_logs: Any = logs_service_pb2_grpc.add_LogsServiceServicer_to_server
    add_metrics: Any = metrics_service_pb2_grpc.add_MetricsServiceServicer_to_server
    add_traces(_Traces(collector), server)
    add_logs(_Logs(collector), server)
    add_metrics(_Metrics(collector), server)
    bound = server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    try:
        yield collector, bound
    finally:
        await server.stop(None)
