"""The two event streams, as server-sent events."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any, TypeVar

from pydantic import BaseModel
from sse_starlette import EventSourceResponse, ServerSentEvent

from services.control.event_log import EventLog, Gap
from services.control.gateway.agent_peer import AgentPeer
from services.control.gateway.mapping import (
    TERMINAL,
    error_view,
    is_last_event,
    run_event_view,
    run_view,
    service_list,
    span_view,
)
from services.control.gateway.views import Cursor, End, Missed
from services.control.registry.registry import Snapshot
from shared.errors import InvalidInput, WaystationError
from shared.pb import agent_v1

KEEP_ALIVE_S = 15
SEND_TIMEOUT_S = 30.0
"""A reader that takes nothing for so long is let go; it comes back with its cursor."""

T = TypeVar("T")


def read_cursor(last_event_id: str | None, after: str | None) -> int | None:
    """The cursor that a reader came with, its own header going before the query; None when it has none.

    Raises `InvalidInput` when it is not a number.
    """
    text = last_event_id or after
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise InvalidInput(
            "The cursor must be the id of an event.",
            remedy="Leave it out to begin anew.",
            field="Last-Event-ID",
        )
    return int(text)


def event_stream(events: AsyncIterator[ServerSentEvent]) -> EventSourceResponse:
    """The response for a stream; comments keep the line open."""
    # sse-starlette's own default is `no-store`, which a compressing proxy does not take for "do not buffer"
    headers = {"Cache-Control": "no-cache, no-transform"}
    return EventSourceResponse(events, headers=headers, ping=KEEP_ALIVE_S, send_timeout=SEND_TIMEOUT_S)


async def control_events(event_log: EventLog, after: int | None) -> AsyncIterator[ServerSentEvent]:
    """The control plane's events after a cursor, or from now on; ends with `end` when the process stops."""
    start = event_log.last_cursor if after is None else after
    yield _event("ready", Cursor(cursor=str(start)), start)
    async for event in event_log.read(start):
        if isinstance(event, Gap):
            missed = Missed(after=str(event.after_cursor), until=str(event.cursor))
            yield _event("missed", missed, event.cursor)
        elif isinstance(event.payload, Snapshot):
            yield _event("registry_changed", service_list(event.payload, event.cursor), event.cursor)
        elif isinstance(event.payload, agent_v1.Run):
            yield _event("run_changed", run_view(event.payload, "projection"), event.cursor)
        else:
            name = "span_started" if event.payload.state == "running" else "span_ended"
            yield _event(name, span_view(event.payload), event.cursor)
    yield _event("end", End(reason="shutting_down"))


async def run_events(
    agent: AgentPeer, run: agent_v1.Run, after: int, stopping: asyncio.Event
) -> AsyncIterator[ServerSentEvent]:
    """The run's events after a sequence number; ends with `end`, which says whether the run is over.

    A stream that closes is not a run that finished: only the run's last event says so.
    """
    is_over = run.state in TERMINAL and after >= run.last_sequence
    error: WaystationError | None = None
    if not is_over:
        try:
            async with aclosing(_until(stopping, agent.watch_run(run.run_id, after))) as events:
                async for event in events:
                    yield _event(event.WhichOneof("payload") or "unknown", run_event_view(event), event.sequence)
                    is_over = is_last_event(event)
        except WaystationError as failure:
            error = failure
    if is_over:
        yield _event("end", End(reason="finished"))
    elif stopping.is_set():
        yield _event("end", End(reason="shutting_down"))
    else:
        yield _event("end", End(reason="interrupted", error=error_view(error) if error else None))


async def _until(stopping: asyncio.Event, source: AsyncGenerator[T, None]) -> AsyncGenerator[T, None]:
    """The items of `source` until `stopping` is set."""
    stop = asyncio.ensure_future(stopping.wait())
    step: asyncio.Future[T] | None = None
    try:
        while not stopping.is_set():
            step = asyncio.ensure_future(anext(source))
            await asyncio.wait({step, stop}, return_when=asyncio.FIRST_COMPLETED)
            if not step.done():
                return
            try:
                item = step.result()
            except StopAsyncIteration:
                return
            yield item
    finally:
        tasks: set[asyncio.Future[Any]] = {stop, step} if step else {stop}
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        await source.aclose()


def _event(name: str, data: BaseModel, cursor: int | None = None) -> ServerSentEvent:
    return ServerSentEvent(data.model_dump_json(), event=name, id=None if cursor is None else str(cursor))
