"""The shapes of the HTTP API's answers and events; the OpenAPI document is made from them."""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel

RunState = Literal[
    "unspecified",
    "pending",
    "running",
    "input_required",
    "paused",
    "succeeded",
    "failed",
    "cancelled",
    "lost",
]
RunSource = Literal["agent", "projection"]
ServiceState = Literal["unspecified", "serving", "degraded", "not_serving", "draining"]


class ErrorView(BaseModel):
    """What went wrong and what to do about it."""

    reason: str
    """A stable name out of `ErrorReason`."""
    message: str
    remedy: str = ""
    metadata: dict[str, str] = {}


class ProcessHealth(BaseModel):
    """How a registered process is."""

    state: ServiceState
    message: str
    """Why it is not well."""
    cpu: float
    """Share of one core."""
    rss_bytes: int
    threads: int
    open_files: int
    event_loop_lag_ms: float
    in_flight: int


class ServiceView(BaseModel):
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


class ServiceList(BaseModel):
    """All registered processes."""

    services: list[ServiceView]
    version: int
    """Grows with each change of the list."""
    cursor: str
    """Follow `/api/events` after it to hear of all later changes."""


class RunErrorView(BaseModel):
    """Why a run failed."""

    reason: str
    message: str
    remedy: str
    metadata: dict[str, str]


class RunView(BaseModel):
    """One pass of a workflow over a thread."""

    source: RunSource
    """Who says so: the agent itself, or what it reported last, which is here while it is dead."""
    run_id: str
    thread_id: str
    workflow: str
    query: str
    state: RunState
    answer: str
    error: RunErrorView | None
    effort: str
    tenant: str
    correlation_id: str
    trace_id: str
    create_time: datetime | None
    update_time: datetime | None
    end_time: datetime | None
    hop_count: int
    remaining_hops: int
    current_cycle: int
    max_cycles: int
    attempt_count: int
    epoch: int
    last_sequence: int
    has_unresolved_review: bool
    usage: dict[str, Any]
    """The message `Usage` as JSON."""
    questions: list[dict[str, Any]]
    """Messages `Question` as JSON."""
    citations: list[dict[str, Any]]
    """Messages `Citation` as JSON."""


class RunList(BaseModel):
    """Runs, newest first."""

    runs: list[RunView]
    next_page_token: str
    cursor: str
    """Follow `/api/events` after it to hear of all later changes."""


class SpanEventView(BaseModel):
    """Something noted within a span."""

    name: str
    time_unix_ms: float
    attributes: dict[str, Any]


class SpanLinkView(BaseModel):
    """A span in another place that this one belongs with."""

    trace_id: str
    span_id: str
    attributes: dict[str, Any]


class SpanView(BaseModel):
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


class SpanList(BaseModel):
    """Spans, oldest first."""

    spans: list[SpanView]
    next_page_token: str
    cursor: str
    """Follow `/api/events` after it to hear of all later changes."""


class GatewayHealth(BaseModel):
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
    cursor: str


class Cursor(BaseModel):
    """Where a reader of `/api/events` stands."""

    cursor: str


class Reset(BaseModel):
    """Events between two cursors are not to be had any more: fetch the state again. What follows is new."""

    after: str
    """The cursor that the reader had."""
    until: str
    """The cursor that it has now."""
    cause: Literal["too_old", "another_life"]
    """Whether the reader was too slow or away for too long, or came with a cursor that is not from here."""
    missed: int | None
    """How many events; None when nobody can say."""


class End(BaseModel):
    """Why a stream ends.

    After `finished` and `gone` (the agent does not have the run any more) nothing more will come; otherwise come back
    with the last id.
    """

    reason: Literal["finished", "gone", "interrupted", "shutting_down"]
    error: ErrorView | None = None


ModeName = Literal["shipping", "debug"]


class ModeView(BaseModel):
    """How much the mesh says of itself: `shipping` spans only; `debug` spans, metrics and logs, with contents."""

    mode: ModeName
    """The mode in force."""
    set_mode: ModeName
    """What somebody set, without the window that a crash lays over it."""
    expire_time: datetime | None
    """When the mode in force changes by itself."""
    cause: Literal["", "crash"]
    """Why the mode in force is not the one that was set."""


class ModeChoice(BaseModel):
    """A mode to set."""

    mode: ModeName
    duration_s: float | None = None
    """How long, up to 30 days; without it until somebody sets another."""
    actor: str = ""
    reason: str = ""


class LogView(BaseModel):
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


class LogList(BaseModel):
    """Log records, newest first."""

    logs: list[LogView]
    next_page_token: str


class SeriesView(BaseModel):
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


class SeriesList(BaseModel):
    """OTLP metric series, by service and name."""

    series: list[SeriesView]
    is_complete: bool
    """False when there are more than were asked for."""


class RunEventView(BaseModel):
    """One thing that happened in a run."""

    run_id: str
    sequence: int
    create_time: datetime
    correlation_id: str
    trace_id: str
    span_id: str
    type: str
    """The name of the payload in the message `RunEvent`, such as `decision_made`."""
    payload: dict[str, Any]
    """The payload as JSON, with the field names of the proto."""


class ReadySse(BaseModel):
    """First on `/api/events`."""

    event: Literal["ready"]
    id: str
    data: Cursor


class RegistryChangedSse(BaseModel):
    """The list of services changed."""

    event: Literal["registry_changed"]
    id: str
    data: ServiceList


class SpanStartedSse(BaseModel):
    """A span started."""

    event: Literal["span_started"]
    id: str
    data: SpanView


class SpanEndedSse(BaseModel):
    """A span ended, or was lost with its process."""

    event: Literal["span_ended"]
    id: str
    data: SpanView


class RunChangedSse(BaseModel):
    """A run began, changed its state, ended, or was lost with its agent."""

    event: Literal["run_changed"]
    id: str
    data: RunView


class HopSse(BaseModel):
    """A hop started or ended; the data's `type` says which."""

    event: Literal["hop"]
    id: str
    data: RunEventView


class DecisionSse(BaseModel):
    """The arbitrator decided."""

    event: Literal["decision"]
    id: str
    data: RunEventView


class A2aMessageSse(BaseModel):
    """A capability sent a message to another."""

    event: Literal["a2a_message"]
    id: str
    data: RunEventView


class ModeChangedSse(BaseModel):
    """The observability mode, or how long it holds, changed."""

    event: Literal["mode_changed"]
    id: str
    data: ModeView


class ResetSse(BaseModel):
    """The reader missed events; `id` is where it stands now."""

    event: Literal["reset"]
    id: str
    data: Reset


class RunEventSse(BaseModel):
    """An event of a run; `event` is the payload's type and `id` the sequence number."""

    event: str
    id: str
    data: RunEventView


class EndSse(BaseModel):
    """Last on every stream; it has no id."""

    event: Literal["end"]
    data: End


CONTROL_STREAM = (
    ReadySse,
    RegistryChangedSse,
    SpanStartedSse,
    SpanEndedSse,
    RunChangedSse,
    HopSse,
    DecisionSse,
    A2aMessageSse,
    ModeChangedSse,
    ResetSse,
    EndSse,
)
RUN_STREAM = (RunEventSse, ResetSse, EndSse)
