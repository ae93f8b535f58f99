"""Takes every row that can still be read out of a damaged database into a fresh one."""

import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apsw

from shared.storage.database import Database, Schema
from shared.storage.integrity import HEADER_BYTES, MAGIC, header_problem
from shared.storage.pages import DEFAULT_PAGE_BYTES, PageReader, Record, Value, page_bytes_of

OWN_TABLE = "schemas"
"""The table of `Database` itself."""
_CLASSES: dict[str, tuple[type, ...]] = {"INTEGER": (int,), "TEXT": (str,), "BLOB": (bytes,), "REAL": (float, int)}


@dataclass(frozen=True)
class MissingRow:
    """A row of which only an index knows."""

    table: str
    known: dict[str, Value]
    """Its values in the columns of the index."""


@dataclass(frozen=True)
class Salvage:
    """What was taken over."""

    rows: dict[str, int]
    """Rows by table."""
    skipped: int
    """Pages and rows that could not be read or belonged nowhere."""
    missing: list[MissingRow]
    """Rows that could not be read, as far as an index still names them."""

    @property
    def total(self) -> int:
        """All rows."""
        return sum(self.rows.values())


@dataclass(frozen=True)
class _Column:
    name: str
    classes: tuple[type, ...]
    is_required: bool

    def fits(self, value: Value) -> bool:
        if value is None:
            return not self.is_required
        return not self.classes or isinstance(value, self.classes)


@dataclass(frozen=True)
class _Table:
    name: str
    columns: tuple[_Column, ...]
    """In the order in which a record has them."""
    has_rowid: bool
    rowid_column: str
    """The column that is the rowid; empty when none is."""

    def fits(self, record: Record) -> bool:
        """Whether the record can be a row of this table; one written before a column was added is shorter."""
        return (
            self.has_rowid == (record.rowid is not None)
            and 0 < len(record.values) <= len(self.columns)
            and all(column.fits(value) for column, value in zip(self.columns, record.values, strict=False))
        )

    def fits_exactly(self, record: Record) -> bool:
        """Whether it can be a row that has every column."""
        return self.fits(record) and len(record.values) == len(self.columns)


def salvage(damaged: Path, target: Path, schemas: tuple[Schema, ...]) -> Salvage:
    """Write what can be read of `damaged` and its log into the new file `target`.

    `damaged` is a copy that nobody has open; its header may be mended. Raises `StorageUnavailable` and `OSError`.
    """
    database = Database(target, *schemas)
    database.open()
    database.close()
    _merge_log(damaged)
    reader = PageReader(content := damaged.read_bytes(), page_bytes_of(content))
    with closing(apsw.Connection(str(target))) as connection:
        connection.pragma("foreign_keys", False)
        rows, missing = _Copying(reader, connection).run()
        connection.pragma("wal_checkpoint", "truncate")
    return Salvage(rows, reader.skipped, missing)


def copy_damaged(path: Path, copy: Path) -> None:
    """Copy a database that nobody has open, with its log. Raises `OSError`."""
    for suffix in ("", "-wal"):
        if Path(f"{path}{suffix}").exists():
            shutil.copyfile(f"{path}{suffix}", f"{copy}{suffix}")


def _merge_log(damaged: Path) -> None:
    if header_problem(damaged):
        _mend_header(damaged)
    # a log that SQLite cannot merge is left out; what was lost with it is found by comparing
    with suppress(apsw.Error), closing(apsw.Connection(str(damaged))) as connection:
        with suppress(apsw.Error):
            connection.execute("SELECT 1 FROM sqlite_schema").fetchall()  # opens the log, whatever it says
        connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)


def _mend_header(damaged: Path) -> None:
    with damaged.open("rb+") as file:
        pages = damaged.stat().st_size // DEFAULT_PAGE_BYTES
        header = bytearray(HEADER_BYTES)
        header[:16] = MAGIC
        header[16:18] = DEFAULT_PAGE_BYTES.to_bytes(2, "big")
        header[18:24] = bytes((2, 2, 0, 64, 32, 32))
        header[28:32] = pages.to_bytes(4, "big")
        header[47], header[59] = 4, 1
        file.write(header)


class _Copying:
    """Brings the records of a file into the tables they belong to."""

    def __init__(self, reader: PageReader, connection: apsw.Connection) -> None:
        self._reader = reader
        self._connection = connection
        self._tables = {table.name: table for table in _tables(connection)}
        self._indexed: dict[str, dict[int, tuple[str, tuple[Value, ...]]]] = {name: {} for name in self._tables}
        """By table and rowid: the index that names the row, and what it knows."""

    def run(self) -> tuple[dict[str, int], list[MissingRow]]:
        """Copy everything; return the number of rows by table, and the rows that are missing."""
        rows: Counter[str] = Counter(dict.fromkeys(self._tables, 0))
        with self._connection:
            first_rows = {name: self._query(f'SELECT * FROM "{name}"') for name in self._tables}
            for name in self._tables:
                self._connection.execute(f'DELETE FROM "{name}"')
            for table, record in self._sorted_out():
                if _insert(self._connection, table, record):
                    rows[table.name] += 1
            for name, defaults in first_rows.items():
                for row in defaults if not rows[name] else ():
                    self._connection.execute(f'INSERT INTO "{name}" VALUES ({", ".join("?" * len(row))})', row)
        return dict(rows), list(self._missing())

    def _sorted_out(self) -> Iterator[tuple[_Table, Record]]:
        """Each record with its table: by the tree it hangs on, or, where none leads to it, by its shape alone."""
        self._reader.free_pages()
        roots = [record.values[1:4] for record in self._reader.tree(1) if len(record.values) == 5]
        for name, table_name, root in roots:
            table = self._tables.get(str(name))
            for record in self._reader.tree(root) if isinstance(root, int) else ():
                if table and table.fits(record):
                    yield table, record
                elif table:
                    self._reader.skipped += 1
                elif str(table_name) in self._tables and isinstance(rowid := record.values[-1], int):
                    self._indexed[str(table_name)][rowid] = (str(name), record.values[:-1])
        for record in self._reader.leftovers():
            fitting = [table for table in self._tables.values() if table.fits_exactly(record)]
            if len(fitting) == 1:
                yield fitting[0], record
            else:
                self._reader.skipped += 1

    def _missing(self) -> Iterator[MissingRow]:
        for table, entries in self._indexed.items():
            present = {rowid for (rowid,) in self._query(f'SELECT rowid FROM "{table}"')} if entries else set()
            for index, values in (entries[rowid] for rowid in sorted(entries.keys() - present)):
                columns = [str(name) for (name,) in self._query("SELECT name FROM pragma_index_info(?)", (index,))]
                yield MissingRow(table, dict(zip(columns, values, strict=False)))

    def _query(self, sql: str, values: tuple[Value, ...] = ()) -> list[Any]:
        return self._connection.execute(sql, values).fetchall()


def _insert(connection: apsw.Connection, table: _Table, record: Record) -> bool:
    values = dict(zip((column.name for column in table.columns), record.values, strict=False))
    if table.rowid_column:
        values[table.rowid_column] = record.rowid
    elif table.has_rowid:
        values["rowid"] = record.rowid
    names = ", ".join(f'"{name}"' for name in values)
    sql = f'INSERT OR IGNORE INTO "{table.name}" ({names}) VALUES ({", ".join("?" * len(values))})'
    connection.execute(sql, tuple(values.values()))
    return bool(connection.changes())


def _tables(connection: apsw.Connection) -> list[_Table]:
    listing = (
        "SELECT name, wr FROM pragma_table_list WHERE schema = 'main' AND type = 'table' AND name NOT LIKE 'sqlite_%'"
    )
    return [
        _table(connection, str(name), bool(wr))
        for name, wr in connection.execute(listing).fetchall()
        if name != OWN_TABLE
    ]


def _table(connection: apsw.Connection, name: str, is_without_rowid: bool) -> _Table:
    sql = 'SELECT name, type, "notnull", pk FROM pragma_table_info(?)'
    info: list[Any] = connection.execute(sql, (name,)).fetchall()
    keys = [row for row in info if row[3]]
    rowid_column = str(keys[0][0]) if len(keys) == 1 and keys[0][1] == "INTEGER" and not is_without_rowid else ""
    if is_without_rowid:  # the key comes first in the record
        info = sorted(keys, key=lambda row: row[3]) + [row for row in info if not row[3]]
    columns = tuple(
        _Column(str(column), _CLASSES.get(str(kind), ()), bool(required) and column != rowid_column)
        for column, kind, required, _ in info
    )
    return _Table(name, columns, not is_without_rowid, rowid_column)
