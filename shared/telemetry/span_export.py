"""Ended spans on their way out: a bounded queue and a thread of its own, so that no hop ever waits for it."""

import logging
import threading
from collections import deque

from opentelemetry.context import Context
from opentelemetry.instrumentation.utils import suppress_instrumentation
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

logger = logging.getLogger(__name__)

MAX_QUEUED = 8_192
MAX_BATCH = 512
GATHER_S = 0.25
"""Spans that end within this time of the first go out together: the starts are told at once, so that nobody waits for
this, and with 0.08 s tracing cost a trivial run a sixth more, not a twelfth."""
RETRY_S = 1.0
STOP_TIMEOUT_S = 2.0


class SpanExport(SpanProcessor):
    """Hands ended spans to an exporter in batches.

    What cannot be delivered stays in the queue and is tried again, in ever smaller batches, so that one span which is
    refused does not hold up the others. When the queue is full the oldest span goes. OpenTelemetry's own batch
    processor drops a batch that fails, and tells nobody how much it dropped.
    """

    def __init__(self, exporter: SpanExporter, max_queued: int = MAX_QUEUED, retry_s: float = RETRY_S) -> None:
        self._exporter, self._max_queued, self._retry_s = exporter, max_queued, retry_s
        self._queue: deque[ReadableSpan] = deque()
        self._lock = threading.Lock()
        self._has_work = threading.Event()
        self._is_stopping = threading.Event()
        self._batch_size = MAX_BATCH
        self.dropped = 0
        """Spans that nobody will see: the queue was full, or they were refused."""
        self._thread = threading.Thread(target=self._work, name="span-export", daemon=True)
        self._thread.start()

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Nothing goes out before its end."""

    def on_end(self, span: ReadableSpan) -> None:
        """Queue the span. Never blocks."""
        with self._lock:
            self._queue.append(span)
            self._trim()
        if not self._has_work.is_set():
            self._has_work.set()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Export what is queued, in the caller's thread; False when some of it stays."""
        return self._export_queued()

    def shutdown(self) -> None:
        """Export what is queued, for two seconds at most."""
        self._is_stopping.set()
        self._has_work.set()
        self._thread.join(STOP_TIMEOUT_S)
        self._exporter.shutdown()

    def _work(self) -> None:
        while not self._is_stopping.is_set():
            self._has_work.wait()
            self._is_stopping.wait(GATHER_S)
            self._has_work.clear()
            if not self._export_queued() and not self._is_stopping.wait(self._retry_s):
                self._has_work.set()

    def _export_queued(self) -> bool:
        while batch := self._take():
            if not self._deliver(batch):
                self._put_back(batch)
                return False
            self._batch_size = MAX_BATCH
        return True

    def _deliver(self, batch: list[ReadableSpan]) -> bool:
        try:
            with suppress_instrumentation():
                return self._exporter.export(batch) is SpanExportResult.SUCCESS
        except Exception:  # a span that cannot be written must not end the thread
            logger.exception("%d spans cannot be exported", len(batch))
            return False

    def _take(self) -> list[ReadableSpan]:
        with self._lock:
            return [self._queue.popleft() for _ in range(min(self._batch_size, len(self._queue)))]

    def _put_back(self, batch: list[ReadableSpan]) -> None:
        with self._lock:
            if len(batch) == 1:  # refused although alone, or the receiver has been away for long
                self.dropped += 1
            else:
                self._queue.extendleft(reversed(batch))
                self._trim()
        self._batch_size = max(1, len(batch) // 2)

    def _trim(self) -> None:
        while len(self._queue) > self._max_queued:
            self._queue.popleft()
            self.dropped += 1
