"""From what the control plane has, and what the agent sends, to the views."""

from collections.abc import Sequence
from datetime import UTC

from services.control.gateway.run_views import RunSource, RunView
from services.control.gateway.view import utc
from services.control.gateway.views import (
    ErrorView,
    HealthSample,
    LogView,
    ModeView,
    ProcessHealth,
    SeriesView,
    ServiceList,
    ServiceView,
    SpanEventView,
    SpanLinkView,
    SpanView,
)
from services.control.logs.log_record import LogRecord, severity_name
from services.control.metrics.series import Series
from services.control.mode.observability_mode import ModeState
from services.control.registry.health_history import HealthSample as Sample
from services.control.registry.registry import Snapshot
from services.control.telemetry.span import SpanRecord
from shared.call_context import current_call
from shared.errors import WaystationError
from shared.pb import agent_v1, control_v1

TERMINAL = (agent_v1.Run.STATE_SUCCEEDED, agent_v1.Run.STATE_FAILED, agent_v1.Run.STATE_CANCELLED)


def error_view(error: WaystationError) -> ErrorView:
    """The JSON of an error."""
    call_context = current_call()
    ids = {"correlation_id": call_context.correlation_id} if call_context else {}
    metadata = {**ids, **error.metadata}
    return ErrorView(reason=error.reason, message=error.message, remedy=error.remedy, metadata=metadata)


def service_list(snapshot: Snapshot, cursor: int) -> ServiceList:
    """The registry as JSON; example requests are counted, not sent."""
    services = [_service(instance) for instance in snapshot.instances]
    return ServiceList(services=services, version=snapshot.version, cursor=str(cursor))


def _service(instance: control_v1.ServiceInstance) -> ServiceView:
    descriptor = instance.descriptor
    return ServiceView(
        instance_id=instance.instance_id,
        name=descriptor.name,
        kind=instance.kind,
        address=instance.address,
        description=descriptor.description,
        version=descriptor.version,
        tags=list(descriptor.tags),
        roles=list(descriptor.roles),
        example_count=len(descriptor.examples),
        health=ProcessHealth.of(instance.health),
        register_time=instance.register_time.ToDatetime(UTC),
        heartbeat_time=instance.heartbeat_time.ToDatetime(UTC),
        lease_expire_time=instance.lease_expire_time.ToDatetime(UTC),
        pid=instance.pid,
    )


def health_samples(samples: Sequence[Sample]) -> list[HealthSample]:
    """What heartbeats said as JSON."""
    return [HealthSample(time_unix_ms=each.unix_s * 1e3, health=ProcessHealth.of(each.health)) for each in samples]


def span_view(span: SpanRecord) -> SpanView:
    """A stored span as JSON."""
    contents = span.contents()
    return SpanView(
        trace_id=span.trace_id,
        span_id=span.span_id,
        parent_span_id=span.parent_span_id,
        name=span.name,
        service=span.service,
        instance_id=span.instance_id,
        kind=span.kind,  # type: ignore[arg-type]  # the ways in let no other kind or state through
        state=span.state,  # type: ignore[arg-type]
        status_message=span.status_message,
        start_unix_ms=_ms(span.start_ns),
        end_unix_ms=None if span.end_ns is None else _ms(span.end_ns),
        run_id=span.run_id,
        thread_id=span.thread_id,
        correlation_id=span.correlation_id,
        attributes=contents["attributes"],
        events=[
            SpanEventView(name=event["name"], time_unix_ms=_ms(event["time_ns"]), attributes=event["attributes"])
            for event in contents["events"]
        ],
        links=[SpanLinkView(**link) for link in contents["links"]],
    )


def mode_view(state: ModeState) -> ModeView:
    """The mode as JSON."""
    expire = None if state.expire_unix_s is None else utc(state.expire_unix_s)
    return ModeView(mode=state.mode, set_mode=state.set_mode, expire_time=expire, cause=state.cause)


def log_view(record: LogRecord) -> LogView:
    """A log record as JSON."""
    return LogView(
        time_unix_ms=_ms(record.time_ns),
        severity=severity_name(record.severity),
        severity_number=record.severity,
        severity_text=record.severity_text,
        service=record.service,
        instance_id=record.instance_id,
        logger=record.logger,
        message=record.message,
        trace_id=record.trace_id,
        span_id=record.span_id,
        run_id=record.run_id,
        thread_id=record.thread_id,
        correlation_id=record.correlation_id,
        attributes=record.contents(),
    )


def series_view(series: Series) -> SeriesView:
    """A metric series as JSON."""
    return SeriesView(
        name=series.name,
        kind=series.kind,  # type: ignore[arg-type]  # the door lets no other kind through
        unit=series.unit,
        description=series.description,
        service=series.service,
        instance_id=series.instance_id,
        attributes=series.contents(),
        temporality=series.temporality,  # type: ignore[arg-type]
        time_unix_ms=_ms(series.time_ns),
        value=series.value,
        count=series.count,
        sum=series.sum,
        bounds=list(series.bounds),
        bucket_counts=list(series.bucket_counts),
    )


def run_view(run: agent_v1.Run, source: RunSource) -> RunView:
    """A run as JSON."""
    view = RunView.of(run)
    view.source = source
    return view


def is_last_event(event: agent_v1.RunEvent) -> bool:
    """Whether nothing can follow the event in its run."""
    return event.HasField("state_changed") and event.state_changed.run.state in TERMINAL


def _ms(ns: int) -> float:
    return ns // 1_000 / 1_000
