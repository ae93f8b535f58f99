"""The control plane as a process: builds everything and serves until it is told to stop."""

import asyncio
import logging
from collections.abc import AsyncIterator, Collection, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any

import grpc
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2_grpc
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc

from services.control import lives
from services.control.clock import Clock
from services.control.event_log import EventLog, Payload
from services.control.forward.forwarder import Forwarder
from services.control.gateway.agent_peer import AgentPeer
from services.control.gateway.app import build_app
from services.control.gateway.control_stream import RUN_EVENTS
from services.control.gateway.gateway import Gateway
from services.control.housekeeping import Housekeeping
from services.control.incidents.incident import Incident
from services.control.incidents.incident_store import IncidentStore
from services.control.incidents.schema import SCHEMA as INCIDENTS
from services.control.incidents.witness import Witness
from services.control.logs.log_store import LogStore
from services.control.logs.schema import SCHEMA as LOGS
from services.control.logs.servicer import OtlpLogsServicer
from services.control.metrics.exposition import Exposition
from services.control.metrics.heartbeat_counters import HeartbeatCounters
from services.control.metrics.series import SeriesTable
from services.control.metrics.servicer import OtlpMetricsServicer
from services.control.metrics.span_figures import SpanFigures
from services.control.mode.mode_store import ModeStore
from services.control.mode.observability_mode import ObservabilityMode
from services.control.mode.schema import SCHEMA as MODE
from services.control.mode.servicer import ObservabilityServicer
from services.control.registry.health_check import HealthCheck, Probe
from services.control.registry.health_history import HealthHistory
from services.control.registry.peer_probe import PeerProbe
from services.control.registry.registry import Registry
from services.control.registry.servicer import RegistryServicer
from services.control.runs.projection import RunProjection
from services.control.runs.schema import SCHEMA as RUNS
from services.control.settings import ControlSettings
from services.control.store_size import store_size
from services.control.telemetry.schema import SCHEMA as TELEMETRY
from services.control.telemetry.servicer import OtlpTraceServicer, TelemetryServicer
from services.control.telemetry.span import SpanRecord
from services.control.telemetry.span_store import SpanStore
from shared.errors import WaystationError
from shared.http_server import http_server
from shared.pb import agent_v1, control_v1
from shared.process import ready_file, run_process, stop_requested
from shared.rpc.server import RpcServer
from shared.storage.database import Database

logger = logging.getLogger("services.control")

SERVICE_NAMES = (
    "waystation.control.v1.RegistryService",
    "waystation.control.v1.TelemetryService",
    "waystation.control.v1.ObservabilityService",
    "opentelemetry.proto.collector.trace.v1.TraceService",
    "opentelemetry.proto.collector.logs.v1.LogsService",
    "opentelemetry.proto.collector.metrics.v1.MetricsService",
)
SCHEMAS = (TELEMETRY, RUNS, MODE, LOGS, INCIDENTS, lives.SCHEMA)


class Control:
    """The control plane's parts, put together. Needs a running event loop."""

    def __init__(self, settings: ControlSettings, clock: Clock, probe: Probe) -> None:
        self._settings = settings
        self._clock = clock
        self._work: set[asyncio.Task[None]] = set()
        self.database = Database(settings.home / "control.db", *SCHEMAS, synchronous="NORMAL")
        self.database.on_write_error = self._note_write_error
        self._write_errors = 0
        self.event_log = EventLog(clock.wall, max_bytes=settings.max_event_log_bytes)
        self.spans = SpanStore(self.database, self._note_spans)
        self.runs = RunProjection(self.database, self._agents, self._note)
        self.logs = LogStore(self.database, max_bytes=settings.max_log_bytes)
        self.incidents = IncidentStore(self.database, self.event_log.append)
        self._witness = Witness(clock.wall)
        self.mode = ObservabilityMode(ModeStore(self.database), clock, self.event_log.append)
        self.registry = Registry(clock, lease_s=settings.lease_s, on_lapse=self._note_lapse)
        self.housekeeping = Housekeeping(self.registry, self.spans, self.runs, self.logs, self._agents, settings, clock)
        self.health_check = HealthCheck(self.registry, probe, interval_s=settings.health_check_s)
        self.agent = AgentPeer(self.registry, settings.agent_address)
        started = self._started = clock.monotonic()
        self.figures = SpanFigures()
        self.counters = HeartbeatCounters(self.registry.instance_ids)
        self.history = HealthHistory(self.registry.instance_ids, clock.wall)
        self.series = SeriesTable(clock.monotonic)
        self.forwarder = Forwarder(settings.forward_endpoint)
        exposition = Exposition(
            self.registry,
            self.runs,
            self.spans,
            self.logs,
            self.mode,
            self.figures,
            self.counters,
            self.series,
            self.forwarder,
            lambda: self._write_errors,
        )
        self.gateway = Gateway(
            registry=self.registry,
            history=self.history,
            spans=self.spans,
            runs=self.runs,
            logs=self.logs,
            mode=self.mode,
            incidents=self.incidents,
            counters=self.counters,
            exposition=exposition,
            series=self.series,
            figures=self.figures,
            forwarder=self.forwarder,
            event_log=self.event_log,
            agent=self.agent,
            uptime_s=lambda: clock.monotonic() - started,
            store_size=lambda: store_size(self.database),
            write_errors=lambda: self._write_errors,
        )

    def add_servicers(self, server: grpc.aio.Server) -> None:
        """Add all that is served over gRPC."""
        registry = RegistryServicer(
            self.registry,
            self.health_check,
            self.counters,
            self.history,
            self._settings.heartbeat_s,
            lambda: self.mode.name,
        )
        control_v1.add_RegistryServiceServicer_to_server(registry, server)
        telemetry = TelemetryServicer(self.spans, self.runs, self.event_log, self._clock.wall)
        control_v1.add_TelemetryServiceServicer_to_server(telemetry, server)
        control_v1.add_ObservabilityServiceServicer_to_server(ObservabilityServicer(self.mode), server)
        add_traces: Any = trace_service_pb2_grpc.add_TraceServiceServicer_to_server
        add_traces(OtlpTraceServicer(self.spans, self.forwarder), server)
        add_logs: Any = logs_service_pb2_grpc.add_LogsServiceServicer_to_server
        add_logs(OtlpLogsServicer(self.logs, self.forwarder, self._clock.wall), server)
        add_metrics: Any = metrics_service_pb2_grpc.add_MetricsServiceServicer_to_server
        add_metrics(OtlpMetricsServicer(self.series, self.forwarder), server)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Keep the store open and the housekeeping going while the context lasts."""
        self.database.open()
        try:
            await self._take_up()
            yield
        finally:
            for task in self._work:
                task.cancel()
            await asyncio.gather(*self._work, return_exceptions=True)
            await self.agent.close()
            self.database.close()

    async def _take_up(self) -> None:
        """Go on from what the last life stored, and start the housekeeping."""
        self.event_log.begin_after(await lives.begin_life(self.database, self.event_log.last_cursor))
        await self.mode.load()
        await self.logs.load()
        for work in (
            *self.housekeeping.works(),
            self._log_registry(),
            self.health_check.run(),
            self.mode.run(),
            self.forwarder.run(),
        ):
            self._start(work)

    def end_streams(self) -> None:
        """Let every watcher of whatever kind come to its end."""
        self.gateway.stopping.set()
        self.agent.end_watches()
        self.event_log.close()
        self.registry.close()
        self.mode.close()

    def _start(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._work.add(task)
        task.add_done_callback(self._work.discard)

    def _note_spans(self, changed: Sequence[SpanRecord]) -> None:
        self.figures.note(changed)
        self._note(changed)

    def _note(self, changed: Sequence[Payload]) -> None:
        self._tell(self._witness.changed(changed))
        for item in changed:
            if not isinstance(item, agent_v1.RunEvent) or item.WhichOneof("payload") in RUN_EVENTS:
                self.event_log.append(item)

    def _agents(self) -> Collection[str] | None:
        """The live agents; None after a start, while they have not had the time to register again."""
        if self._clock.monotonic() - self._started < self._settings.lease_s:
            return None
        return [each.instance_id for each in self.registry.registrations() if each.kind == "agent"]

    def _note_write_error(self, error: WaystationError) -> None:
        self._write_errors += 1

    def _note_lapse(self, instance_id: str, silent_s: float) -> None:
        logger.warning("the lease of %s lapsed", instance_id)
        self._tell([self._witness.lapse(instance_id, silent_s)])
        self._start(self.housekeeping.mark_lost(instance_id, silent_s))
        self._start(self.mode.note_crash(instance_id))

    async def _log_registry(self) -> None:
        async for snapshot in self.registry.watch():
            self._tell(self._witness.registered(snapshot))
            self.event_log.append(snapshot)

    def _tell(self, incidents: Sequence[Incident]) -> None:
        if incidents:
            self._start(self._keep(incidents))

    async def _keep(self, incidents: Sequence[Incident]) -> None:
        try:
            await self.incidents.add(incidents)
        except WaystationError as error:
            logger.error("incidents are not stored: %s", error)


@asynccontextmanager
async def serving(
    settings: ControlSettings, clock: Clock | None = None, probe: Probe | None = None
) -> AsyncIterator[tuple[Control, int, int]]:
    """Serve while the context lasts; yields the parts, the gRPC port and the HTTP port. Drains at the end."""
    control = Control(settings, clock or Clock(), probe or PeerProbe())
    async with control.running():
        app = build_app(control.gateway, settings.allowed_hosts)
        async with (
            RpcServer(settings.host, settings.port, control.add_servicers, SERVICE_NAMES, has_spans=False) as rpc,
            http_server(
                app, settings.host, settings.http_port, port_setting="WAYSTATION_CONTROL_HTTP_PORT"
            ) as http_port,
        ):
            try:
                yield control, rpc.port, http_port
            finally:
                control.end_streams()


async def serve(settings: ControlSettings, instance_id: str) -> None:
    """Serve until the process is told to stop."""
    async with serving(settings) as (_, grpc_port, http_port):
        host = settings.advertise_host or settings.host
        logger.info("%s serves gRPC at %s:%d and HTTP at http://%s:%d", instance_id, host, grpc_port, host, http_port)
        with ready_file(settings.home, "control", f"{host}:{grpc_port}"):
            await stop_requested()


if __name__ == "__main__":
    run_process(ControlSettings, serve)
