"""Metrics over OTLP: what the process counts anyway, and what it uses of its machine."""

from collections.abc import Callable, Iterable, Mapping

from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricExporter, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource

from shared.telemetry.resources import Resources, ResourceSampler

INTERVAL_MS = 5_000
STOP_TIMEOUT_MS = 2_000
COUNTERS = "waystation.counters"
"""The metric that holds all counters; the attribute `counter` tells them apart."""

Counters = Callable[[], Mapping[str, float]]


class CounterSources:
    """Who counts in this process: each source's counters are on its heartbeats and, in debug mode, exported."""

    def __init__(self) -> None:
        self._sources: dict[str, Counters] = {}

    def add(self, name: str, source: Counters) -> None:
        """Take a source in for the life of the process, in place of the one that had its name."""
        self._sources[name] = source

    def read(self) -> dict[str, float]:
        """All counters now."""
        return {name: value for source in self._sources.values() for name, value in source().items()}


process_counters = CounterSources()
"""The process's own, as the tracer provider is."""


class MetricExport:
    """Exports every five seconds from its making to `stop`, in a thread of its own."""

    def __init__(
        self, exporter: MetricExporter, resource: Resource, sampler: ResourceSampler, counters: CounterSources
    ) -> None:
        self._sampler, self._counters = sampler, counters
        reader = PeriodicExportingMetricReader(exporter, INTERVAL_MS, STOP_TIMEOUT_MS)
        self._provider = MeterProvider([reader], resource, shutdown_on_exit=False)
        meter = self._provider.get_meter(__name__)
        meter.create_observable_counter(COUNTERS, [self._read_counters])
        for name in Resources().as_attributes():
            meter.create_observable_gauge(name, [self._reader_of(name)])

    def stop(self) -> None:
        """Export once more and stop. Blocks for two seconds at most: call it in a thread."""
        self._provider.shutdown(STOP_TIMEOUT_MS)

    def _read_counters(self, options: CallbackOptions) -> Iterable[Observation]:
        return [Observation(value, {"counter": name}) for name, value in self._counters.read().items()]

    def _reader_of(self, name: str) -> Callable[[CallbackOptions], Iterable[Observation]]:
        return lambda options: [Observation(self._sampler.latest().as_attributes()[name])]
