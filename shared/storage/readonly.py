"""Questions to a SQLite file that belongs to somebody else: SELECT only, bounded, and nothing beside it changes."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import apsw

from shared.errors import Forbidden, InvalidInput, LimitExceeded, StorageUnavailable
from shared.storage.database import storage_error

Cell = str | int | float | None

_ALLOWED = {apsw.SQLITE_SELECT, apsw.SQLITE_READ, apsw.SQLITE_RECURSIVE}
_ALLOWED_PRAGMAS = {"table_list", "table_info", "table_xinfo", "index_list", "index_info", "foreign_key_list"}
_LIMITS = {
    apsw.SQLITE_LIMIT_LENGTH: 1_000_000,
    apsw.SQLITE_LIMIT_SQL_LENGTH: 10_000,
    apsw.SQLITE_LIMIT_EXPR_DEPTH: 100,
    apsw.SQLITE_LIMIT_COMPOUND_SELECT: 50,
    apsw.SQLITE_LIMIT_ATTACHED: 0,
    apsw.SQLITE_LIMIT_WORKER_THREADS: 0,
}
_STEPS_BETWEEN_CHECKS = 200
_WAL_VERSION = 2


@dataclass(frozen=True)
class QueryLimits:
    """How much one query may take and give."""

    rows: int = 100
    cell_chars: int = 500
    time: timedelta = timedelta(seconds=2)
    memory_bytes: int = 64_000_000


@dataclass(frozen=True)
class QueryResult:
    """Rows of a query. Long texts are cut, blobs are named by their size."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    is_complete: bool
    """False when there were more rows than the limit."""


def query(path: Path, sql: str, limits: QueryLimits | None = None) -> QueryResult:
    """Run one SELECT on an existing file. Blocks for up to `limits.time`.

    Raises `InvalidInput` (SQL that cannot be run), `Forbidden` (anything that is not reading), `LimitExceeded` (time or
    memory), `StorageCorrupt` (not a database) or `StorageUnavailable` (locked, unreadable, changed meanwhile).
    """
    return _Session(path, limits or QueryLimits()).run(sql)


def describe_tables(path: Path) -> str:
    """The tables and views with their columns, a line each, such as "person(id, name)". Raises as `query` does."""
    listing = "SELECT m.name, group_concat(c.name, ', ') FROM sqlite_schema AS m, pragma_table_info(m.name) AS c "
    found = query(path, listing + "WHERE m.type IN ('table', 'view') GROUP BY m.name ORDER BY m.name")
    return "\n".join(f"{name}({columns})" for name, columns in found.rows)


class _Session:
    """One query with a connection of its own."""

    def __init__(self, path: Path, limits: QueryLimits) -> None:
        self._path = path
        self._limits = limits
        self._stop = time.monotonic() + limits.time.total_seconds()
        self._memory = apsw.memory_used()
        self._broken_limit = ""
        self._refused = ""

    def run(self, sql: str) -> QueryResult:
        is_immutable = self._is_closed_wal()
        before = self._fingerprint()
        connection = None
        try:
            connection = self._connect(is_immutable)
            result = self._fetch(connection, sql)
        except apsw.Error as error:
            raise self._explained(error) from error
        finally:
            if connection:
                connection.close(True)
        if is_immutable and before != self._fingerprint():
            raise StorageUnavailable(f"{self._path.name} was changed while it was read.", remedy="Ask again.")
        return result

    def _connect(self, is_immutable: bool) -> apsw.Connection:
        uri = f"{self._path.as_uri()}?mode=ro{'&immutable=1' if is_immutable else ''}"
        flags = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI | apsw.SQLITE_OPEN_NOFOLLOW
        connection = apsw.Connection(uri, flags=flags)
        connection.set_busy_timeout(int(self._limits.time.total_seconds() * 500))
        for limit, value in _LIMITS.items():
            connection.limit(limit, value)
        connection.config(apsw.SQLITE_DBCONFIG_DEFENSIVE, 1)
        connection.config(apsw.SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0)
        # What a sort needs stays in memory, where the check below bounds it, and out of the temporary folder.
        connection.pragma("temp_store", "memory")
        connection.set_progress_handler(self._is_over_limit, _STEPS_BETWEEN_CHECKS)
        connection.authorizer = self._authorize
        return connection

    def _fetch(self, connection: apsw.Connection, sql: str) -> QueryResult:
        cursor = connection.execute(sql)
        try:
            columns = tuple(name for name, *_ in cursor.get_description())
        except apsw.ExecutionCompleteError:
            # Without rows there is no description to be had; a statement that is no query never gets this far.
            return QueryResult((), (), is_complete=True)
        rows: list[tuple[Cell, ...]] = []
        for row in cursor:
            if len(rows) == self._limits.rows:
                return QueryResult(columns, tuple(rows), is_complete=False)
            rows.append(self._cells(row))
        return QueryResult(columns, tuple(rows), is_complete=True)

    def _cells(self, row: Sequence[object]) -> tuple[Cell, ...]:
        return tuple(self._cell(value) for value in row)

    def _cell(self, value: object) -> Cell:
        if isinstance(value, bytes):
            return f"<{len(value):,} bytes>"
        if isinstance(value, str):
            cut = self._limits.cell_chars
            return value if len(value) <= cut else f"{value[:cut]}… ({len(value):,} characters)"
        if isinstance(value, float) and not math.isfinite(value):
            return str(value)
        return value if isinstance(value, int | float) else None

    def _authorize(self, action: int, first: str | None, second: str | None, _: str | None, __: str | None) -> int:
        is_allowed = (
            action in _ALLOWED
            or (action == apsw.SQLITE_FUNCTION and second != "load_extension")
            or (action == apsw.SQLITE_PRAGMA and first in _ALLOWED_PRAGMAS)
        )
        if is_allowed:
            return apsw.SQLITE_OK
        self._refused = str(apsw.mapping_authorizer_function[action]).removeprefix("SQLITE_")
        return apsw.SQLITE_DENY

    def _is_over_limit(self) -> bool:
        if time.monotonic() > self._stop:
            self._broken_limit = f"ran longer than {self._limits.time.total_seconds():g} s"
        elif apsw.memory_used() - self._memory > self._limits.memory_bytes:
            self._broken_limit = f"took more than {self._limits.memory_bytes:,} bytes of memory"
        return bool(self._broken_limit)

    def _explained(self, error: apsw.Error) -> Exception:
        if self._broken_limit:
            return LimitExceeded(f"The query {self._broken_limit}.", remedy="Narrow it with WHERE or LIMIT.")
        if self._refused:
            return Forbidden(f"Only SELECT is allowed, not {self._refused}.", remedy="Ask for data with SELECT.")
        if isinstance(error, apsw.SQLError | apsw.TooBigError | apsw.MismatchError | apsw.BindingsError):
            return InvalidInput(f"SQLite says: {error}.", remedy="Mend the SQL.")
        return storage_error(error, self._path)

    def _is_closed_wal(self) -> bool:
        """Whether the file is in WAL mode with nobody at it.

        SQLite would then leave a -wal and a -shm file beside it even for a reader; `immutable` keeps it from that.
        """
        if Path(f"{self._path}-wal").exists():
            return False
        try:
            with self._path.open("rb") as file:
                header = file.read(20)
        except OSError as error:
            raise storage_error(error, self._path) from error
        return len(header) == 20 and header[18] == _WAL_VERSION

    def _fingerprint(self) -> tuple[int, int, bool]:
        status = self._path.stat()
        return status.st_mtime_ns, status.st_size, Path(f"{self._path}-wal").exists()
