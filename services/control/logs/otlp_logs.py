"""Reads OTLP log requests: plain records out, malformed ones counted and said why."""

from collections.abc import Iterator
from typing import Any

import orjson
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.logs.v1 import logs_pb2

from services.control.logs.log_record import LogRecord
from services.control.telemetry.otlp import Rejections
from services.control.telemetry.otlp_values import plain_attributes, plain_value
from services.control.telemetry.span import (
    MAX_NAME_CHARS,
    MAX_TEXT_CHARS,
    MAX_TIME_NS,
    is_span_id,
    is_trace_id,
    promoted,
)

MAX_ATTRIBUTE_BYTES = 64 * 1024
MAX_SEVERITY = 24
ENTRY_BYTES = 300
"""What a row and its index entries weigh besides its texts, about."""


def read_logs(request: ExportLogsServiceRequest, now_ns: int, rejections: Rejections) -> Iterator[LogRecord]:
    """Yield the request's log records; those that are malformed are counted in `rejections` instead.

    A record without any time gets `now_ns`.
    """
    for resource_logs in request.resource_logs:
        resource = plain_attributes(resource_logs.resource.attributes)
        for scope_logs in resource_logs.scope_logs:
            for entry in scope_logs.log_records:
                time_ns = entry.time_unix_nano or entry.observed_time_unix_nano or now_ns
                record = _record(entry, time_ns, resource, scope_logs.scope.name) if time_ns <= MAX_TIME_NS else None
                if record is None:
                    rejections.add("time_unix_nano must be a time until 2262")
                elif len(record.attributes) > MAX_ATTRIBUTE_BYTES:
                    rejections.add(f"the attributes of a log record are larger than {MAX_ATTRIBUTE_BYTES} bytes")
                else:
                    yield record


def _record(entry: logs_pb2.LogRecord, time_ns: int, resource: dict[str, Any], scope: str) -> LogRecord:
    attributes = plain_attributes(entry.attributes)
    ids = {**resource, **attributes}
    message = _text(entry.body)
    packed = orjson.dumps(attributes)
    return LogRecord(
        time_ns=time_ns,
        severity=min(max(entry.severity_number, 0), MAX_SEVERITY),
        severity_text=entry.severity_text[:MAX_NAME_CHARS],
        service=promoted(resource, "service.name") or "unknown_service",
        instance_id=promoted(resource, "service.instance.id") or "",
        logger=scope[:MAX_NAME_CHARS],
        message=message,
        trace_id=trace_id if is_trace_id(trace_id := entry.trace_id.hex()) else "",
        span_id=span_id if is_span_id(span_id := entry.span_id.hex()) else "",
        run_id=promoted(ids, "run.id"),
        thread_id=promoted(ids, "thread.id"),
        correlation_id=promoted(ids, "correlation.id"),
        attributes=packed,
        size=ENTRY_BYTES + len(message) + len(packed),
    )


def _text(body: AnyValue) -> str:
    value = plain_value(body)
    if value is None:
        return ""
    return value if isinstance(value, str) else orjson.dumps(value).decode()[:MAX_TEXT_CHARS]
