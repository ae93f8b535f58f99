"""Spans of a run: each carries the run's ids."""

from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry import trace

from services.agent.state import RunContext
from shared.telemetry import attributes

tracer = trace.get_tracer(__name__)


def run_attributes(run_context: RunContext) -> dict[str, str]:
    """The ids by which a span of the run is found."""
    return {
        attributes.THREAD_ID: run_context.thread_id,
        attributes.RUN_ID: run_context.run_id,
        attributes.CORRELATION_ID: run_context.correlation_id,
    }


@contextmanager
def run_span(name: str, run_context: RunContext) -> Iterator[trace.Span]:
    """A span of the run, current while the context lasts."""
    with tracer.start_as_current_span(name, attributes=run_attributes(run_context)) as span:
        yield span
