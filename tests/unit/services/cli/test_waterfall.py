"""The waterfall's geometry: whatever the spans say, each has one place inside the axis."""

import math
import time
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from services.cli.waterfall import MAX_GUIDES, Span, lay_out

IDS = st.sampled_from("abcdefg")


def span(span_id: str, parent: str = "", start: float = 0.0, end: float | None = 1.0, state: str = "ok") -> Span:
    ids = {"trace_id": "t", "span_id": span_id, "parent_span_id": parent}
    return {**ids, "start_unix_ms": start, "end_unix_ms": end, "state": state, "name": span_id}


def order(*spans: Span, now: float = 100.0) -> list[tuple[str, int]]:
    return [(row.span["span_id"], row.depth) for row in lay_out(spans, now).rows]


def test_children_stand_below_their_parents_in_the_order_of_their_starts() -> None:
    spans = [span("late", "root", 5), span("root"), span("leaf", "early", 2), span("early", "root", 1)]
    assert order(*spans) == [("root", 0), ("early", 1), ("leaf", 2), ("late", 1)]


def test_guides_go_down_to_later_spans_only() -> None:
    rows = lay_out([span("r"), span("a", "r", 1), span("b", "a", 2), span("c", "r", 3), span("d", "c", 4)], 9).rows
    assert [(row.guides, row.is_last) for row in rows[1:]] == [
        ((), False),
        ((True,), True),
        ((), True),
        ((False,), True),
    ]


def test_a_span_whose_parent_is_not_there_is_a_root_that_says_so() -> None:
    rows = lay_out([span("a", "gone"), span("b")], 1).rows
    assert [(row.span["span_id"], row.is_orphan) for row in rows] == [("a", True), ("b", False)]


def test_circles_and_repetitions_are_shown_once() -> None:
    assert order(span("a", "b", 1), span("b", "a", 0), span("c", "c", 2), span("b", "", 9)) == [
        ("b", 0),
        ("a", 1),
        ("c", 0),
    ]


def test_a_lost_span_lasts_as_long_as_what_is_below_it_and_a_running_one_until_now() -> None:
    spans = [span("lost", end=0.5, state="lost"), span("last", "lost", 3, 8), span("now", "lost", 4, None, "running")]
    durations = {row.span["span_id"]: row.duration_ms for row in lay_out(spans[:2], 20).rows}
    assert durations == {"lost": 8.0, "last": 5.0}
    assert [row.duration_ms for row in lay_out(spans, 20).rows] == [20.0, 5.0, 16.0]


def test_nothing_is_nothing() -> None:
    assert lay_out([], 5).rows == () and lay_out([], 5).total_ms > 0


@given(
    st.lists(
        st.builds(
            span,
            IDS,
            st.one_of(st.just(""), IDS, st.just("gone")),
            st.floats(0, 1e13),
            st.one_of(st.none(), st.floats(0, 1e13)),
            st.sampled_from(["ok", "error", "running", "lost"]),
        )
    ),
    st.floats(0, 1e13),
)
def test_it_is_total(spans: list[Span], now: float) -> None:
    found = lay_out(spans, now)
    assert sorted(row.span["span_id"] for row in found.rows) == sorted({item["span_id"] for item in spans})
    for row in found.rows:
        numbers: list[Any] = [row.offset_ms, row.duration_ms, found.total_ms]
        assert all(math.isfinite(number) and number >= 0 for number in numbers)
        assert row.offset_ms + row.duration_ms <= found.total_ms * (1 + 1e-9) + 0.01


def test_ten_thousand_spans_in_one_chain_or_in_circles_take_no_time() -> None:
    chain = [span(str(n), str(n - 1) if n else "", n, n + 1) for n in range(10_000)]
    circles = [span(f"c{n}", f"c{n}", n, n + 1) for n in range(10_000)]
    started = time.perf_counter()
    rows = lay_out([*chain, *circles], 0).rows
    assert time.perf_counter() - started < 60
    assert max(row.depth for row in rows) == 9_999 and max(len(row.guides) for row in rows) == MAX_GUIDES
