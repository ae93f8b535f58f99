"""A foreign SQLite file is asked, never changed, and no query outgrows its bounds."""

import os
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import apsw
import pytest

from shared.errors import Forbidden, InvalidInput, LimitExceeded, StorageCorrupt, StorageUnavailable
from shared.storage.readonly import QueryLimits, describe_tables, query

COUNTING = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c)"


def run(connection: apsw.Connection, sql: str) -> None:
    for _ in connection.execute(sql):
        pass


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A closed database in WAL mode: the kind that SQLite itself would put files beside."""
    path = tmp_path / "people.db"
    connection = apsw.Connection(str(path))
    run(connection, "PRAGMA journal_mode = wal; CREATE TABLE person (id INTEGER PRIMARY KEY, name TEXT)")
    run(connection, "INSERT INTO person VALUES (1, 'Ann'), (2, 'Bob'); CREATE VIEW names AS SELECT name FROM person")
    connection.close()
    return path


@pytest.fixture
def writer(path: Path) -> Iterator[apsw.Connection]:
    """Somebody who has the database open."""
    connection = apsw.Connection(str(path))
    yield connection
    connection.close()


def test_a_select_gives_columns_and_rows(path: Path) -> None:
    result = query(path, "SELECT id, name FROM person ORDER BY id DESC")
    assert result.columns == ("id", "name")
    assert result.rows == ((2, "Bob"), (1, "Ann"))
    assert result.is_complete


def test_nothing_is_left_beside_the_file(path: Path) -> None:
    before = path.read_bytes()
    query(path, "SELECT * FROM person")
    assert os.listdir(path.parent) == ["people.db"]
    assert path.read_bytes() == before


def test_what_a_writer_committed_to_the_wal_is_seen(path: Path, writer: apsw.Connection) -> None:
    run(writer, "INSERT INTO person VALUES (3, 'Cy')")
    assert query(path, "SELECT count(*) FROM person").rows == ((3,),)


@pytest.mark.parametrize(
    "sql",
    [
        "DROP TABLE person",
        "DELETE FROM person",
        "UPDATE person SET name = 'x'",
        "CREATE TEMP TABLE t (x)",
        "ATTACH '/tmp/other.db' AS other",
        "VACUUM INTO '/tmp/copy.db'",
        "PRAGMA journal_mode = delete",
        "PRAGMA writable_schema = 1",
        "BEGIN IMMEDIATE",
        "SELECT load_extension('x')",
        "SELECT 1; DROP TABLE person",
    ],
)
def test_anything_but_reading_is_forbidden(path: Path, sql: str) -> None:
    before = path.read_bytes()
    with pytest.raises(Forbidden):
        query(path, sql)
    assert path.read_bytes() == before


@pytest.mark.parametrize("sql", ["SELEC", "SELECT * FROM nobody", "SELECT zeroblob(100000000)", "SELECT ?"])
def test_sql_that_cannot_be_run_says_what_sqlite_says(path: Path, sql: str) -> None:
    with pytest.raises(InvalidInput, match="SQLite says"):
        query(path, sql)


def test_an_endless_query_is_stopped(path: Path) -> None:
    with pytest.raises(LimitExceeded, match="longer than"):
        query(path, f"{COUNTING} SELECT count(*) FROM c", QueryLimits(time=timedelta(milliseconds=50)))


def test_a_query_that_hoards_memory_is_stopped(path: Path) -> None:
    with pytest.raises(LimitExceeded, match="memory"):
        query(path, f"{COUNTING} SELECT randomblob(100000) FROM c ORDER BY 1", QueryLimits(memory_bytes=8_000_000))


def test_rows_and_cells_are_bounded(path: Path) -> None:
    result = query(path, f"{COUNTING} SELECT x, printf('%.*c', 900, 'y'), x'00ff', 9e999 FROM c", QueryLimits(rows=3))
    assert len(result.rows) == 3
    assert not result.is_complete
    assert result.rows[0] == (1, "y" * 500 + "… (900 characters)", "<2 bytes>", "inf")


def test_tables_and_views_are_described(path: Path) -> None:
    assert describe_tables(path) == "names(name)\nperson(id, name)"


def test_a_result_without_rows_is_empty(path: Path) -> None:
    assert query(path, "SELECT * FROM person WHERE id > 99").rows == ()


def test_what_is_no_database_is_corrupt(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("not a database, and longer than a header would be" * 3)
    with pytest.raises(StorageCorrupt):
        query(tmp_path / "text", "SELECT 1 FROM sqlite_schema")


def test_an_absent_file_is_unavailable_and_not_created(tmp_path: Path) -> None:
    with pytest.raises(StorageUnavailable):
        query(tmp_path / "absent.db", "SELECT 1")
    assert os.listdir(tmp_path) == []


def test_a_link_is_not_followed(path: Path) -> None:
    link = path.with_name("link.db")
    link.symlink_to(path)
    with pytest.raises(StorageUnavailable):
        query(link, "SELECT 1")


def test_a_locked_file_is_unavailable(tmp_path: Path) -> None:
    path = tmp_path / "locked.db"
    holder = apsw.Connection(str(path))
    run(holder, "CREATE TABLE t (x); PRAGMA locking_mode = exclusive; BEGIN EXCLUSIVE")
    with pytest.raises(StorageUnavailable, match="locked"):
        query(path, "SELECT * FROM t", QueryLimits(time=timedelta(milliseconds=100)))
    holder.close()
