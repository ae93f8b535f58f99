"""Spans of a run: each carries the run's ids."""

from collections.abc import Mapping
from contextlib import AbstractContextManager

from opentelemetry import trace
from opentelemetry.util.types import AttributeValue

from services.agent.state import RunContext
from shared.telemetry import attributes

tracer = trace.get_tracer(__name__)


def run_attributes(run_context: RunContext) -> dict[str, AttributeValue]:
    """The ids by which a span of the run is found."""
    return {
        attributes.THREAD_ID: run_context.thread_id,
        attributes.RUN_ID: run_context.run_id,
        attributes.CORRELATION_ID: run_context.correlation_id,
    }


def run_span(
    name: str,
    run_context: RunContext,
    more: Mapping[str, AttributeValue] | None = None,
    kind: trace.SpanKind = trace.SpanKind.INTERNAL,
) -> AbstractContextManager[trace.Span]:
    """A span of the run, current while the context lasts. It begins with `more`, so that its start tells them too."""
    return tracer.start_as_current_span(name, kind=kind, attributes={**run_attributes(run_context), **(more or {})})
