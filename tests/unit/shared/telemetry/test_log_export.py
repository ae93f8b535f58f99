"""Logs over OTLP: with their ids, without secrets, bounded, and never in anybody's way."""

import logging
import threading
from collections.abc import Iterator, Sequence

import pytest
from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.sdk._logs.export import LogRecordExporter, LogRecordExportResult
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider

from shared.call_context import CallContext, serving
from shared.telemetry import log_export as module
from shared.telemetry.log_export import LogExport

CALL = CallContext("0b6a9e16-3c1e-4ed9-9df0-7a1f12a4ab0f", run_id="run-1")


class Receiver(LogRecordExporter):
    """Keeps what it gets, once the gate is open."""

    def __init__(self) -> None:
        self.records: list[ReadableLogRecord] = []
        self.gate = threading.Event()
        self.gate.set()
        self.answer = LogRecordExportResult.SUCCESS

    def export(self, batch: Sequence[ReadableLogRecord]) -> LogRecordExportResult:
        self.gate.wait(5)
        self.records += batch
        return self.answer

    def shutdown(self) -> None:
        pass

    def force_flush(self, timeout_millis: int = 10_000) -> bool:
        return True


@pytest.fixture
def receiver() -> Receiver:
    return Receiver()


@pytest.fixture
def export(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> Iterator[LogExport]:
    """An export that takes what the logger `services.test` says."""
    monkeypatch.setattr(module, "DELAY_S", 0.01)
    export = LogExport(receiver, Resource({"service.name": "test"}))
    logger = logging.getLogger("services.test")
    logger.addHandler(export)
    logger.propagate = False
    yield export
    logger.removeHandler(export)
    logger.propagate = True


def test_a_record_has_its_ids_and_no_secret(export: LogExport, receiver: Receiver) -> None:
    export.start()
    with TracerProvider().get_tracer("test").start_as_current_span("x") as span, serving(CALL):
        try:
            raise ValueError("password=hunter2")
        except ValueError:
            logging.getLogger("services.test").exception("failed with %s", "Bearer abcdefgh12345")
    export.stop()
    [record] = receiver.records
    said = record.log_record
    assert (said.trace_id, said.span_id) == (span.get_span_context().trace_id, span.get_span_context().span_id)
    assert (said.body, said.severity_text) == ("failed with [redacted]", "ERROR")
    values = dict(said.attributes or {})
    assert (values["correlation.id"], values["run.id"]) == (CALL.correlation_id, "run-1")
    assert values["exception.type"] == "ValueError" and "hunter2" not in record.to_json()
    assert record.resource.attributes["service.name"] == "test"


def test_a_full_queue_drops_the_oldest_and_counts(
    export: LogExport, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_QUEUED", 3)
    for number in range(5):
        logging.getLogger("services.test").warning("%d", number)
    export.start()
    export.stop()
    assert ([record.log_record.body for record in receiver.records], export.dropped) == (["2", "3", "4"], 2)


def test_what_the_receiver_refuses_is_counted(export: LogExport, receiver: Receiver) -> None:
    receiver.answer = LogRecordExportResult.FAILURE
    logging.getLogger("services.test").warning("lost")
    export.start()
    export.stop()
    assert export.dropped == 1


def test_who_logs_does_not_wait_for_a_receiver_that_hangs(export: LogExport, receiver: Receiver) -> None:
    receiver.gate.clear()
    export.start()
    for number in range(1_000):
        logging.getLogger("services.test").warning("%d", number)
    assert receiver.records == []
    receiver.gate.set()
    export.stop()
    assert len(receiver.records) == 1_000


def test_the_export_does_not_tell_of_itself(export: LogExport, receiver: Receiver) -> None:
    record = logging.LogRecord("opentelemetry.exporter", logging.WARNING, "x.py", 1, "failed", (), None)
    export.emit(record)
    export.start()
    export.stop()
    assert receiver.records == []
