"""Logs: one JSON object a line, with the ids of trace, span, request and run, and without secrets."""

import json
import logging
import sys
import threading
import time
from types import TracebackType

from opentelemetry import trace

from shared.call_context import current_call
from shared.telemetry import attributes
from shared.telemetry.redaction import RedactingFilter

logger = logging.getLogger(__name__)


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
        entry |= {name.replace(".", "_"): value for name, value in log_context().items()}
        if record.exc_text or record.exc_info:
            entry["exception"] = record.exc_text or self.formatException(record.exc_info)  # type: ignore[arg-type]
        return json.dumps(entry, ensure_ascii=False)


def log_context() -> dict[str, str]:
    """The ids of the request and the run that is being worked on, by attribute name; without those there are not."""
    call_context = current_call()
    if call_context is None:
        return {}
    ids = {attributes.CORRELATION_ID: call_context.correlation_id, attributes.RUN_ID: call_context.run_id}
    return {name: value for name, value in ids.items() if value}


def set_up_logging(service: str, level: str) -> None:
    """Send the process's logs to standard error as JSON, what ends a thread or the process included.

    Libraries speak from WARNING on.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter(service))
    handler.addFilter(RedactingFilter())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    for ours in ("services", "shared"):
        logging.getLogger(ours).setLevel(level)
    # an absent control plane is ordinary; the exporter would say so with a stack trace each time
    logging.getLogger("opentelemetry.exporter").setLevel(logging.CRITICAL)
    # a stream that its reader leaves is closed in another context than it was begun in, which is no error
    logging.getLogger("opentelemetry.context").setLevel(logging.CRITICAL)
    sys.excepthook = _log_uncaught
    threading.excepthook = _log_thread_end


def _log_uncaught(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, traceback)
        return
    logger.critical("the process ends: nobody expected this", exc_info=(kind, error, traceback))


def _log_thread_end(ended: threading.ExceptHookArgs) -> None:
    error = ended.exc_value or ended.exc_type()
    logger.error("a thread ended: nobody expected this", exc_info=(ended.exc_type, error, ended.exc_traceback))
