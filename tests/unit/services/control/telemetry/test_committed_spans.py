"""Spans that an agent committed: put back where they are missing, and only when they will not come any more."""

from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from services.control.runs.report import RunReport
from services.control.telemetry.committed_spans import REQUEST_NAME, read_committed
from services.control.telemetry.schema import SCHEMA
from services.control.telemetry.span import SpanRecord
from services.control.telemetry.span_store import COMMITTED_GRACE_NS, SpanFilter, SpanStore
from shared.pb import agent_v1
from shared.storage.database import Database
from shared.telemetry import attributes

TRACE, CALLER = "a" * 32, "c" * 16
NOW = 10**18
LATER = NOW + COMMITTED_GRACE_NS


def span_id(name: str) -> str:
    return name.encode().hex().ljust(16, "0")[:16]


def at(event: agent_v1.RunEvent, ns: int) -> agent_v1.RunEvent:
    event.create_time.FromNanoseconds(ns)
    return event


def began(epoch: int, ns: int, **changes: Any) -> agent_v1.RunEvent:
    run = agent_v1.Run(
        run_id="r1", thread_id="t1", trace_id=TRACE, span_id=span_id(f"run{epoch}"), epoch=epoch,
        trace_parent=f"00-{TRACE}-{CALLER}-01",
    )  # fmt: skip
    run.create_time.FromNanoseconds(NOW)
    run.MergeFrom(agent_v1.Run(**changes))
    event = agent_v1.RunEvent(run_id="r1", trace_id=TRACE, span_id=run.span_id)
    event.state_changed.run.CopyFrom(run)
    return at(event, ns)


def hop(name: str, ns: int) -> agent_v1.RunEvent:
    event = agent_v1.RunEvent(run_id="r1", trace_id=TRACE, span_id=span_id(name))
    event.hop_started.capability = "coding"
    return at(event, ns)


def text(name: str, ns: int) -> agent_v1.RunEvent:
    return at(agent_v1.RunEvent(run_id="r1", trace_id=TRACE, span_id=span_id(name)), ns)


def report(*events: agent_v1.RunEvent, instance_id: str = "agent-1") -> RunReport:
    return RunReport(instance_id, "store", 1, [agent_v1.Run(run_id="r1")], events=events)


class Stored:
    """A store and what it said of changes."""

    def __init__(self, database: Database) -> None:
        self.changes: list[SpanRecord] = []
        self.store = SpanStore(database, self._note)

    def _note(self, spans: Sequence[SpanRecord]) -> None:
        self.changes.extend(spans)

    async def tell(self, told: RunReport, now_ns: int = NOW) -> None:
        await self.store.keep_committed(read_committed(told), now_ns)

    async def spans(self) -> dict[str, SpanRecord]:
        return {span.span_id: span for span in (await self.store.page(SpanFilter(trace_id=TRACE))).spans}


@pytest.fixture
async def stored(tmp_path: Path) -> AsyncIterator[Stored]:
    database = Database(tmp_path / "control.db", SCHEMA, synchronous="NORMAL")
    database.open()
    yield Stored(database)
    database.close()


async def test_a_dead_agents_request_run_and_hop_are_put_back_above_the_child_they_left(
    stored: Stored, make_span: Callable[..., SpanRecord]
) -> None:
    child = make_span("served", parent_span_id=span_id("hop1"), service="coding")
    await stored.store.add_ends([child])
    await stored.tell(report(began(1, NOW + 10), hop("hop1", NOW + 20), text("hop1", NOW + 90)))
    await stored.store.put_back([], LATER)
    spans = await stored.spans()
    line = [child]
    while line[-1].parent_span_id:
        line.append(spans[line[-1].parent_span_id])
    assert [span.name for span in line[1:]] == [attributes.SPAN_HOP, attributes.SPAN_RUN, REQUEST_NAME]
    assert {span.state for span in line[1:]} == {"lost"}
    assert (line[1].start_ns, line[1].end_ns, line[2].end_ns) == (NOW + 20, NOW + 90, NOW + 90)
    assert line[1].contents()["attributes"][attributes.REBUILT] is True
    assert line[2].run_id == "r1"
    assert len(stored.changes) == 4


async def test_nothing_is_put_back_while_it_may_still_come(
    stored: Stored, make_span: Callable[..., SpanRecord]
) -> None:
    await stored.store.add_ends([make_span("other")])
    await stored.tell(report(began(1, NOW + 10)))
    await stored.store.put_back(["agent-1"], LATER)
    await stored.store.put_back([], LATER - 1)
    assert len(await stored.spans()) == 1
    await stored.store.put_back([], LATER)
    assert len(await stored.spans()) == 3


async def test_what_a_later_epoch_left_behind_is_put_back_while_its_agent_lives(
    stored: Stored, make_span: Callable[..., SpanRecord]
) -> None:
    second = make_span("second", span_id=span_id("run2"))
    await stored.store.add_starts([second])
    await stored.tell(report(began(1, NOW + 10), hop("hop1", NOW + 20), began(2, NOW + 500)))
    await stored.store.put_back(["agent-1"], LATER)
    spans = await stored.spans()
    assert spans.keys() == {span_id("run1"), span_id("hop1"), span_id("run2"), CALLER}
    assert spans[span_id("hop1")].parent_span_id == span_id("run1")
    assert spans[span_id("run2")] == second


async def test_what_came_is_left_alone_and_what_comes_after_all_replaces(
    stored: Stored, make_span: Callable[..., SpanRecord]
) -> None:
    run = make_span(attributes.SPAN_RUN, span_id=span_id("run1"))
    await stored.store.add_ends([run])
    await stored.tell(report(began(1, NOW + 10), hop("hop1", NOW + 20)))
    await stored.store.put_back([], LATER)
    assert (await stored.spans())[span_id("run1")] == run
    late = make_span(attributes.SPAN_HOP, span_id=span_id("hop1"), start_ns=NOW + 20, end_ns=NOW + 30)
    await stored.store.add_ends([late])
    assert (await stored.spans())[span_id("hop1")].state == "ok"


async def test_a_mesh_that_sends_its_spans_elsewhere_gets_none_here(stored: Stored) -> None:
    await stored.tell(report(began(1, NOW + 10), hop("hop1", NOW + 20)))
    await stored.store.put_back([], LATER)
    assert await stored.spans() == {}


@pytest.mark.parametrize(
    "event",
    [
        began(1, NOW, span_id="Z" * 16),
        began(1, NOW, trace_id="0" * 32),
        began(1, -5),
        hop("", NOW),
        at(agent_v1.RunEvent(run_id="r1"), NOW),
    ],
)
def test_malformed_ids_and_times_are_no_spans(event: agent_v1.RunEvent) -> None:
    assert [record for record, _ in read_committed(report(event)) if record.name != REQUEST_NAME] == []


def test_a_parent_in_another_trace_is_none() -> None:
    [(run, _)] = read_committed(report(began(1, NOW, trace_parent=f"00-{'b' * 32}-{CALLER}-01")))
    assert (run.name, run.parent_span_id) == (attributes.SPAN_RUN, "")
