"""Spans in a real file: idempotent, replaced by their ends, found, pruned."""

from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import pytest

from services.control.telemetry.schema import SCHEMA
from services.control.telemetry.span import SpanRecord
from services.control.telemetry.span_store import MAX_PENDING, SpanFilter, SpanStore, span_query
from shared.errors import InvalidInput, LimitExceeded
from shared.storage.database import Database

Make = Callable[..., SpanRecord]


class Stored:
    """A store and what it said of changes."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.changes: list[SpanRecord] = []
        self.store = SpanStore(database, self._note)

    def _note(self, spans: Sequence[SpanRecord]) -> None:
        self.changes.extend(spans)

    async def plan(self, wanted: SpanFilter) -> list[str]:
        """How SQLite would find them."""
        query, values = span_query(wanted)
        rows = await self.database.read(lambda connection: connection.execute(f"EXPLAIN QUERY PLAN {query}", values))
        return [str(row[-1]) for row in rows]

    async def names(self, wanted: SpanFilter = SpanFilter()) -> list[str]:  # noqa: B008
        return [span.name for span in (await self.store.page(wanted)).spans]


@pytest.fixture
async def stored(tmp_path: Path) -> AsyncIterator[Stored]:
    database = Database(tmp_path / "control.db", SCHEMA, synchronous="NORMAL")
    database.open()
    yield Stored(database)
    database.close()


async def test_a_span_sent_twice_is_stored_and_told_once(stored: Stored, make_span: Make) -> None:
    await stored.store.add_ends([make_span("a")])
    await stored.store.add_ends([make_span("a", name="again"), make_span("b")])
    assert await stored.names() == ["a", "b"]
    assert [span.name for span in stored.changes] == ["a", "b"]


async def test_an_end_replaces_its_start_and_keeps_the_ids_it_lacks(stored: Stored, make_span: Make) -> None:
    await stored.store.add_starts([make_span("a", end_ns=None, run_id="r1")])
    await stored.store.add_ends([make_span("a", instance_id="")])
    (span,) = (await stored.store.page(SpanFilter(run_id="r1"))).spans
    assert (span.state, span.end_ns, span.instance_id) == ("ok", 200, "agent-1")
    assert [change.state for change in stored.changes] == ["running", "ok"]


async def test_a_start_that_comes_late_does_not_reopen_a_span(stored: Stored, make_span: Make) -> None:
    await stored.store.add_ends([make_span("a")])
    await stored.store.add_starts([make_span("a", end_ns=None)])
    assert (await stored.store.page(SpanFilter())).spans[0].state == "ok"
    assert len(stored.changes) == 1


async def test_the_open_spans_of_a_dead_process_are_lost_until_they_end_after_all(
    stored: Stored, make_span: Make
) -> None:
    others = make_span("c", end_ns=None, instance_id="rag-1")
    await stored.store.add_starts([make_span("a", end_ns=None), others])
    await stored.store.add_ends([make_span("b")])
    await stored.store.mark_lost("agent-1")
    states = {span.name: span.state for span in (await stored.store.page(SpanFilter())).spans}
    assert states == {"a": "lost", "b": "ok", "c": "running"}
    await stored.store.add_ends([make_span("a")])
    assert [span.state for span in stored.changes[-2:]] == ["lost", "ok"]


async def test_pages_are_ordered_by_start_and_have_no_gap_and_no_duplicate(stored: Stored, make_span: Make) -> None:
    await stored.store.add_ends([make_span(f"s{n}", start_ns=100 + n % 3) for n in range(10)])
    seen: list[SpanRecord] = []
    token = ""
    while True:
        page = await stored.store.page(SpanFilter(), 3, token)
        seen += page.spans
        token = page.next_page_token
        if not token:
            break
    assert len({span.span_id for span in seen}) == len(seen) == 10
    assert [span.start_ns for span in seen] == sorted(span.start_ns for span in seen)


@pytest.mark.parametrize("size, token", [(-1, ""), (10_001, ""), (1, "x"), (1, "1"), (1, "1.²"), (1, "9" * 50)])
async def test_bad_pages_are_refused(stored: Stored, size: int, token: str) -> None:
    with pytest.raises(InvalidInput):
        await stored.store.page(SpanFilter(), size, token)


@pytest.mark.parametrize(
    "wanted",
    [
        SpanFilter(run_id="r"),
        SpanFilter(thread_id="t"),
        SpanFilter(correlation_id="c"),
        SpanFilter(service="s"),
        SpanFilter(name="wanted"),
        SpanFilter(trace_id="b" * 32),
        SpanFilter(start_ns_from=150),
        SpanFilter(start_ns_from=150, start_ns_to=151),
        SpanFilter(run_id="r", service="s", start_ns_from=1),
    ],
)
async def test_filters_choose_the_same_stored_and_live(stored: Stored, make_span: Make, wanted: SpanFilter) -> None:
    mine = make_span("wanted", run_id="r", thread_id="t", correlation_id="c", service="s")
    mine = mine._replace(trace_id="b" * 32, start_ns=150)
    other = make_span("other")
    await stored.store.add_ends([mine, other])
    assert await stored.names(wanted) == ["wanted"]
    assert (wanted.matches(mine), wanted.matches(other)) == (True, False)


async def test_around_a_run_are_the_spans_of_its_trace_that_no_other_run_has(stored: Stored, make_span: Make) -> None:
    elsewhere = make_span("elsewhere", trace_id="c" * 32)
    spans = [make_span("mine", run_id="r1"), make_span("grpc"), make_span("theirs", run_id="r2"), elsewhere]
    await stored.store.add_ends(spans)
    assert await stored.names(SpanFilter(around_run_id="r1")) == ["mine", "grpc"]


async def test_pruning_goes_by_age_and_by_count(stored: Stored, make_span: Make) -> None:
    await stored.store.add_ends([make_span(f"s{n}", start_ns=100 + n) for n in range(10)])
    assert await stored.store.prune(older_than_ns=103, keep=5) == 5
    assert await stored.names() == ["s5", "s6", "s7", "s8", "s9"]
    assert await stored.store.count() == 5


async def test_too_many_waiting_spans_are_refused(stored: Stored, make_span: Make) -> None:
    with pytest.raises(LimitExceeded):
        await stored.store.add_ends([make_span("a")] * (MAX_PENDING + 1))
    assert stored.store.pending == 0


async def test_hostile_values_are_data(stored: Stored, make_span: Make) -> None:
    name = "'; DROP TABLE spans; --"
    await stored.store.add_ends([make_span("a", name=name)])
    assert await stored.names(SpanFilter(name=name)) == [name]


async def test_a_lost_span_ends_when_its_process_was_last_seen_and_not_before_it_began(
    stored: Stored, make_span: Make
) -> None:
    await stored.store.add_starts(
        [make_span("a", end_ns=None, start_ns=100), make_span("b", end_ns=None, start_ns=300)]
    )
    await stored.store.mark_lost("agent-1", seen_ns=200)
    assert {(span.name, span.state, span.end_ns) for span in stored.changes[2:]} == {
        ("a", "lost", 300),
        ("b", "lost", 300),
    }


async def test_spans_of_processes_that_are_not_there_are_lost_unless_they_have_just_begun(
    stored: Stored, make_span: Make
) -> None:
    starts = [
        make_span("old", end_ns=None, instance_id="gone"),
        make_span("live", end_ns=None, instance_id="there"),
        make_span("new", end_ns=None, instance_id="registering", start_ns=500),
    ]
    await stored.store.add_starts(starts)
    await stored.store.mark_lost_except({"there"}, before_ns=400)
    assert [(span.name, span.state) for span in stored.changes[3:]] == [("old", "lost")]


async def test_pruning_goes_by_size(stored: Stored, make_span: Make) -> None:
    body = b'{"attributes":{"x":"' + b"x" * 10_000 + b'"},"events":[],"links":[]}'
    await stored.store.add_ends([make_span(f"s{n}", start_ns=100 + n, body=body) for n in range(1_200)])
    assert await stored.store.prune(older_than_ns=0, keep=10_000, max_bytes=8_000_000) >= 400
    assert 0 < await stored.store.count() <= 800
    assert (await stored.names())[-1] == "s1199"


async def test_a_trace_of_100_000_spans_is_read_page_by_page(stored: Stored, make_span: Make) -> None:
    first = make_span("s")
    for base in range(0, 100_000, 5_000):
        many = [first._replace(span_id=f"{n + 1:016x}", start_ns=1_000_000 - n) for n in range(base, base + 5_000)]
        await stored.store.add_ends(many)
    stored.changes.clear()
    page = await stored.store.page(SpanFilter(trace_id=first.trace_id), page_size=10_000)
    assert len(page.spans) == 10_000
    assert [span.start_ns for span in page.spans[:2]] == [900_001, 900_002]
    following = await stored.store.page(SpanFilter(trace_id=first.trace_id), 10, page.next_page_token)
    assert following.spans[0].start_ns == 910_001


@pytest.mark.parametrize("by", ["run_id", "thread_id", "correlation_id", "trace_id", "around_run_id"])
async def test_a_query_for_a_run_reads_the_runs_rows_only(stored: Stored, make_span: Make, by: str) -> None:
    first = make_span("s", run_id="few", thread_id="few", correlation_id="few", trace_id="f" * 32)
    others = [make_span(f"o{n}") for n in range(100)]
    await stored.store.add_ends([first, *others])
    wanted = SpanFilter(**{by: getattr(first, by.removeprefix("around_"))}, service="agent", start_ns_from=1)
    assert await stored.names(wanted) == ["s"]
    assert not [line for line in await stored.plan(wanted) if "spans_by_service" in line or "SCAN" in line]
