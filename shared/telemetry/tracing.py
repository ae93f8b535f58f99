"""OpenTelemetry set-up: spans are batched, bounded, exported over OTLP, and never block a hop."""

import os

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

EXPORT_DELAY_MS = 200
MAX_QUEUED_SPANS = 8_192
MAX_BATCH_SPANS = 512
EXPORT_TIMEOUT_S = 5
VERSION = "0.1.0"


def set_up_tracing(service: str, instance_id: str, endpoint: str) -> TracerProvider:
    """Make the process's tracer provider. An `endpoint` (host:port) of "" exports nothing.

    A full queue drops spans; an absent collector costs its exporter thread a retry, and the process nothing.
    """
    resource = Resource.create(
        {
            "service.name": service,
            "service.namespace": "waystation",
            "service.version": VERSION,
            "service.instance.id": instance_id,
            "process.pid": os.getpid(),
        }
    )
    provider = TracerProvider(resource=resource)
    if endpoint:
        exporter = OTLPSpanExporter(endpoint=endpoint, insecure=True, timeout=EXPORT_TIMEOUT_S)
        provider.add_span_processor(
            BatchSpanProcessor(
                exporter,
                max_queue_size=MAX_QUEUED_SPANS,
                schedule_delay_millis=EXPORT_DELAY_MS,
                max_export_batch_size=MAX_BATCH_SPANS,
            )
        )
    trace.set_tracer_provider(provider)
    return provider
