"""The spans of this process, kept in memory."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache

from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter


@cache
def _exporter() -> InMemorySpanExporter:
    """One for the process: OpenTelemetry takes one provider and no other after it."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    return exporter


@contextmanager
def recorded_spans() -> Iterator[Sequence[ReadableSpan]]:
    """The spans that end while the context lasts; complete after it."""
    exporter = _exporter()
    exporter.clear()
    spans: list[ReadableSpan] = []
    try:
        yield spans
    finally:
        spans += exporter.get_finished_spans()
        exporter.clear()
