"""What every process has of telemetry while it serves: the mode it follows, what that exports, and its resources."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.resources import Resource

from shared.telemetry.log_export import LogExport
from shared.telemetry.metrics import MetricExport, process_counters
from shared.telemetry.mode import Mode, ModeFollower, process_mode
from shared.telemetry.resources import process_resources

EXPORT_TIMEOUT_S = 2


class DebugExports:
    """Metrics and logs to an OTLP `endpoint` (host:port), while the mode is debug."""

    def __init__(self, resource: Resource, endpoint: str) -> None:
        self._resource, self._endpoint = resource, endpoint
        self._stops: list[Callable[[], None]] = []
        self._stopping: set[asyncio.Future[None]] = set()

    def switch(self, mode: Mode) -> None:
        """Export or do not. Does not block: what is queued goes out in other threads."""
        if mode is Mode.DEBUG and not self._stops:
            self._start()
        elif mode is Mode.SHIPPING and self._stops:
            self._stop()

    async def close(self) -> None:
        """Stop, and wait until what was queued is out or given up."""
        self._stop()
        await asyncio.gather(*self._stopping, return_exceptions=True)

    def _start(self) -> None:
        timeout = EXPORT_TIMEOUT_S
        logs = LogExport(OTLPLogExporter(self._endpoint, insecure=True, timeout=timeout), self._resource)
        logs.start()
        logging.getLogger().addHandler(logs)
        process_counters.add("logs", lambda: {"logs.dropped": float(logs.dropped)})
        exporter = OTLPMetricExporter(self._endpoint, insecure=True, timeout=timeout)
        metrics = MetricExport(exporter, self._resource, process_resources, process_counters)
        self._stops = [lambda: logging.getLogger().removeHandler(logs), logs.stop, metrics.stop]

    def _stop(self) -> None:
        stops, self._stops = self._stops, []
        for stop in stops:
            stopping = asyncio.ensure_future(asyncio.to_thread(stop))
            self._stopping.add(stopping)
            stopping.add_done_callback(self._stopping.discard)


@asynccontextmanager
async def observed(resource: Resource, control_address: str, endpoint: str) -> AsyncIterator[None]:
    """Follow the mode of the control plane, and sample resources, while the context lasts."""
    work = [asyncio.create_task(process_resources.run())]
    exports = DebugExports(resource, endpoint)
    if control_address:
        work.append(asyncio.create_task(ModeFollower(process_mode, control_address).run()))
    if endpoint:
        process_mode.listen(exports.switch)
    try:
        yield
    finally:
        for task in work:
            task.cancel()
        await asyncio.gather(*work, return_exceptions=True)
        await exports.close()
