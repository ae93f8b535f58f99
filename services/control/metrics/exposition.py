"""`/metrics`: all figures in Prometheus' text format."""

from collections.abc import Callable, Iterable, Iterator

from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4, CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from services.control.forward.forwarder import Forwarder
from services.control.logs.log_store import LogStore
from services.control.metrics.families import (
    counter,
    counter_families,
    gauge,
    run_families,
    service_families,
    span_families,
)
from services.control.metrics.heartbeat_counters import HeartbeatCounters
from services.control.metrics.series import SeriesTable
from services.control.metrics.span_figures import SpanFigures
from services.control.mode.layers import MODES
from services.control.mode.observability_mode import ObservabilityMode
from services.control.registry.registry import Registry
from services.control.runs.projection import RunProjection
from services.control.telemetry.span_store import SpanStore

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4


class Exposition:
    """Renders what the control plane's parts know. `write_errors` counts what its own file refused."""

    def __init__(
        self,
        registry: Registry,
        runs: RunProjection,
        spans: SpanStore,
        logs: LogStore,
        mode: ObservabilityMode,
        figures: SpanFigures,
        counters: HeartbeatCounters,
        series: SeriesTable,
        forwarder: Forwarder,
        write_errors: Callable[[], int],
    ) -> None:
        self._registry, self._runs, self._spans, self._logs, self._mode = registry, runs, spans, logs, mode
        self._figures, self._counters, self._series, self._forwarder = figures, counters, series, forwarder
        self._write_errors = write_errors

    async def render(self) -> bytes:
        """The text. Raises `StorageUnavailable` when the runs cannot be counted."""
        totals = {**self._counters.totals(), ("control", "storage.write_errors"): self._write_errors()}
        families = [
            *run_families(await self._runs.count_by_state()),
            *span_families(self._figures),
            *service_families(self._registry.snapshot().instances),
            *counter_families(totals, self._counters.present()),
            *self._own_families(),
        ]
        target = CollectorRegistry(auto_describe=False)
        target.register(_Fixed(families))
        return generate_latest(target)

    def _own_families(self) -> Iterator[Metric]:
        for name, text, value in (
            ("control_pending_spans", "Spans that wait for the disk.", self._spans.pending),
            ("control_pending_logs", "Log records that wait for the disk.", self._logs.pending),
            ("control_log_bytes", "Bytes of log records stored, about.", self._logs.stored_bytes),
            ("control_metric_series", "OTLP metric series kept.", len(self._series)),
        ):
            family = gauge(name, text, ())
            family.add_metric((), value)
            yield family
        mode = gauge("observability_mode", "1 for the mode in force.", ("mode",))
        for each in MODES:
            mode.add_metric((each,), float(each == self._mode.name))
        yield mode
        yield from self._forward_families()

    def _forward_families(self) -> Iterator[Metric]:
        queues = self._forwarder.queues.items()
        waiting = gauge("forward_queued", "Items that wait to be passed on.", ("signal",))
        for signal, queue in queues:
            waiting.add_metric((signal,), queue.queued)
        yield waiting
        dropped = [((signal,), queue.dropped) for signal, queue in queues]
        yield counter("forward_dropped", "Items that could not be passed on.", ("signal",), dropped)
        delivered = [((signal,), self._forwarder.delivered[signal]) for signal, _ in queues]
        yield counter("forward_delivered", "Items passed on.", ("signal",), delivered)


class _Fixed(Collector):
    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families
