"""The shapes of the HTTP API's answers but for runs; the OpenAPI document is made from them."""

from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from services.control.gateway.view import ContractView, RequestBody, View
from shared.pb import control_v1

ServiceState = Literal["unspecified", "serving", "degraded", "not_serving", "draining"]


class ErrorView(View):
    """What went wrong and what to do about it."""

    reason: str
    """A stable name out of `ErrorReason`."""
    message: str
    remedy: str = ""
    metadata: dict[str, str]


class ProcessHealth(ContractView):
    """How a registered process is."""

    contract = control_v1.Health

    state: ServiceState
    message: str
    """Why it is not well."""
    cpu: float | None
    """Share of one core; None when the process named no number."""
    rss_bytes: int
    threads: int
    open_files: int
    event_loop_lag_ms: float | None
    """How late the event loop was at most; None when the process did not say."""
    in_flight: int


class HealthSample(View):
    """How a process was, as one of its heartbeats said."""

    time_unix_ms: float
    health: ProcessHealth


class ServiceView(View):
    """A registered process."""

    instance_id: str
    name: str
    kind: str
    address: str
    description: str
    version: str
    tags: list[str]
    roles: list[str]
    example_count: int
    health: ProcessHealth
    register_time: datetime
    heartbeat_time: datetime
    lease_expire_time: datetime
    pid: int
    history: list[HealthSample] = Field(default_factory=list)
    """The last heartbeats, oldest first, when they were asked for."""


class ServiceList(View):
    """All registered processes."""

    services: list[ServiceView]
    version: int
    """Grows with each change of the list."""
    cursor: str
    """Follow `/api/events` after it to hear of all later changes."""


class SpanEventView(View):
    """Something noted within a span."""

    name: str
    time_unix_ms: float
    attributes: dict[str, Any]


class SpanLinkView(View):
    """A span in another place that this one belongs with."""

    trace_id: str
    span_id: str
    attributes: dict[str, Any]


class SpanView(View):
    """A span, ended or not."""

    trace_id: str
    span_id: str
    parent_span_id: str
    name: str
    service: str
    instance_id: str
    kind: Literal["internal", "server", "client", "producer", "consumer"]
    state: Literal["running", "ok", "error", "lost"]
    status_message: str
    start_unix_ms: float
    """Milliseconds since 1970, with microseconds as the fraction."""
    end_unix_ms: float | None
    """None while the span runs; when the process was last seen for one that died with it."""
    run_id: str | None
    thread_id: str | None
    correlation_id: str | None
    attributes: dict[str, Any]
    events: list[SpanEventView]
    links: list[SpanLinkView]


class SpanList(View):
    """Spans, oldest first."""

    spans: list[SpanView]
    next_page_token: str
    cursor: str
    """Follow `/api/events` after it to hear of all later changes."""


class GatewayHealth(View):
    """How the control plane is."""

    state: Literal["serving"]
    version: str
    uptime_s: float
    service_count: int
    serving_count: int
    span_count: int
    """About how many spans are stored."""
    pending_span_count: int
    """Spans that wait for the disk."""
    lost_span_count: int
    """Spans that died with their process, since the control plane started."""
    cursor: str


ModeName = Literal["shipping", "debug"]


class ModeView(View):
    """How much the mesh says of itself: `shipping` spans only; `debug` spans, metrics and logs, with contents."""

    mode: ModeName
    """The mode in force."""
    set_mode: ModeName
    """What somebody set, without the window that a crash lays over it."""
    expire_time: datetime | None
    """When the mode in force changes by itself."""
    cause: Literal["", "crash"]
    """Why the mode in force is not the one that was set."""


class ModeChoice(RequestBody):
    """A mode to set."""

    mode: ModeName
    duration_s: float | None = None
    """How long, up to 30 days; without it until somebody sets another."""
    actor: str = ""
    reason: str = ""


class LogView(View):
    """A log record."""

    time_unix_ms: float
    severity: Literal["unspecified", "trace", "debug", "info", "warn", "error", "fatal"]
    severity_number: int
    severity_text: str
    service: str
    instance_id: str
    logger: str
    message: str
    trace_id: str
    span_id: str
    run_id: str | None
    thread_id: str | None
    correlation_id: str | None
    attributes: dict[str, Any]


class LogList(View):
    """Log records, newest first."""

    logs: list[LogView]
    next_page_token: str


class SeriesView(View):
    """The latest value of one OTLP metric series."""

    name: str
    kind: Literal["gauge", "sum", "histogram", "summary"]
    unit: str
    description: str
    service: str
    instance_id: str
    attributes: dict[str, Any]
    temporality: Literal["", "cumulative", "delta"]
    time_unix_ms: float
    value: float | None
    """None for histograms and summaries, which have count and sum."""
    count: int | None
    sum: float | None
    bounds: list[float]
    """Upper bounds of a histogram's buckets; `bucket_counts` has one more."""
    bucket_counts: list[int]


class SeriesList(View):
    """OTLP metric series, by service and name."""

    series: list[SeriesView]
    is_complete: bool
    """False when there are more than were asked for."""
