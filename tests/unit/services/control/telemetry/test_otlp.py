"""OTLP requests, good and malformed."""

from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue

from services.control.telemetry.otlp import Rejections, read_spans
from services.control.telemetry.span import MAX_ITEMS, MAX_TEXT_CHARS, SpanRecord

GOOD: dict[str, Any] = {
    "trace_id": b"\x01" * 16,
    "span_id": b"\x02" * 8,
    "name": "agent.hop",
    "start_time_unix_nano": 1_000,
    "end_time_unix_nano": 2_000,
}


def read(*spans: dict[str, Any], **resource: str) -> tuple[list[SpanRecord], Rejections]:
    request = ExportTraceServiceRequest()
    group = request.resource_spans.add()
    for key, value in resource.items():
        group.resource.attributes.add(key=key.replace("_", "."), value=AnyValue(string_value=value))
    scope = group.scope_spans.add()
    for span in spans:
        scope.spans.add(**{**GOOD, **span})
    rejections = Rejections()
    return list(read_spans(request, rejections)), rejections


def attribute(key: str, **value: Any) -> KeyValue:
    return KeyValue(key=key, value=AnyValue(**value))


def test_ids_are_promoted_from_the_span_and_else_from_its_resource() -> None:
    attributes = [attribute("run.id", string_value="r1")]
    (span,), _ = read({"attributes": attributes}, service_name="rag", thread_id="t1", run_id="r0")
    assert (span.run_id, span.thread_id, span.correlation_id, span.service) == ("r1", "t1", None, "rag")
    assert (span.trace_id, span.span_id, span.state) == ("01" * 16, "02" * 8, "ok")


def test_attributes_of_every_type_are_kept() -> None:
    kvlist = {"values": [attribute("k", bool_value=True)]}
    attributes = [
        attribute("i", int_value=2**62),
        attribute("d", double_value=float("nan")),
        attribute("b", bytes_value=b"\xff"),
        attribute("a", array_value={"values": [AnyValue(string_value="x")]}),
        attribute("m", kvlist_value=kvlist),
        attribute("none"),
    ]
    (span,), _ = read({"attributes": attributes})
    expected = {"i": 2**62, "d": None, "b": "ff", "a": ["x"], "m": {"k": True}, "none": None}
    assert span.contents()["attributes"] == expected


@pytest.mark.parametrize(
    "fault, reason",
    [
        ({"trace_id": b""}, "trace_id"),
        ({"trace_id": bytes(16)}, "trace_id"),
        ({"span_id": b"\x01" * 7}, "span_id"),
        ({"span_id": bytes(8)}, "span_id"),
        ({"parent_span_id": b"\x01"}, "parent_span_id"),
        ({"start_time_unix_nano": 0}, "start_time"),
        ({"end_time_unix_nano": 2**64 - 1}, "end_time"),
        ({"events": [{"name": "e", "attributes": [attribute(f"k{n}", string_value="x" * MAX_TEXT_CHARS)
          for n in range(100)]}]}, "larger"),
    ],
)  # fmt: skip
def test_a_malformed_span_is_counted_and_its_neighbour_kept(fault: dict[str, Any], reason: str) -> None:
    spans, rejections = read(fault, {})
    assert len(spans) == 1
    assert rejections.count == 1
    assert reason in str(rejections)


def test_long_and_many_values_are_cut() -> None:
    attributes = [attribute(f"k{n}", string_value="x" * (MAX_TEXT_CHARS + 1)) for n in range(3)]
    events = [{"name": "e", "time_unix_nano": 2**64 - 1}] * (MAX_ITEMS + 1)
    (span,), _ = read({"attributes": attributes, "events": events, "kind": 77, "name": "n" * 1_000})
    contents = span.contents()
    assert {len(value) for value in contents["attributes"].values()} == {MAX_TEXT_CHARS}
    assert len(contents["events"]) == MAX_ITEMS
    assert (span.kind, len(span.name)) == ("internal", 512)


def test_deep_nesting_is_cut() -> None:
    value = AnyValue(string_value="deep")
    for _ in range(30):
        value = AnyValue(array_value=ArrayValue(values=[value]))
    (span,), _ = read({"attributes": [KeyValue(key="k", value=value)]})
    assert b"deep" not in span.body


def test_clock_skew_and_zero_length_are_kept_as_they_are() -> None:
    spans, rejections = read({"end_time_unix_nano": 500}, {"end_time_unix_nano": 1_000}, {"end_time_unix_nano": 0})
    assert [(span.start_ns, span.end_ns) for span in spans] == [(1_000, 500), (1_000, 1_000), (1_000, 1_000)]
    assert rejections.count == 0
