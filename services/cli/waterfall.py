"""Lays spans out as a waterfall: a tree, each span with its place on one time axis. Pure, and total.

Whatever the spans say (no end, no length, a parent that never came, two that are each other's parent, a clock that
runs ahead), every span is in the result once, and its numbers are finite and inside the axis.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

Span = dict[str, Any]
"""A span as the HTTP API has it."""
MAX_GUIDES = 24
"""Levels that are told apart; deeper ones look alike."""
_Entry = tuple[Span, int, bool, tuple[bool, ...]]
"""A span, its depth, whether it is the last of its level, and its guides."""


@dataclass(frozen=True)
class Row:
    """One span in its place."""

    span: Span
    depth: int
    """0 for a root, and for a span whose parent is not there."""
    is_last: bool
    """Whether it is the last child of its parent."""
    guides: tuple[bool, ...]
    """For each of the first levels above it, whether a line goes on down to a later span of that level."""
    offset_ms: float
    """From the beginning of the axis."""
    duration_ms: float
    """Until its end; one that was lost lasts as long as the spans below it, one that runs until now."""
    is_orphan: bool = False
    """Whether it names a parent that is not there."""


@dataclass(frozen=True)
class Waterfall:
    """All rows, parents before children, and the length of the axis."""

    rows: tuple[Row, ...]
    start_ms: float
    """Milliseconds since 1970."""
    total_ms: float
    """At least 0.001, so that one can divide by it."""


def lay_out(spans: Sequence[Span], now_ms: float) -> Waterfall:
    """Lay the spans out. `now_ms` is where the axis ends when something still runs."""
    by_id: dict[tuple[str, str], Span] = {}
    for span in spans:
        by_id.setdefault((span["trace_id"], span["span_id"]), span)
    if not by_id:
        return Waterfall((), now_ms, 0.001)
    children: dict[tuple[str, str], list[Span]] = defaultdict(list)
    roots: list[Span] = []
    for span in by_id.values():
        parent = (span["trace_id"], span["parent_span_id"])
        (children[parent] if parent in by_id else roots).append(span)
    start = min(span["start_unix_ms"] for span in by_id.values())
    ends = [_known_end(span, now_ms) for span in by_id.values()]
    end = max(start + 0.001, *ends)
    order = _Order(children, start, end)
    order.add(roots)
    for span in sorted(by_id.values(), key=_start):
        order.add([span])  # what is left is its own ancestor: the earliest of each circle becomes a root
    return Waterfall(tuple(order.rows(now_ms)), start, end - start)


def _known_end(span: Span, now_ms: float) -> float:
    if span["end_unix_ms"] is not None:
        return max(float(span["end_unix_ms"]), float(span["start_unix_ms"]))
    return max(now_ms, span["start_unix_ms"]) if span["state"] == "running" else float(span["start_unix_ms"])


def _start(span: Span) -> float:
    return float(span["start_unix_ms"])


def _key(span: Span) -> tuple[str, str]:
    return span["trace_id"], span["span_id"]


class _Order:
    """Puts spans in order without recursion: a chain may be ten thousand long."""

    def __init__(self, children: dict[tuple[str, str], list[Span]], start: float, end: float) -> None:
        self._children, self._start, self._end = children, start, end
        self._placed: set[tuple[str, str]] = set()
        self._entries: list[_Entry] = []

    def add(self, roots: list[Span]) -> None:
        """Place these and all that is below them."""
        todo: list[_Entry] = [(span, 0, True, ()) for span in sorted(roots, key=_start)[::-1]]
        while todo:
            span, depth, is_last, guides = todo.pop()
            if _key(span) in self._placed:
                continue
            self._placed.add(_key(span))
            self._entries.append((span, depth, is_last, guides))
            below = sorted(self._children.get(_key(span), ()), key=_start)[::-1]
            inner = (*guides, not is_last)[:MAX_GUIDES] if depth else ()
            todo += [(child, depth + 1, number == 0, inner) for number, child in enumerate(below)]

    def rows(self, now_ms: float) -> list[Row]:
        """The rows, in order."""
        latest: dict[tuple[str, str], float] = {}
        for span, *_ in reversed(self._entries):  # children come after their parents
            end = max(_known_end(span, now_ms), latest.get(_key(span), 0.0))
            latest[_key(span)] = end
            parent = (span["trace_id"], span["parent_span_id"])
            latest[parent] = max(latest.get(parent, 0.0), end)
        return [self._row(entry, latest, now_ms) for entry in self._entries]

    def _row(self, entry: "_Entry", latest: dict[tuple[str, str], float], now_ms: float) -> Row:
        span, depth, is_last, guides = entry
        is_sure = span["state"] not in ("lost", "running")
        end = min(self._end, _known_end(span, now_ms) if is_sure else latest[_key(span)])
        offset = max(0.0, span["start_unix_ms"] - self._start)
        duration = max(0.0, end - span["start_unix_ms"])
        is_orphan = depth == 0 and bool(span["parent_span_id"])
        return Row(span, depth, is_last, guides, offset, duration, is_orphan)
