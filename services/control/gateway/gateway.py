"""What the HTTP routes work with: the control plane's parts, and the agent behind it."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from services.control.event_log import EventLog
from services.control.forward.forwarder import Forwarder
from services.control.gateway.agent_peer import AgentPeer
from services.control.incidents.incident_store import IncidentStore
from services.control.logs.log_store import LogStore
from services.control.metrics.exposition import Exposition
from services.control.metrics.heartbeat_counters import HeartbeatCounters
from services.control.metrics.series import SeriesTable
from services.control.metrics.span_figures import SpanFigures
from services.control.mode.observability_mode import ObservabilityMode
from services.control.registry.health_history import HealthHistory
from services.control.registry.registry import Registry
from services.control.runs.projection import RunProjection
from services.control.telemetry.span_store import SpanStore

VERSION = "0.1.0"


@dataclass(frozen=True)
class Gateway:
    """The parts."""

    registry: Registry
    history: HealthHistory
    spans: SpanStore
    runs: RunProjection
    logs: LogStore
    mode: ObservabilityMode
    incidents: IncidentStore
    counters: HeartbeatCounters
    exposition: Exposition
    series: SeriesTable
    figures: SpanFigures
    forwarder: Forwarder
    event_log: EventLog
    agent: AgentPeer
    uptime_s: Callable[[], float]
    store_size: Callable[[], Awaitable[tuple[int, int]]]
    """Bytes of control.db that hold something, and that are free."""
    write_errors: Callable[[], int]
    """Transactions that control.db refused."""
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the process stops: streams say so and end."""
