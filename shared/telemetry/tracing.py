"""OpenTelemetry set-up: spans are told when they begin and exported when they end, and never block a hop."""

import os

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider

from shared.telemetry import attributes
from shared.telemetry.metrics import process_counters
from shared.telemetry.span_export import SpanExport
from shared.telemetry.span_redaction import RedactingSpanExporter
from shared.telemetry.span_starts import ControlPlane, SpanStarts

EXPORT_TIMEOUT_S = 5
VERSION = "0.1.0"


def set_up_tracing(service: str, instance_id: str, endpoint: str, starts_address: str = "") -> TracerProvider:
    """Make the process's tracer provider. An `endpoint` (host:port) of "" makes no spans at all.

    `starts_address` is the control plane that is told of starts, when it gets the ends, too.
    """
    provider = TracerProvider(
        resource=Resource.create(
            {
                attributes.SERVICE_NAME: service,
                attributes.SERVICE_NAMESPACE: attributes.OURS,
                attributes.SERVICE_VERSION: VERSION,
                attributes.SERVICE_INSTANCE_ID: instance_id,
                attributes.PROCESS_ID: os.getpid(),
            }
        )
    )
    if not endpoint:
        return provider  # and OpenTelemetry keeps its own, which does nothing
    export = SpanExport(
        RedactingSpanExporter(OTLPSpanExporter(endpoint=endpoint, insecure=True, timeout=EXPORT_TIMEOUT_S))
    )
    provider.add_span_processor(export)
    process_counters.add("spans", lambda: {"spans.dropped": export.dropped})
    if starts_address:
        starts = SpanStarts(service, ControlPlane(starts_address, instance_id))
        provider.add_span_processor(starts)
        process_counters.add("span_starts", lambda: {"span_starts.dropped": starts.dropped})
    trace.set_tracer_provider(provider)
    return provider
