"""Spans on their way out: clean ones pass as they are, the others as copies without secrets."""

from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from shared.telemetry.span_redaction import RedactingSpanExporter, redacted_span

SECRET = "canary-9f8e7d6c5b4a"


def test_everything_on_a_span_is_cleaned_and_the_rest_is_as_it_was() -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(RedactingSpanExporter(exporter)))
    tracer = provider.get_tracer("test")
    with tracer.start_as_current_span("outer") as outer:
        linked = trace.Link(outer.get_span_context(), {"password": SECRET})
        with tracer.start_as_current_span(f"call Bearer {SECRET}", links=[linked]) as span:
            span.set_attributes({"n": 1, "texts": ["fine", f"sk-{SECRET}"], "my.token": SECRET})
            span.add_event("said", {"text": f"password={SECRET}"})
            span.record_exception(ValueError(f"https://bob:{SECRET}@host"))
            span.set_status(trace.StatusCode.ERROR, f"api_key={SECRET}")
    changed, kept = exporter.get_finished_spans()
    assert SECRET not in changed.to_json()
    assert changed.attributes == {"n": 1, "texts": ("fine", "[redacted]"), "my.token": "[redacted]"}
    assert [event.name for event in changed.events] == ["said", "exception"]
    assert (changed.parent, changed.resource) == (kept.context, kept.resource)
    assert changed.start_time and changed.end_time and changed.status.status_code is trace.StatusCode.ERROR


def test_a_span_without_secrets_is_not_copied() -> None:
    span = ReadableSpan("agent.run", attributes={"run.id": "r", "gen_ai.usage.input_tokens": 5})
    assert redacted_span(span) is span
