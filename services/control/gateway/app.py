"""The HTTP API: thin routes over the registry, the spans, the runs, the events and the agent."""

from typing import Annotated

from fastapi import APIRouter, FastAPI, Query
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp

from services.control.gateway.api_page import api_page, describe, stream_response
from services.control.gateway.checkpoint_routes import checkpoint_routes
from services.control.gateway.control_stream import control_events
from services.control.gateway.failures import FAILURES, add_failure_handlers
from services.control.gateway.gateway import VERSION, Gateway
from services.control.gateway.guardian_routes import guardian_routes
from services.control.gateway.host_guard import HostGuard
from services.control.gateway.log_routes import log_routes
from services.control.gateway.mapping import health_samples, run_view, service_list
from services.control.gateway.message_routes import message_routes
from services.control.gateway.metric_routes import metric_routes
from services.control.gateway.mode_routes import mode_routes
from services.control.gateway.parameters import After, LastEventId
from services.control.gateway.recommendation_routes import recommendation_routes
from services.control.gateway.run_actions import run_actions
from services.control.gateway.run_routes import run_event_routes, run_routes
from services.control.gateway.status_page import status_page
from services.control.gateway.stream_views import STREAMS
from services.control.gateway.streams import event_stream, read_cursor
from services.control.gateway.system_routes import system_routes
from services.control.gateway.thread_routes import thread_routes
from services.control.gateway.views import GatewayHealth, ServiceList
from services.control.gateway.workflow_routes import workflow_routes
from services.control.registry.health_history import MAX_SAMPLES
from services.control.runs.projection import RunFilter
from shared.pb import control_v1

RECENT_RUNS = 20


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
        run_routes(gateway),
        run_event_routes(gateway),
        run_actions(gateway.agent),
        checkpoint_routes(gateway.agent),
        message_routes(gateway.agent),
        guardian_routes(gateway.agent),
        workflow_routes(gateway.agent),
        thread_routes(gateway.agent),
        recommendation_routes(gateway.agent),
        system_routes(gateway),
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
    router = APIRouter(prefix="/api", responses=FAILURES, tags=["services"])

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
            lost_span_count=gateway.figures.spans["lost"],
            cursor=str(gateway.event_log.last_cursor),
        )

    @router.get("/services")
    async def list_services(
        samples: Annotated[
            int, Query(ge=0, le=MAX_SAMPLES, description="So many of each process's last heartbeats, too")
        ] = 0,
    ) -> ServiceList:
        """All registered processes with their health, and how they were lately."""
        cursor = gateway.event_log.last_cursor
        shown = service_list(gateway.registry.snapshot(), cursor)
        for service in shown.services:
            service.history = health_samples(gateway.history.samples(service.instance_id, samples))
        return shown

    return router


def _event_routes(gateway: Gateway) -> APIRouter:
    router = APIRouter(prefix="/api", responses=FAILURES, tags=["events"])

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
