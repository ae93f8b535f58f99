"""Logs: one JSON object a line, with trace and correlation ids."""

import json
import logging
import sys
import time

from opentelemetry import trace

from shared.call_context import current_call


class JsonFormatter(logging.Formatter):
    """Writes a record as one line of JSON."""

    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service

    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, object] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{record.msecs:03.0f}Z",
            "level": record.levelname,
            "service": self._service,
            "logger": record.name,
            "message": record.getMessage(),
        }
        span = trace.get_current_span().get_span_context()
        if span.is_valid:
            entry |= {"trace_id": f"{span.trace_id:032x}", "span_id": f"{span.span_id:016x}"}
        if call_context := current_call():
            entry["correlation_id"] = call_context.correlation_id
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry, ensure_ascii=False)


def set_up_logging(service: str, level: str) -> None:
    """Send the process's logs to standard error as JSON. Libraries speak from WARNING on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter(service))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    for ours in ("services", "shared"):
        logging.getLogger(ours).setLevel(level)
    # an absent control plane is ordinary; the exporter would say so with a stack trace each time
    logging.getLogger("opentelemetry.exporter").setLevel(logging.CRITICAL)
