"""The export: bounded, counted, never in the way, and nothing is lost while the receiver is only away."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from shared.telemetry.span_export import MAX_BATCH, SpanExport


class Receiver(SpanExporter):
    """Remembers names; refuses what `refuses` says, and holds everybody up while `gate` is closed."""

    def __init__(self, refuses: Callable[[Sequence[str]], bool] = lambda _: False) -> None:
        self.names: list[str] = []
        self.refuses = refuses
        self.gate = threading.Event()
        self.gate.set()
        self.is_called = threading.Event()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.is_called.set()
        assert self.gate.wait(10)
        names = [span.name for span in spans]
        if "raise" in names:
            raise ValueError("cannot be written")
        if self.refuses(names):
            return SpanExportResult.FAILURE
        self.names += names
        return SpanExportResult.SUCCESS


@contextmanager
def exporting(receiver: Receiver, max_queued: int = 1_000) -> Iterator[tuple[SpanExport, Callable[[str], None]]]:
    export = SpanExport(receiver, max_queued, retry_s=0.01)
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(export)
    tracer = provider.get_tracer("test")
    try:
        yield export, lambda name: tracer.start_span(name).end()
    finally:
        provider.shutdown()


def wait_until(is_so: Callable[[], bool]) -> None:
    pause = threading.Event()
    for _ in range(1_000):
        if is_so():
            return
        pause.wait(0.01)
    raise AssertionError("it did not come to that within 10 s")


def test_every_span_arrives_once_in_order() -> None:
    receiver = Receiver()
    with exporting(receiver) as (_, make):
        names = [str(number) for number in range(2 * MAX_BATCH)]
        for name in names[:700]:
            make(name)
    assert receiver.names == names[:700]


def test_a_receiver_that_hangs_costs_the_oldest_spans_and_holds_nobody_up() -> None:
    receiver = Receiver()
    receiver.gate.clear()
    with exporting(receiver, max_queued=10) as (export, make):
        make("in flight")
        assert receiver.is_called.wait(10)
        for number in range(25):
            make(str(number))
        assert export.dropped == 15
        receiver.gate.set()
    assert receiver.names == ["in flight", *map(str, range(15, 25))]


def test_what_was_refused_while_the_receiver_was_away_arrives_when_it_is_back() -> None:
    receiver = Receiver(refuses=lambda _: True)
    with exporting(receiver) as (export, make):
        for number in range(8):
            make(str(number))
        assert receiver.is_called.wait(10)
        receiver.refuses = lambda _: False
        wait_until(lambda: len(receiver.names) == 8 - export.dropped)
    assert export.dropped <= 1
    assert receiver.names == list(map(str, range(8)))[export.dropped :]


@pytest.mark.parametrize("bad", ["refused", "raise"])
def test_a_span_that_is_refused_for_itself_does_not_hold_up_the_others(bad: str) -> None:
    receiver = Receiver(refuses=lambda names: "refused" in names)
    with exporting(receiver) as (export, make):
        names = ["a", "b", bad, "c", "d"]
        for name in names:
            make(name)
        wait_until(lambda: len(receiver.names) == 4)
        assert export.dropped == 1
    assert sorted(receiver.names) == ["a", "b", "c", "d"]


def test_the_queue_is_exported_at_the_end() -> None:
    receiver = Receiver()
    with exporting(receiver) as (_, make):
        make("last")
    assert receiver.names == ["last"]
