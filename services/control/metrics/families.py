"""The names under which figures are scraped; docs/observability.md lists them. A name that was released stays."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from services.control.metrics.histogram import Histogram
from services.control.metrics.span_figures import SpanFigures
from shared.pb import agent_v1, control_v1

PREFIX = "waystation_"
COUNTERS = {
    "spans.dropped": ("spans_dropped", "Ended spans that their process dropped unsent."),
    "span_starts.dropped": ("span_starts_dropped", "Starts of spans that their process dropped unsent."),
    "logs.dropped": ("logs_dropped", "Log records that their process dropped unsent."),
    "storage.write_errors": ("storage_write_errors", "Transactions that the disk or the file refused."),
}
"""Counters on heartbeats that have a metric of their own; all others are in `waystation_reported`."""
GAUGES = {
    "outbox.waiting_runs": ("outbox_waiting_runs", "Runs with news that the control plane has yet to get."),
    "storage.used_bytes": ("storage_used_bytes", "Bytes of a store that hold something."),
    "storage.free_bytes": ("storage_free_bytes", "Bytes of a store that deletions have left for what comes."),
    "runs.commits_missing": ("runs_commits_missing", "Runs that had lost commits when the agent started."),
}
_UP = (control_v1.Health.STATE_SERVING, control_v1.Health.STATE_DEGRADED)
_INSTANCE = ("service", "instance_id")
_HEALTH = {
    "cpu": ("service_cpu_cores", "Processor time of a process as a share of one core."),
    "rss_bytes": ("service_resident_memory_bytes", "Memory of a process."),
    "threads": ("service_threads", "Threads of a process."),
    "open_files": ("service_open_files", "Open file descriptors of a process."),
    "in_flight": ("service_calls_in_flight", "Calls that a process works on."),
}


def run_families(count_by_state: Mapping[int, int]) -> Iterator[Metric]:
    """Runs that the control plane lists; every state has its row."""
    family = gauge("runs", "Runs that the control plane lists, by state.", ("state",))
    for state in agent_v1.Run.State.values():
        if state != agent_v1.Run.STATE_UNSPECIFIED:
            name = agent_v1.Run.State.Name(state).removeprefix("STATE_").lower()
            family.add_metric((name,), count_by_state.get(state, 0))
    yield family


def span_families(figures: SpanFigures) -> Iterator[Metric]:
    """What is counted from spans since the control plane started."""
    yield _histogram("hop_duration_seconds", "Time of a hop.", ("capability", "state"), figures.hop_seconds.items())
    routes = [((), figures.route_seconds)]
    yield _histogram("route_duration_seconds", "Time in which the router recommends.", (), routes)
    arbitrations = [((source,), each) for source, each in figures.arbitrate_seconds.items()]
    yield _histogram("arbitrate_duration_seconds", "Time in which the arbitrator decides.", ("source",), arbitrations)
    saves = [((), figures.checkpoint_seconds)]
    yield _histogram("checkpoint_duration_seconds", "Time in which a checkpoint is saved.", (), saves)
    yield counter("checkpoint_bytes", "Bytes of checkpoints saved.", (), [((), figures.checkpoint_bytes)])
    decisions = figures.decisions.items()
    yield counter("decisions", "Decisions of the arbitrator.", ("source", "capability"), decisions)
    yield counter("tokens", "Tokens that models read and wrote.", ("model", "direction"), figures.tokens.items())
    spans = [((state,), count) for state, count in figures.spans.items()]
    yield counter("spans", "Spans that ended or were lost.", ("state",), spans)


def service_families(instances: Sequence[control_v1.ServiceInstance]) -> Iterator[Metric]:
    """The registered processes."""
    up = gauge("service_up", "Whether a registered process serves.", ("service", "instance_id", "kind"))
    lag = gauge("service_event_loop_lag_seconds", "How late the event loop of a process runs.", _INSTANCE)
    figures = {field: gauge(*names, _INSTANCE) for field, names in _HEALTH.items()}
    for each in instances:
        labels, health = (each.descriptor.name, each.instance_id), each.health
        up.add_metric((*labels, each.kind), float(health.state in _UP))
        lag.add_metric(labels, health.event_loop_lag.ToMicroseconds() / 1e6)
        for field, family in figures.items():
            family.add_metric(labels, getattr(health, field))
    yield from (up, lag, *figures.values())


def counter_families(
    totals: Mapping[tuple[str, str], float], present: Mapping[tuple[str, str], float]
) -> Iterator[Metric]:
    """What processes count and tell on heartbeats: over all their lives, and of those that are there now."""
    for name, names in COUNTERS.items():
        rows = [((service,), value) for (service, each), value in totals.items() if each == name]
        yield counter(*names, ("service",), rows)
    for name, names in GAUGES.items():
        family = gauge(*names, ("service",))
        for (service, each), value in present.items():
            if each == name:
                family.add_metric((service,), value)
        yield family
    rest = gauge("reported", "What else processes count, by its own name.", ("service", "counter"))
    for key, value in present.items():
        if key[1] not in COUNTERS and key[1] not in GAUGES:
            rest.add_metric(key, value)
    yield rest


def gauge(name: str, text: str, labels: Sequence[str]) -> GaugeMetricFamily:
    """An empty family of gauges."""
    return GaugeMetricFamily(PREFIX + name, text, labels=labels)


def counter(
    name: str, text: str, labels: Sequence[str], rows: Iterable[tuple[Sequence[str], float]]
) -> CounterMetricFamily:
    """A family of counters; the name gets `_total` after it."""
    family = CounterMetricFamily(PREFIX + name, text, labels=labels)
    for values, value in rows:
        family.add_metric(values, value)
    return family


def _histogram(
    name: str, text: str, labels: Sequence[str], rows: Iterable[tuple[Sequence[str], Histogram]]
) -> HistogramMetricFamily:
    family = HistogramMetricFamily(PREFIX + name, text, labels=labels)
    for values, histogram in rows:
        family.add_metric(values, histogram.buckets(), histogram.sum)
    return family
