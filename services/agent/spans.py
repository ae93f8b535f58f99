"""Spans of a run: each carries the run's ids, and all of them are in the trace of the request that started it."""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.types import AttributeValue

from services.agent.state import RunContext
from shared.capability.wire import effort_name
from shared.pb import agent_v1
from shared.telemetry import attributes

tracer = trace.get_tracer(__name__)
_propagator = TraceContextTextMapPropagator()


def run_attributes(run: RunContext | agent_v1.Run) -> dict[str, AttributeValue]:
    """The ids by which a span of the run is found."""
    return {
        attributes.THREAD_ID: run.thread_id,
        attributes.RUN_ID: run.run_id,
        attributes.CORRELATION_ID: run.correlation_id,
    }


def run_span(
    name: str,
    run_context: RunContext,
    more: Mapping[str, AttributeValue] | None = None,
    kind: trace.SpanKind = trace.SpanKind.INTERNAL,
) -> AbstractContextManager[trace.Span]:
    """A span of the run, current while the context lasts. It begins with `more`, so that its start tells them too."""
    return tracer.start_as_current_span(name, kind=kind, attributes={**run_attributes(run_context), **(more or {})})


@contextmanager
def run_epoch_span(run: agent_v1.Run, trace_parent: str, cause: str) -> Iterator[trace.Span]:
    """The `agent.run` span of this epoch: a child of the request, with a link to the span of the epoch before.

    Puts trace id, parent and span id into the run, to be stored with the run's next event. What ends the run is an
    attribute and not this span's exception: a run that a drain lets go has not failed.
    """
    told: dict[str, AttributeValue] = {
        **run_attributes(run),
        attributes.WORKFLOW: run.workflow,
        attributes.EFFORT: effort_name(run.effort),
        attributes.EPOCH: run.epoch,
        attributes.OPERATION: attributes.INVOKE_AGENT,
        attributes.PROVIDER: attributes.OURS,
        attributes.AGENT_NAME: attributes.OURS,
        attributes.CONVERSATION_ID: run.thread_id,
        **({attributes.RESUME_CAUSE: cause} if cause else {}),
    }
    run.trace_parent = trace_parent
    former = _former(run)
    with tracer.start_as_current_span(
        attributes.SPAN_RUN,
        context=_parent(run, former),
        attributes=told,
        links=[trace.Link(former, {attributes.LINK: "previous_epoch"})] if former else None,
        record_exception=False,
        set_status_on_exception=False,
    ) as span:
        own = span.get_span_context()
        if own.is_valid:
            run.trace_id, run.span_id = f"{own.trace_id:032x}", f"{own.span_id:016x}"
        yield span


def restore_span(run: agent_v1.Run) -> AbstractContextManager[trace.Span]:
    """Around reading the checkpoint that the run goes on from."""
    told = {**run_attributes(run), attributes.EPOCH: run.epoch}
    return tracer.start_as_current_span(attributes.SPAN_CHECKPOINT_RESTORE, attributes=told)


def _parent(run: agent_v1.Run, former: trace.SpanContext | None) -> Context:
    """The request that started the run; for want of that, the epoch before, or a new trace."""
    if former and not run.trace_parent:
        return trace.set_span_in_context(trace.NonRecordingSpan(former), Context())
    return _propagator.extract({"traceparent": run.trace_parent}, Context())


def _former(run: agent_v1.Run) -> trace.SpanContext | None:
    if not run.span_id:
        return None
    sampled = trace.TraceFlags(trace.TraceFlags.SAMPLED)
    return trace.SpanContext(int(run.trace_id, 16), int(run.span_id, 16), is_remote=True, trace_flags=sampled)
