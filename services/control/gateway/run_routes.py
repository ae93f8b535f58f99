"""Runs over HTTP: listed from the projection, shown, and followed event by event."""

import contextlib
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from services.control.gateway.api_page import stream_response
from services.control.gateway.failures import FAILURES
from services.control.gateway.gateway import Gateway
from services.control.gateway.mapping import run_view, span_view
from services.control.gateway.parameters import After, LastEventId, PageSize, PageToken, RunId, SpanPageSize, Text
from services.control.gateway.run_stream import RunStream
from services.control.gateway.run_views import RunList, RunState, RunView
from services.control.gateway.streams import event_stream, read_cursor
from services.control.gateway.views import SpanList
from services.control.runs.projection import RunFilter
from services.control.telemetry.span import is_trace_id
from services.control.telemetry.span_store import SpanFilter
from shared.errors import DeadlineExceeded, NotFound, Unavailable, WaystationError
from shared.pb import agent_v1


def run_routes(gateway: Gateway) -> APIRouter:
    """The routes that tell of runs."""
    router = APIRouter(prefix="/api/runs", responses=FAILURES, tags=["runs"])

    @router.get("")
    async def list_runs(
        page_size: PageSize = 0,
        page_token: PageToken = "",
        state: Annotated[list[RunState] | None, Query(description="Only runs in one of these states")] = None,
        thread_id: Text = "",
        workflow: Text = "",
        service: Annotated[str, Query(max_length=500, description="Only runs that called this capability")] = "",
        tenant: Text = "",
        text: Annotated[str, Query(max_length=500, description="Only runs whose query or answer contains it")] = "",
    ) -> RunList:
        """Runs, newest first, as the agent reported them last. Works while it is down: then they may be `lost`."""
        states = [agent_v1.Run.State.Value(f"STATE_{name.upper()}") for name in state or ()]
        wanted = RunFilter(states, thread_id, workflow, tenant, text, service)
        cursor = gateway.event_log.last_cursor
        runs, next_page_token = await gateway.runs.page(wanted, page_size, page_token)
        views = [run_view(run, "projection") for run in runs]
        return RunList(runs=views, next_page_token=next_page_token, cursor=str(cursor))

    @router.get("/{run_id}")
    async def get_run(run_id: RunId) -> RunView:
        """A run as the agent has it now, or as it was reported last when the agent does not answer or know it."""
        try:
            return run_view(await gateway.agent.get_run(run_id), "agent")
        except (DeadlineExceeded, NotFound, Unavailable) as error:
            return run_view(await _reported(gateway, run_id, error), "projection")

    @router.get("/{run_id}/spans")
    async def list_run_spans(run_id: RunId, page_size: SpanPageSize = 0, page_token: PageToken = "") -> SpanList:
        """A run's spans, oldest first, with those of its trace that belong to no other run.

        A trace id may stand in place of the run id. Works while the agent is down.
        """
        wanted = SpanFilter(trace_id=run_id) if is_trace_id(run_id) else SpanFilter(around_run_id=run_id)
        cursor = gateway.event_log.last_cursor
        found = await gateway.spans.page(wanted, page_size, page_token)
        spans = [span_view(span) for span in found.spans]
        return SpanList(spans=spans, next_page_token=found.next_page_token, cursor=str(cursor))

    return router


def run_event_routes(gateway: Gateway) -> APIRouter:
    """The route that follows a run."""
    router = APIRouter(prefix="/api/runs", responses=FAILURES, tags=["runs"])

    @router.get(
        "/{run_id}/events",
        response_class=Response,
        responses=stream_response("RunSse", "The run's events, then `end`"),
    )
    async def watch_run(run_id: RunId, last_event_id: LastEventId = None, after: After = None) -> Response:
        """A run's events as server-sent events, those of the past first; ids are sequence numbers.

        While the agent is away the stream waits for it, if the run is known here.
        """
        cursor = read_cursor(last_event_id, after) or 0
        try:
            run = await gateway.agent.get_run(run_id)
        except (DeadlineExceeded, Unavailable) as error:
            run = await _reported(gateway, run_id, error)

        async def newest() -> int:
            found = [(await gateway.agent.get_run(run_id)).last_sequence]
            with contextlib.suppress(NotFound):
                found.append((await gateway.runs.get(run_id)).last_sequence)
            return max(found)

        return event_stream(RunStream(gateway.agent, run, cursor, newest, gateway.stopping).events())

    return router


async def _reported(gateway: Gateway, run_id: str, error: WaystationError) -> agent_v1.Run:
    """The run as it was reported last; raises `error` when it was not."""
    with contextlib.suppress(NotFound):
        return await gateway.runs.get(run_id)
    raise error
