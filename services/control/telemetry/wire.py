"""Spans between our proto and the store."""

from typing import Any

import orjson
from google.protobuf.json_format import MessageToDict
from google.protobuf.struct_pb2 import Struct
from google.protobuf.timestamp_pb2 import Timestamp

from services.control.telemetry.span import (
    MAX_BODY_BYTES,
    MAX_ITEMS,
    MAX_NAME_CHARS,
    MAX_TIME_NS,
    SpanRecord,
    is_span_id,
    is_trace_id,
    promoted,
)
from services.control.telemetry.span_store import SpanFilter
from shared.errors import InvalidInput
from shared.pb import control_v1

_KINDS = ("internal", "server", "client", "producer", "consumer")
_STATES = {
    "running": control_v1.Span.STATE_RUNNING,
    "ok": control_v1.Span.STATE_OK,
    "error": control_v1.Span.STATE_ERROR,
    "lost": control_v1.Span.STATE_LOST,
}


def start_from_proto(span: control_v1.Span, instance_id: str) -> SpanRecord:
    """Read a span that has just started. Raises `InvalidInput`, which names the field, when malformed."""
    if not is_trace_id(span.trace_id):
        raise _bad("trace_id", "32 lower-case hex digits, not all zero")
    if not is_span_id(span.span_id):
        raise _bad("span_id", "16 lower-case hex digits, not all zero")
    if span.parent_span_id and not is_span_id(span.parent_span_id):
        raise _bad("parent_span_id", "empty or 16 lower-case hex digits")
    start_ns = to_ns(span.start_time)
    if not 0 < start_ns <= MAX_TIME_NS:
        raise _bad("start_time", "a time from 1970 until 2262")
    try:
        attributes = MessageToDict(span.attributes)
        links = [_link(link) for link in span.links[:MAX_ITEMS]]
    except ValueError:
        raise _bad("attributes", "JSON values, no NaN or infinity") from None
    body = orjson.dumps({"attributes": attributes, "events": [], "links": links})
    if len(body) > MAX_BODY_BYTES:
        raise _bad("attributes", f"at most {MAX_BODY_BYTES} bytes")
    return SpanRecord(
        trace_id=span.trace_id,
        span_id=span.span_id,
        parent_span_id=span.parent_span_id,
        name=span.name[:MAX_NAME_CHARS],
        service=span.service[:MAX_NAME_CHARS] or "unknown_service",
        kind=span.kind if span.kind in _KINDS else "internal",
        start_ns=start_ns,
        end_ns=None,
        state="running",
        status_message="",
        run_id=promoted(attributes, "run.id"),
        thread_id=promoted(attributes, "thread.id"),
        correlation_id=promoted(attributes, "correlation.id"),
        instance_id=instance_id,
        body=body,
    )


def _link(link: control_v1.Span.Link) -> dict[str, Any]:
    if not (is_trace_id(link.trace_id) and is_span_id(link.span_id)):
        raise _bad("links", "ids of a trace and a span, as lower-case hex digits")
    return {"trace_id": link.trace_id, "span_id": link.span_id, "attributes": MessageToDict(link.attributes)}


def span_to_proto(span: SpanRecord) -> control_v1.Span:
    """Write a stored span."""
    contents = span.contents()
    message = control_v1.Span(
        trace_id=span.trace_id,
        span_id=span.span_id,
        parent_span_id=span.parent_span_id,
        name=span.name,
        service=span.service,
        kind=span.kind,
        start_time=to_timestamp(span.start_ns),
        end_time=None if span.end_ns is None else to_timestamp(span.end_ns),
        state=_STATES[span.state],
        status_message=span.status_message,
        attributes=_struct(contents["attributes"]),
        instance_id=span.instance_id,
    )
    for event in contents["events"]:
        attributes = _struct(event["attributes"])
        message.events.add(name=event["name"], time=to_timestamp(event["time_ns"]), attributes=attributes)
    for link in contents["links"]:
        message.links.add(trace_id=link["trace_id"], span_id=link["span_id"], attributes=_struct(link["attributes"]))
    return message


def filter_from_proto(wanted: control_v1.SpanFilter) -> SpanFilter:
    """Read a filter."""
    return SpanFilter(
        trace_id=wanted.trace_id,
        run_id=wanted.run_id,
        thread_id=wanted.thread_id,
        correlation_id=wanted.correlation_id,
        service=wanted.service,
        name=wanted.name,
        start_ns_from=max(0, min(to_ns(wanted.start_time_from), MAX_TIME_NS)),
        start_ns_to=max(0, min(to_ns(wanted.start_time_to), MAX_TIME_NS)),
    )


def to_ns(timestamp: Timestamp) -> int:
    """Nanoseconds since 1970; an absent timestamp is 0."""
    return timestamp.seconds * 1_000_000_000 + timestamp.nanos


def to_timestamp(ns: int) -> Timestamp:
    """The timestamp of nanoseconds since 1970."""
    return Timestamp(seconds=ns // 1_000_000_000, nanos=ns % 1_000_000_000)


def _struct(values: dict[str, Any]) -> Struct:
    struct = Struct()
    struct.update(values)
    return struct


def _bad(field: str, limit: str) -> InvalidInput:
    return InvalidInput(f"spans.{field} must be {limit}.", field=f"spans.{field}", limit=limit)
