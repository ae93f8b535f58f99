"""Log records as OTLP: a bounded queue and a thread of its own, so that nobody who logs ever waits."""

import logging
import threading
import time
from collections import deque
from itertools import islice

from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.context import get_current
from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.sdk._logs.export import LogRecordExporter, LogRecordExportResult
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from shared.telemetry.logs import log_context
from shared.telemetry.redaction import RedactingFilter

MAX_QUEUED = 4_096
MAX_BATCH = 512
DELAY_S = 0.5
MAX_BODY_CHARS = 16_000
STOP_TIMEOUT_S = 2.0

_SEVERITIES = {
    logging.DEBUG: SeverityNumber.DEBUG,
    logging.INFO: SeverityNumber.INFO,
    logging.WARNING: SeverityNumber.WARN,
    logging.ERROR: SeverityNumber.ERROR,
    logging.CRITICAL: SeverityNumber.FATAL,
}


class LogExport(logging.Handler):
    """A handler that exports what it is given, from `start` to `stop`. When the queue is full the oldest goes."""

    def __init__(self, exporter: LogRecordExporter, resource: Resource) -> None:
        super().__init__()
        self.addFilter(RedactingFilter())
        self._exporter, self._resource = exporter, resource
        self._queue: deque[ReadableLogRecord] = deque()
        self._is_stopping = threading.Event()
        self._thread = threading.Thread(target=self._work, name="log-export", daemon=True)
        self.dropped = 0
        """Records that nobody will see: the queue was full, or they were refused."""

    def start(self) -> None:
        """Begin to export."""
        self._thread.start()

    def stop(self) -> None:
        """Export what is queued, for two seconds at most. Blocks: call it in a thread."""
        self._is_stopping.set()
        self._thread.join(STOP_TIMEOUT_S)
        self._exporter.shutdown()  # type: ignore[no-untyped-call]

    def emit(self, record: logging.LogRecord) -> None:
        """Queue the record."""
        if record.name.startswith("opentelemetry"):  # what the export says of itself would go on for ever
            return
        values = log_context()
        if record.exc_info and record.exc_info[0]:
            values["exception.type"] = record.exc_info[0].__name__
            values["exception.stacktrace"] = (record.exc_text or "")[-MAX_BODY_CHARS:]
        converted = LogRecord(
            timestamp=int(record.created * 1e9),
            observed_timestamp=time.time_ns(),
            context=get_current(),
            severity_text=record.levelname,
            severity_number=_SEVERITIES.get(record.levelno, SeverityNumber.UNSPECIFIED),
            body=record.getMessage()[:MAX_BODY_CHARS],
            attributes=values,
        )
        if len(self._queue) >= MAX_QUEUED:
            self._queue.popleft()
            self.dropped += 1
        self._queue.append(ReadableLogRecord(converted, self._resource, InstrumentationScope(record.name)))

    def _work(self) -> None:
        while not self._is_stopping.wait(DELAY_S):
            self._export_queued()
        self._export_queued()

    def _export_queued(self) -> None:
        while batch := [self._queue.popleft() for _ in islice(range(len(self._queue)), MAX_BATCH)]:
            if self._exporter.export(batch) is not LogRecordExportResult.SUCCESS:
                self.dropped += len(batch)
