"""What the HTTP routes work with: the control plane's parts, and the agent behind it."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from services.control.event_log import EventLog
from services.control.gateway.agent_peer import AgentPeer
from services.control.logs.log_store import LogStore
from services.control.metrics.exposition import Exposition
from services.control.metrics.series import SeriesTable
from services.control.mode.observability_mode import ObservabilityMode
from services.control.registry.registry import Registry
from services.control.runs.projection import RunProjection
from services.control.telemetry.span_store import SpanStore

VERSION = "0.1.0"


@dataclass(frozen=True)
class Gateway:
    """The parts."""

    registry: Registry
    spans: SpanStore
    runs: RunProjection
    logs: LogStore
    mode: ObservabilityMode
    exposition: Exposition
    series: SeriesTable
    event_log: EventLog
    agent: AgentPeer
    uptime_s: Callable[[], float]
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the process stops: streams say so and end."""
