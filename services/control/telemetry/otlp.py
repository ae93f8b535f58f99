"""Reads OTLP trace requests: plain records out, malformed spans counted and said why."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import orjson
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, Span, Status

from services.control.telemetry.otlp_values import plain_attributes
from services.control.telemetry.span import (
    MAX_BODY_BYTES,
    MAX_ITEMS,
    MAX_NAME_CHARS,
    MAX_TEXT_CHARS,
    MAX_TIME_NS,
    SpanRecord,
    promoted,
)

_KINDS = ("internal", "internal", "server", "client", "producer", "consumer")
_NO_TRACE, _NO_SPAN = bytes(16), bytes(8)


@dataclass
class Rejections:
    """How many spans were refused, and the first reasons."""

    count: int = 0
    reasons: list[str] = field(default_factory=list)

    def add(self, reason: str) -> None:
        """Count one more."""
        self.count += 1
        if len(self.reasons) < 3 and reason not in self.reasons:
            self.reasons.append(reason)

    def __str__(self) -> str:
        return "; ".join(self.reasons)


def read_spans(request: ExportTraceServiceRequest, rejections: Rejections) -> Iterator[SpanRecord]:
    """Yield the request's spans as records; those that are malformed are counted in `rejections` instead."""
    for resource_spans in request.resource_spans:
        resource = plain_attributes(resource_spans.resource.attributes)
        for span in _spans(resource_spans):
            fault = _fault(span)
            if fault:
                rejections.add(fault)
                continue
            record = _record(span, resource)
            if len(record.body) > MAX_BODY_BYTES:
                rejections.add(f"a span is larger than {MAX_BODY_BYTES} bytes")
            else:
                yield record


def _spans(resource_spans: ResourceSpans) -> Iterator[Span]:
    for scope_spans in resource_spans.scope_spans:
        yield from scope_spans.spans


def _fault(span: Span) -> str:
    if len(span.trace_id) != 16 or span.trace_id == _NO_TRACE:
        return "trace_id must be 16 bytes, not all zero"
    if len(span.span_id) != 8 or span.span_id == _NO_SPAN:
        return "span_id must be 8 bytes, not all zero"
    if len(span.parent_span_id) not in (0, 8):
        return "parent_span_id must be empty or 8 bytes"
    if not 0 < span.start_time_unix_nano <= MAX_TIME_NS or span.end_time_unix_nano > MAX_TIME_NS:
        return "start_time_unix_nano and end_time_unix_nano must be times until 2262"
    return ""


def _record(span: Span, resource: dict[str, Any]) -> SpanRecord:
    attributes = plain_attributes(span.attributes)
    ids = {**resource, **attributes}
    return SpanRecord(
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_span_id="" if span.parent_span_id == _NO_SPAN else span.parent_span_id.hex(),
        name=span.name[:MAX_NAME_CHARS],
        service=promoted(resource, "service.name") or "unknown_service",
        kind=_KINDS[span.kind] if 0 <= span.kind < len(_KINDS) else "internal",
        start_ns=span.start_time_unix_nano,
        # OTLP carries ended spans only, so an absent end is the sender's fault, not a running span.
        end_ns=span.end_time_unix_nano or span.start_time_unix_nano,
        state="error" if span.status.code == Status.STATUS_CODE_ERROR else "ok",
        status_message=span.status.message[:MAX_TEXT_CHARS],
        run_id=promoted(ids, "run.id"),
        thread_id=promoted(ids, "thread.id"),
        correlation_id=promoted(ids, "correlation.id"),
        instance_id=promoted(resource, "service.instance.id") or "",
        body=orjson.dumps({"attributes": attributes, "events": _events(span), "links": _links(span)}),
    )


def _events(span: Span) -> list[dict[str, Any]]:
    return [
        {
            "name": event.name[:MAX_NAME_CHARS],
            "time_ns": min(event.time_unix_nano, MAX_TIME_NS),
            "attributes": plain_attributes(event.attributes),
        }
        for event in span.events[:MAX_ITEMS]
    ]


def _links(span: Span) -> list[dict[str, Any]]:
    return [
        {
            "trace_id": link.trace_id.hex()[:32],
            "span_id": link.span_id.hex()[:16],
            "attributes": plain_attributes(link.attributes),
        }
        for link in span.links[:MAX_ITEMS]
    ]
