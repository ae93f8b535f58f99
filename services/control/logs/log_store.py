"""The log records in control.db: bounded in bytes and age, found by what they belong to."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import apsw

from services.control.logs.log_record import LogRecord
from services.control.telemetry.span import MAX_TIME_NS
from shared.errors import InvalidInput, LimitExceeded
from shared.storage.database import Database

MAX_PENDING = 20_000
"""Records that may wait for their commit; senders are told to come back beyond that."""
DEFAULT_PAGE_SIZE = 200
MAX_PAGE_SIZE = 2_000
PRUNE_SLICE = 2_000
"""Rows deleted in one statement, so that a large deletion holds nobody up."""
TRIM_SLICE = 100
"""Rows deleted at once when new ones need their place."""

_COLUMNS = ", ".join(LogRecord._fields)
_INSERT = f"INSERT INTO logs ({_COLUMNS}) VALUES ({', '.join('?' * len(LogRecord._fields))})"
_DELETE_OLDEST = "DELETE FROM logs WHERE id IN (SELECT id FROM logs ORDER BY id LIMIT ?) RETURNING size"
_DELETE_OLDER = (
    "DELETE FROM logs WHERE id IN (SELECT id FROM logs WHERE time_ns < ? ORDER BY time_ns LIMIT ?) RETURNING size"
)


@dataclass(frozen=True)
class LogFilter:
    """Which records; empty fields do not narrow."""

    run_id: str = ""
    thread_id: str = ""
    correlation_id: str = ""
    trace_id: str = ""
    service: str = ""
    min_severity: int = 0
    text: str = ""
    """Part of the message, in any case."""
    time_ns_from: int = 0
    time_ns_to: int = 0
    """Exclusive; 0 means no end."""


@dataclass(frozen=True)
class LogPage:
    """Records, newest first, and the token of the next page; empty on the last."""

    records: list[LogRecord]
    next_page_token: str


class LogStore:
    """Stores log records; beyond `max_bytes` the oldest go as new ones come. Load it once the database is open."""

    def __init__(self, database: Database, *, max_bytes: int) -> None:
        self._database, self._max_bytes = database, max_bytes
        self.stored_bytes = 0
        """What the stored records weigh, about."""
        self.pending = 0
        """Records that wait for their commit."""

    async def load(self) -> None:
        """Learn how much is stored."""
        query = "SELECT coalesce(sum(size), 0) FROM logs"
        self.stored_bytes = int(await self._database.read(lambda connection: connection.execute(query).get))

    async def add(self, records: Sequence[LogRecord]) -> None:
        """Store records. Raises `LimitExceeded` when too many wait."""
        if self.pending + len(records) > MAX_PENDING:
            raise LimitExceeded(
                f"{self.pending} log records wait for the disk.", remedy="Send again later.", limit=MAX_PENDING
            )
        self.pending += len(records)
        try:
            self.stored_bytes += await self._database.write(lambda connection: self._insert(connection, records))
        finally:
            self.pending -= len(records)

    def _insert(self, connection: apsw.Connection, records: Sequence[LogRecord]) -> int:
        """Insert, delete what there is too much of, and return by how many bytes the table has grown."""
        connection.executemany(_INSERT, records)
        grown = sum(record.size for record in records)
        while self.stored_bytes + grown > self._max_bytes:
            gone: list[Any] = connection.execute(_DELETE_OLDEST, (TRIM_SLICE,)).fetchall()
            grown -= sum(size for (size,) in gone)
            if not gone:
                break
        return grown

    async def page(self, wanted: LogFilter, page_size: int = 0, page_token: str = "") -> LogPage:
        """Return records, newest first. `page_size` 0 means 200.

        Raises `InvalidInput` for a page size out of range or a token that is not from here.
        """
        if not 0 <= page_size <= MAX_PAGE_SIZE:
            raise InvalidInput(f"page_size must be 0 to {MAX_PAGE_SIZE}.", field="page_size", limit=MAX_PAGE_SIZE)
        size = page_size or DEFAULT_PAGE_SIZE
        clauses, values = _clauses(wanted)
        if page_token:
            clauses.append("(time_ns, id) < (?, ?)")
            values += _read_token(page_token)
        where = f"WHERE {' AND '.join(clauses)}" if clauses else ""
        query = f"SELECT id, {_COLUMNS} FROM logs {where} ORDER BY time_ns DESC, id DESC LIMIT ?"
        rows: list[Any] = await self._database.read(
            lambda connection: connection.execute(query, (*values, size + 1)).fetchall()
        )
        records = [LogRecord._make(row[1:]) for row in rows[:size]]
        token = f"{records[-1].time_ns}.{rows[size - 1][0]}" if len(rows) > size else ""
        return LogPage(records, token)

    async def prune(self, older_than_ns: int) -> int:
        """Delete the records from before a time; return how many went."""

        def work(connection: apsw.Connection) -> tuple[int, int]:
            rows: list[Any] = connection.execute(_DELETE_OLDER, (older_than_ns, PRUNE_SLICE)).fetchall()
            return len(rows), sum(size for (size,) in rows)

        total, deleted = 0, PRUNE_SLICE
        while deleted == PRUNE_SLICE:
            deleted, freed = await self._database.write(work)
            self.stored_bytes -= freed
            total += deleted
        return total


def _clauses(wanted: LogFilter) -> tuple[list[str], list[str | int]]:
    clauses: list[str] = []
    values: list[str | int] = []
    for column in ("run_id", "thread_id", "correlation_id", "trace_id", "service"):
        if value := getattr(wanted, column):
            clauses.append(f"{column} = ?")
            values.append(value)
    if wanted.min_severity:
        # as a literal, so that SQLite can use the index of what is at least a warning
        clauses.append(f"severity >= {int(wanted.min_severity)}")
    for value, clause in (
        (wanted.text, "instr(lower(message), lower(?))"),
        (wanted.time_ns_from, "time_ns >= ?"),
        (wanted.time_ns_to, "time_ns < ?"),
    ):
        if value:
            clauses.append(clause)
            values.append(value)
    return clauses, values


def _read_token(token: str) -> list[int]:
    time_ns, _, row = token.partition(".")
    is_ours = all(part.isascii() and part.isdigit() and len(part) <= 19 for part in (time_ns, row))
    if not is_ours or max(int(time_ns), int(row)) > MAX_TIME_NS:
        raise InvalidInput(
            "page_token is not one that this list gave.", remedy="Begin at the first page.", field="page_token"
        )
    return [int(time_ns), int(row)]
