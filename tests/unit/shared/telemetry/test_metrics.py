"""Metrics over OTLP: all counters, and what the process uses."""

from typing import Any

from opentelemetry.sdk.metrics.export import MetricExporter, MetricExportResult, MetricsData
from opentelemetry.sdk.resources import Resource

from shared.telemetry import attributes
from shared.telemetry.metrics import COUNTERS, CounterSources, MetricExport
from shared.telemetry.resources import ResourceSampler


class Receiver(MetricExporter):
    """Keeps the points it gets, by metric name."""

    def __init__(self) -> None:
        super().__init__()
        self.points: dict[str, list[Any]] = {}

    def export(self, data: MetricsData, timeout_millis: float = 10_000, **options: Any) -> MetricExportResult:
        for resource in data.resource_metrics:
            for scope in resource.scope_metrics:
                self.points |= {metric.name: list(metric.data.data_points) for metric in scope.metrics}
        return MetricExportResult.SUCCESS

    def shutdown(self, timeout_millis: float = 30_000, **options: Any) -> None:
        pass

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        return True


def test_counters_of_all_sources_and_resources_are_exported_at_the_end_at_the_latest() -> None:
    receiver, counters = Receiver(), CounterSources()
    counters.add("spans", lambda: {"spans.dropped": 1.0})
    counters.add("service", lambda: {"chunks": 2.0})
    counters.add("service", lambda: {"chunks": 3.0})
    MetricExport(receiver, Resource({}), ResourceSampler(), counters).stop()
    told = {point.attributes["counter"]: point.value for point in receiver.points[COUNTERS]}
    assert told == {"spans.dropped": 1.0, "chunks": 3.0} == counters.read()
    assert receiver.points[attributes.PROCESS_RSS][0].value > 1_000_000
    assert receiver.points[attributes.EVENT_LOOP_LAG][0].value >= 0
