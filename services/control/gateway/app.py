"""The HTTP API: thin routes over the registry, the spans, the runs, the events and the agent."""

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import APIRouter, FastAPI, Header, Query
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp

from services.control.event_log import EventLog
from services.control.gateway.agent_peer import AgentPeer
from services.control.gateway.api_page import api_page, describe, stream_response
from services.control.gateway.control_stream import control_events
from services.control.gateway.failures import FAILURES, add_failure_handlers
from services.control.gateway.host_guard import HostGuard
from services.control.gateway.log_routes import log_routes
from services.control.gateway.mapping import run_view, service_list, span_view
from services.control.gateway.metric_routes import metric_routes
from services.control.gateway.mode_routes import mode_routes
from services.control.gateway.run_stream import RunStream
from services.control.gateway.run_views import RunList, RunState, RunView
from services.control.gateway.status_page import status_page
from services.control.gateway.stream_views import STREAMS
from services.control.gateway.streams import event_stream, read_cursor
from services.control.gateway.views import GatewayHealth, ServiceList, SpanList
from services.control.logs.log_store import LogStore
from services.control.metrics.exposition import Exposition
from services.control.metrics.series import SeriesTable
from services.control.mode.observability_mode import ObservabilityMode
from services.control.registry.registry import Registry
from services.control.runs.projection import RunFilter, RunProjection
from services.control.telemetry.span import is_trace_id
from services.control.telemetry.span_store import SpanFilter, SpanPage, SpanStore
from shared.errors import DeadlineExceeded, NotFound, Unavailable, WaystationError
from shared.pb import agent_v1, control_v1

VERSION = "0.1.0"
RECENT_RUNS = 20

LastEventId = Annotated[str | None, Header(description="The id of the last event that the reader has")]
After = Annotated[str | None, Query(description="The same, for readers that cannot set the header")]
PageSize = Annotated[int, Query(ge=0, le=10_000, description="0 means 1,000")]
RunPageSize = Annotated[int, Query(ge=0, le=500, description="0 means 50")]
PageToken = Annotated[str, Query(max_length=500, description="From the page before")]
Text = Annotated[str, Query(max_length=500)]


@dataclass(frozen=True)
class Gateway:
    """What the routes work with."""

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


def build_app(gateway: Gateway, allowed_hosts: tuple[str, ...] = ()) -> ASGIApp:
    """The whole HTTP door."""
    return HostGuard(build_api(gateway), allowed_hosts)


def build_api(gateway: Gateway) -> FastAPI:
    """The routes and their document, without the guard at the door."""
    app = FastAPI(
        title="Waystation",
        version=VERSION,
        description="What the mesh is, does and did. Times are UTC; cursors are opaque texts that grow.",
        docs_url=None,  # FastAPI's own page loads its parts from elsewhere
        redoc_url=None,
        openapi_url=None,
        generate_unique_id_function=lambda route: route.name,
    )
    for router in (
        _service_routes(gateway),
        _run_routes(gateway),
        _run_event_routes(gateway),
        _event_routes(gateway),
        mode_routes(gateway.mode),
        log_routes(gateway.logs),
        metric_routes(gateway.exposition, gateway.series),
        _pages(gateway, app),
    ):
        app.include_router(router)
    add_failure_handlers(app)
    return app


def _service_routes(gateway: Gateway) -> APIRouter:
    router = APIRouter(prefix="/api", responses=FAILURES)

    @router.get("/health")
    async def get_health() -> GatewayHealth:
        """How the control plane is."""
        instances = gateway.registry.snapshot().instances
        return GatewayHealth(
            state="serving",
            version=VERSION,
            uptime_s=gateway.uptime_s(),
            service_count=len(instances),
            serving_count=sum(each.health.state == control_v1.Health.STATE_SERVING for each in instances),
            span_count=await gateway.spans.count(),
            pending_span_count=gateway.spans.pending,
            cursor=str(gateway.event_log.last_cursor),
        )

    @router.get("/services")
    async def list_services() -> ServiceList:
        """All registered processes with their health."""
        cursor = gateway.event_log.last_cursor
        return service_list(gateway.registry.snapshot(), cursor)

    return router


def _run_routes(gateway: Gateway) -> APIRouter:
    router = APIRouter(prefix="/api/runs", responses=FAILURES)

    @router.get("")
    async def list_runs(
        page_size: RunPageSize = 0,
        page_token: PageToken = "",
        state: Annotated[list[RunState] | None, Query(description="Only runs in one of these states")] = None,
        thread_id: Text = "",
        workflow: Text = "",
        tenant: Text = "",
        text: Text = "",
    ) -> RunList:
        """Runs, newest first, as the agent reported them last. Works while it is down: then they may be `lost`."""
        states = [agent_v1.Run.State.Value(f"STATE_{name.upper()}") for name in state or ()]
        wanted = RunFilter(states, thread_id, workflow, tenant, text)
        cursor = gateway.event_log.last_cursor
        runs, next_page_token = await gateway.runs.page(wanted, page_size, page_token)
        views = [run_view(run, "projection") for run in runs]
        return RunList(runs=views, next_page_token=next_page_token, cursor=str(cursor))

    @router.get("/{run_id}")
    async def get_run(run_id: str) -> RunView:
        """A run as the agent has it now, or as it was reported last when the agent does not answer or know it."""
        try:
            return run_view(await gateway.agent.get_run(run_id), "agent")
        except (DeadlineExceeded, NotFound, Unavailable) as error:
            return run_view(await _reported(gateway, run_id, error), "projection")

    @router.get("/{run_id}/spans")
    async def list_run_spans(run_id: str, page_size: PageSize = 0, page_token: PageToken = "") -> SpanList:
        """A run's spans, oldest first, with those of its trace that belong to no other run.

        A trace id may stand in place of the run id. Works while the agent is down.
        """
        wanted = SpanFilter(trace_id=run_id) if is_trace_id(run_id) else SpanFilter(around_run_id=run_id)
        cursor = gateway.event_log.last_cursor
        return _span_list(await gateway.spans.page(wanted, page_size, page_token), cursor)

    return router


def _run_event_routes(gateway: Gateway) -> APIRouter:
    router = APIRouter(prefix="/api/runs", responses=FAILURES)

    @router.get(
        "/{run_id}/events",
        response_class=Response,
        responses=stream_response("RunSse", "The run's events, then `end`"),
    )
    async def watch_run(run_id: str, last_event_id: LastEventId = None, after: After = None) -> Response:
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


def _span_list(found: SpanPage, cursor: int) -> SpanList:
    spans = [span_view(span) for span in found.spans]
    return SpanList(spans=spans, next_page_token=found.next_page_token, cursor=str(cursor))


def _event_routes(gateway: Gateway) -> APIRouter:
    router = APIRouter(prefix="/api", responses=FAILURES)

    @router.get(
        "/events",
        response_class=Response,
        responses=stream_response("ControlSse", "Events until the process stops, then `end`"),
    )
    async def watch_events(last_event_id: LastEventId = None, after: After = None) -> Response:
        """What changes in services, runs, spans and the mode as server-sent events, after a cursor or from now on."""
        return event_stream(control_events(gateway.event_log, read_cursor(last_event_id, after)))

    return router


def _pages(gateway: Gateway, app: FastAPI) -> APIRouter:
    router = APIRouter(include_in_schema=False)

    @router.get("/")
    async def show_status() -> Response:
        services = service_list(gateway.registry.snapshot(), 0).services
        runs, _ = await gateway.runs.page(RunFilter(), RECENT_RUNS)
        return status_page(services, [run_view(run, "projection") for run in runs])

    @router.get("/docs")
    async def show_api() -> Response:
        return api_page(describe(app, STREAMS))

    @router.get("/openapi.json")
    async def get_openapi() -> Response:
        return JSONResponse(describe(app, STREAMS))

    return router
