"""Starts: told soon, once, without secrets; short spans and a receiver that is away cost nothing."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from google.protobuf.json_format import MessageToDict
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

from shared.errors import PeerProtocol, PeerUnavailable, WaystationError
from shared.pb import control_v1
from shared.telemetry import attributes, span_starts
from shared.telemetry.span_starts import SpanStarts


class Receiver:
    """Takes reports; fails with `failures` first."""

    def __init__(self) -> None:
        self.spans: list[control_v1.Span] = []
        self.times: list[float] = []
        self.failures: list[WaystationError] = []
        self.has_report = threading.Semaphore(0)
        self.is_closed = False

    def report(self, spans: list[control_v1.Span]) -> None:
        if self.failures:
            failure = self.failures.pop()
            self.has_report.release()
            raise failure
        self.spans += spans
        self.times.append(time.time())
        self.has_report.release()

    def close(self) -> None:
        self.is_closed = True


@contextmanager
def telling(receiver: Receiver, gather_s: float = 0.02) -> Iterator[tuple[SpanStarts, trace.Tracer]]:
    starts = SpanStarts("agent", receiver, gather_s)
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(starts)
    try:
        yield starts, provider.get_tracer("test")
    finally:
        provider.shutdown()


def test_a_span_that_runs_is_told_with_its_parent_its_links_and_what_it_began_with() -> None:
    receiver = Receiver()
    with telling(receiver) as (_, tracer):
        with tracer.start_as_current_span(attributes.SPAN_RUN) as run:
            link = trace.Link(run.get_span_context(), {attributes.LINK: "previous_epoch"})
            told = {attributes.RUN_ID: "r1", "list": ("a", "b")}
            hop = tracer.start_span(attributes.SPAN_HOP, attributes=told, links=[link], kind=trace.SpanKind.CLIENT)
            assert receiver.has_report.acquire(timeout=10)
            hop.end()
    assert [span.name for span in receiver.spans] == [attributes.SPAN_RUN, attributes.SPAN_HOP]
    outer, inner = receiver.spans
    assert (inner.trace_id, inner.parent_span_id, inner.kind) == (outer.trace_id, outer.span_id, "client")
    assert inner.links[0].span_id == outer.span_id
    assert MessageToDict(inner.attributes) == {attributes.RUN_ID: "r1", "list": ["a", "b"]}
    assert receiver.times[0] - inner.start_time.ToNanoseconds() / 1e9 < 1
    assert receiver.is_closed


def test_a_span_that_is_over_by_then_is_left_to_its_end() -> None:
    receiver = Receiver()
    with telling(receiver) as (_, tracer):
        tracer.start_span("short").end()
        running = tracer.start_span("long")
        assert receiver.has_report.acquire(timeout=10)
        running.end()
    assert [span.name for span in receiver.spans] == ["long"]


def test_secrets_stay_here() -> None:
    receiver = Receiver()
    with telling(receiver) as (_, tracer):
        span = tracer.start_span("long", attributes={"note": "Bearer abcdefghijklmnop", "password": "x1", "n": 1})
        assert receiver.has_report.acquire(timeout=10)
        span.end()
    assert MessageToDict(receiver.spans[0].attributes) == {"note": "[redacted]", "password": "[redacted]", "n": 1.0}


def test_while_the_receiver_is_away_spans_wait_and_those_that_end_are_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(span_starts, "RETRY_S", 0.2)
    receiver = Receiver()
    receiver.failures = [PeerUnavailable("away")]
    with telling(receiver, gather_s=0.001) as (starts, tracer):
        ended, running = tracer.start_span("ended"), tracer.start_span("running")
        assert receiver.has_report.acquire(timeout=10)
        ended.end()
        assert receiver.has_report.acquire(timeout=10)
        running.end()
        assert starts.dropped == 0
    assert [span.name for span in receiver.spans] == ["running"]


@pytest.mark.parametrize("failure", [PeerProtocol("no such call"), WaystationError("a defect")])
def test_what_is_refused_is_counted_and_the_next_is_told(failure: WaystationError) -> None:
    receiver = Receiver()
    receiver.failures = [failure]
    with telling(receiver, gather_s=0.001) as (starts, tracer):
        first = tracer.start_span("first")
        assert receiver.has_report.acquire(timeout=10)
        second = tracer.start_span("second")
        assert receiver.has_report.acquire(timeout=10)
        first.end()
        second.end()
        assert starts.dropped == 1
    assert [span.name for span in receiver.spans] == ["second"]


def test_the_oldest_are_forgotten_when_too_many_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(span_starts, "MAX_PENDING", 5)
    receiver = Receiver()
    with telling(receiver, gather_s=30) as (starts, tracer):
        spans = [tracer.start_span(str(number)) for number in range(8)]
        assert starts.dropped == 3
        for span in spans:
            span.end()
