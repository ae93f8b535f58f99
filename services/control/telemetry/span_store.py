"""The spans in control.db: written in batches, replaced by their ends, found by what they belong to."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import apsw

from services.control.telemetry.committed_spans import CommittedSpan, keep_committed, put_back
from services.control.telemetry.span import SpanRecord
from shared.errors import InvalidInput, LimitExceeded
from shared.storage.database import Database

MAX_PENDING = 50_000
"""Spans that may wait for their commit; senders are told to come back beyond that."""
DEFAULT_PAGE_SIZE = 1_000
MAX_PAGE_SIZE = 10_000
PRUNE_SLICE = 500
"""Rows deleted in one transaction, so that a large deletion holds nobody up."""
COMMITTED_GRACE_NS = 2 * 10**9
"""A span that an agent tells of in another way has so long to come by itself."""
COMMITTED_MAX_AGE_NS = 24 * 3600 * 10**9

_COLUMNS = ", ".join(SpanRecord._fields)
_INSERT = f"INSERT INTO spans ({_COLUMNS}) VALUES ({', '.join('?' * len(SpanRecord._fields))})"
_INSERT_START = f"{_INSERT} ON CONFLICT (trace_id, span_id) DO NOTHING"
_KEPT_IF_ABSENT = ("run_id", "thread_id", "correlation_id")
_REPLACED = (
    "parent_span_id",
    "name",
    "service",
    "kind",
    "start_ns",
    "end_ns",
    "state",
    "status_message",
    "body",
)
# The first end wins: a batch that is sent again changes nothing. A span that was given up may still end.
_INSERT_END = (
    f"{_INSERT} ON CONFLICT (trace_id, span_id) DO UPDATE SET "
    + ", ".join(f"{column} = excluded.{column}" for column in _REPLACED)
    + "".join(f", {column} = coalesce(excluded.{column}, {column})" for column in _KEPT_IF_ABSENT)
    + ", instance_id = coalesce(nullif(excluded.instance_id, ''), instance_id) WHERE spans.state IN ('running', 'lost')"
)

_BY_AGE = "SELECT id FROM spans WHERE start_ns < ? ORDER BY start_ns LIMIT ?"
_BY_COUNT = "SELECT id FROM spans WHERE id <= (SELECT max(id) FROM spans) - ? ORDER BY id LIMIT ?"
# pages that are free again do not count: SQLite fills them before the file grows
_BY_SIZE = """
    SELECT id FROM spans WHERE (SELECT (page_count - freelist_count) * page_size
        FROM pragma_page_count, pragma_freelist_count, pragma_page_size) > ? ORDER BY id LIMIT ?
"""
MAX_FILE_BYTES = 2**62


@dataclass(frozen=True)
class SpanFilter:
    """Which spans; empty fields do not narrow."""

    trace_id: str = ""
    run_id: str = ""
    """Spans that carry this run's id."""
    around_run_id: str = ""
    """The run's spans and, of the traces they are in, those that belong to no other run."""
    thread_id: str = ""
    correlation_id: str = ""
    service: str = ""
    name: str = ""
    start_ns_from: int = 0
    start_ns_to: int = 0
    """Exclusive; 0 means no end."""

    def matches(self, span: SpanRecord) -> bool:
        """Whether a live span is one of these; `around_run_id` counts as `run_id`, for want of the trace."""
        run_id = self.run_id or self.around_run_id
        wanted = (self.trace_id, run_id, self.thread_id, self.correlation_id, self.service, self.name)
        found = (span.trace_id, span.run_id, span.thread_id, span.correlation_id, span.service, span.name)
        if any(want and want != have for want, have in zip(wanted, found, strict=True)):
            return False
        return span.start_ns >= self.start_ns_from and not 0 < self.start_ns_to <= span.start_ns


@dataclass(frozen=True)
class SpanPage:
    """Spans, oldest first, and the token of the next page; empty on the last."""

    spans: list[SpanRecord]
    next_page_token: str


class SpanStore:
    """Stores spans. `on_change` is called in the event loop with what was really new, after its commit."""

    def __init__(self, database: Database, on_change: Callable[[Sequence[SpanRecord]], None]) -> None:
        self._database = database
        self._on_change = on_change
        self.pending = 0
        """Spans that wait for their commit."""

    async def add_starts(self, spans: Sequence[SpanRecord]) -> None:
        """Store spans that run; those which are known already are left alone.

        Raises `LimitExceeded` when too many spans wait.
        """
        await self._add(_INSERT_START, spans)

    async def add_ends(self, spans: Sequence[SpanRecord]) -> None:
        """Store spans that ended, in place of their starts; those which ended already are left alone.

        Raises `LimitExceeded` when too many spans wait.
        """
        await self._add(_INSERT_END, spans)

    async def _add(self, statement: str, spans: Sequence[SpanRecord]) -> None:
        if self.pending + len(spans) > MAX_PENDING:
            raise LimitExceeded(
                f"{self.pending} spans wait for the disk.", remedy="Send again later.", limit=MAX_PENDING
            )
        self.pending += len(spans)
        try:
            changed = await self._database.write(lambda connection: _insert(connection, statement, spans))
        finally:
            self.pending -= len(spans)
        if changed:
            self._on_change(changed)

    async def mark_lost(self, instance_id: str, seen_ns: int = 0) -> None:
        """Close all spans which a dead process left running as lost, with the time when it was last seen.

        That is `seen_ns`, or the start of the newest of these spans when that is later.
        """
        lost = await self._database.write(lambda connection: _close_lost(connection, instance_id, seen_ns))
        if lost:
            self._on_change(lost)

    async def mark_lost_except(self, live: Collection[str], before_ns: int) -> None:
        """The same for every process but the live ones, unless it began a span since `before_ns`."""
        query = "SELECT instance_id FROM spans WHERE state = 'running' GROUP BY instance_id HAVING max(start_ns) < ?"
        read = self._database.read(lambda connection: connection.execute(query, (before_ns,)).fetchall())
        rows: list[Any] = await read
        for (instance_id,) in rows:
            if instance_id not in live:
                await self.mark_lost(instance_id)

    async def keep_committed(self, spans: Sequence[CommittedSpan], now_ns: int) -> None:
        """Remember spans that an agent committed, to put back those that get lost on their way."""
        if spans:
            await self._database.write(lambda connection: keep_committed(connection, spans, now_ns))

    async def put_back(self, live: Sequence[str], now_ns: int) -> None:
        """Store the committed spans that will not come by themselves any more, as lost."""
        noted_before, too_old = now_ns - COMMITTED_GRACE_NS, now_ns - COMMITTED_MAX_AGE_NS
        found = await self._database.write(lambda connection: put_back(connection, live, noted_before, too_old))
        if found:
            self._on_change(found)

    async def page(self, wanted: SpanFilter, page_size: int = 0, page_token: str = "") -> SpanPage:
        """Return spans, oldest first. `page_size` 0 means 1,000.

        Raises `InvalidInput` for a page size out of range or a token that is not from here.
        """
        if not 0 <= page_size <= MAX_PAGE_SIZE:
            raise InvalidInput(f"page_size must be 0 to {MAX_PAGE_SIZE}.", field="page_size", limit=MAX_PAGE_SIZE)
        size = page_size or DEFAULT_PAGE_SIZE
        query, values = span_query(wanted, page_token, size + 1)
        rows = await self._database.read(lambda connection: connection.execute(query, values).fetchall())
        spans = [SpanRecord._make(row[1:]) for row in rows[:size]]
        token = f"{spans[-1].start_ns}.{rows[size - 1][0]}" if len(rows) > size else ""
        return SpanPage(spans, token)

    async def count(self) -> int:
        """About how many spans are stored: ids in use, of which a few may be deleted."""
        query = "SELECT coalesce(max(id) - min(id) + 1, 0) FROM spans"
        return int(await self._database.read(lambda connection: connection.execute(query).get))

    async def prune(self, older_than_ns: int, keep: int, max_bytes: int = 0) -> int:
        """Delete spans that started before a time, and the oldest beyond `keep`; return how many went.

        Also the oldest while the file holds more than `max_bytes`, 0 being no limit.
        """
        total = 0
        for chosen, bound in ((_BY_AGE, older_than_ns), (_BY_COUNT, keep), (_BY_SIZE, max_bytes or MAX_FILE_BYTES)):
            deleted = PRUNE_SLICE
            while deleted == PRUNE_SLICE:
                deleted = await self._delete(chosen, bound)
                total += deleted
        return total

    async def _delete(self, chosen: str, bound: int) -> int:
        def work(connection: apsw.Connection) -> int:
            connection.execute(f"DELETE FROM spans WHERE id IN ({chosen})", (bound, PRUNE_SLICE))
            return connection.changes()

        return await self._database.write(work, can_wait=True, is_one_statement=True)


def span_query(wanted: SpanFilter, page_token: str = "", limit: int = MAX_PAGE_SIZE) -> tuple[str, list[str | int]]:
    """The SQL that finds spans, and its arguments."""
    conditions, values = _conditions(wanted)
    if page_token:
        conditions.append("(start_ns, id) > (?, ?)")
        values += _read_token(page_token)
    where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
    return f"SELECT id, {_COLUMNS} FROM spans {where} ORDER BY start_ns, id LIMIT ?", [*values, limit]


def _insert(connection: apsw.Connection, statement: str, spans: Sequence[SpanRecord]) -> list[SpanRecord]:
    changed = []
    for span in spans:
        before = connection.total_changes()
        connection.execute(statement, span)
        if connection.total_changes() != before:
            changed.append(span)
    return changed


def _close_lost(connection: apsw.Connection, instance_id: str, seen_ns: int) -> list[SpanRecord]:
    newest = "SELECT max(start_ns) FROM spans WHERE state = 'running' AND instance_id = ?"
    end_ns = max(seen_ns, connection.execute(newest, (instance_id,)).get or 0)
    rows = connection.execute(
        "UPDATE spans SET state = 'lost', end_ns = ? WHERE state = 'running' AND instance_id = ? RETURNING " + _COLUMNS,
        (end_ns, instance_id),
    )
    return [SpanRecord._make(row) for row in rows]


def _conditions(wanted: SpanFilter) -> tuple[list[str], list[str | int]]:
    conditions: list[str] = []
    values: list[str | int] = []
    for column in ("trace_id", "run_id", "thread_id", "correlation_id"):
        if value := getattr(wanted, column):
            conditions.append(f"{column} = ?")
            values.append(value)
    is_narrow = bool(conditions) or bool(wanted.around_run_id)
    for column in ("service", "name"):
        if value := getattr(wanted, column):
            # the plus keeps SQLite from a walk through all spans of a service for the few of a run
            conditions.append(f"{'+' * is_narrow}{column} = ?")
            values.append(value)
    if wanted.around_run_id:
        conditions.append(
            "trace_id IN (SELECT DISTINCT trace_id FROM spans WHERE run_id = ?) AND (run_id IS NULL OR run_id = ?)"
        )
        values += [wanted.around_run_id, wanted.around_run_id]
    if wanted.start_ns_from:
        conditions.append("start_ns >= ?")
        values.append(wanted.start_ns_from)
    if wanted.start_ns_to:
        conditions.append("start_ns < ?")
        values.append(wanted.start_ns_to)
    return conditions, values


def _read_token(token: str) -> list[int]:
    start, _, row = token.partition(".")
    if not (start.isascii() and start.isdigit() and row.isascii() and row.isdigit() and len(token) < 40):
        raise InvalidInput(
            "page_token is not one that this list gave.",
            remedy="Begin at the first page.",
            field="page_token",
        )
    return [int(start), int(row)]
