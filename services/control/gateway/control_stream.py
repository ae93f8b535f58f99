"""`/api/events`: the control plane's own events."""

from collections.abc import AsyncIterator

from sse_starlette import ServerSentEvent

from services.control.event_log import Event, EventLog, Gap
from services.control.gateway.incident_views import incident_view
from services.control.gateway.mapping import mode_view, run_view, service_list, span_view
from services.control.gateway.run_event_views import run_event_view
from services.control.gateway.stream_views import Cursor, End, Reset
from services.control.gateway.streams import sse
from services.control.incidents.incident import Incident
from services.control.mode.observability_mode import ModeState
from services.control.registry.registry import Snapshot
from shared.pb import agent_v1

RUN_EVENTS = {
    "hop_started": "hop",
    "hop_ended": "hop",
    "decision_made": "decision",
    "message_sent": "a2a_message",
}
"""What happens in runs and is told to all, by the payload of `RunEvent`; the rest is on the run's own stream."""


async def control_events(event_log: EventLog, after: int | None) -> AsyncIterator[ServerSentEvent]:
    """The control plane's events after a cursor, or from now on; ends with `end` when the process stops."""
    start = event_log.last_cursor if after is None else after
    yield sse("ready", Cursor(cursor=str(start)), start)
    async for event in event_log.read(start):
        yield _reset(event) if isinstance(event, Gap) else _named(event)
    yield sse("end", End(reason="shutting_down"))


def _named(event: Event) -> ServerSentEvent:
    payload, cursor = event.payload, event.cursor
    if isinstance(payload, Snapshot):
        return sse("registry_changed", service_list(payload, cursor), cursor)
    if isinstance(payload, ModeState):
        return sse("mode_changed", mode_view(payload), cursor)
    if isinstance(payload, Incident):
        return sse("incident", incident_view(payload), cursor)
    if isinstance(payload, agent_v1.Run):
        return sse("run_changed", run_view(payload, "projection"), cursor)
    if isinstance(payload, agent_v1.RunEvent):
        return sse(RUN_EVENTS[payload.WhichOneof("payload") or ""], run_event_view(payload), cursor)
    return sse("span_started" if payload.state == "running" else "span_ended", span_view(payload), cursor)


def _reset(gap: Gap) -> ServerSentEvent:
    missed = gap.cursor - gap.after_cursor if gap.cause == "too_old" else None
    after, until = str(gap.after_cursor), str(gap.cursor)
    return sse("reset", Reset(after=after, until=until, cause=gap.cause, missed=missed), gap.cursor)
