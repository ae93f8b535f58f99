"""Takes secrets out of spans on their way to an exporter."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.trace import Link, Status

from shared.telemetry.redaction import is_secret_name, redactor


class RedactingSpanExporter(SpanExporter):
    """Stands before an exporter, in its thread, so that no hop waits for it; a span without secrets passes as it is."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """See `SpanExporter`."""
        return self._exporter.export([redacted_span(span) for span in spans])

    def shutdown(self) -> None:
        """See `SpanExporter`."""
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """See `SpanExporter`."""
        return self._exporter.force_flush(timeout_millis)


def redacted_span(span: ReadableSpan) -> ReadableSpan:
    """The span itself when it holds no secret, otherwise a copy without them."""
    known = redactor()
    groups = (span.attributes, *(event.attributes for event in span.events), *(link.attributes for link in span.links))
    texts = [span.name, span.status.description or "", *(event.name for event in span.events)]
    texts += [text for group in groups for text in _texts(group)]
    if known.is_clean(texts) and not any(is_secret_name(name) for group in groups for name in group or ()):
        return span
    return ReadableSpan(
        name=known.text(span.name),
        context=span.context,
        parent=span.parent,
        resource=span.resource,
        attributes=known.attributes(span.attributes),
        events=[
            Event(known.text(item.name), known.attributes(item.attributes), item.timestamp) for item in span.events
        ],
        links=[Link(item.context, known.attributes(item.attributes)) for item in span.links],
        kind=span.kind,
        status=Status(span.status.status_code, known.text(span.status.description or "") or None),
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=span.instrumentation_scope,
    )


def _texts(attributes: Mapping[str, Any] | None) -> Iterable[str]:
    for value in (attributes or {}).values():
        if isinstance(value, str):
            yield value
        elif isinstance(value, list | tuple):
            yield from (item for item in value if isinstance(item, str))
