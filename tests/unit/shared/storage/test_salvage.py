"""Rows come back from pages that SQLite no longer reads."""

import random
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import apsw
import pytest

from shared.storage.database import Database, Schema
from shared.storage.salvage import copy_damaged, salvage

PAGE = 4096
SCHEMA = Schema(
    "things",
    (
        """
        CREATE TABLE things (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, weight REAL, body BLOB);
        CREATE TABLE events (run_id TEXT NOT NULL, sequence INTEGER NOT NULL, event BLOB NOT NULL,
            PRIMARY KEY (run_id, sequence)) WITHOUT ROWID;
        CREATE TABLE defaults (number INTEGER NOT NULL);
        INSERT INTO defaults VALUES (7);
        """,
    ),
)
TABLES = ("things", "events", "defaults")
Rows = dict[str, set[object]]


def rows(path: Path) -> Rows:
    with closing(apsw.Connection(str(path))) as connection:
        return {table: set(connection.execute(f"SELECT * FROM {table}")) for table in TABLES}


def fill(connection: apsw.Connection) -> None:
    chance = random.Random(1)
    for number in range(300):
        values = (
            number * 3 - 5,
            f"thing {number}",
            chance.choice((None, 0.5, 2.0)),
            chance.randbytes(number % 7 * 900),
        )
        connection.execute("INSERT INTO things VALUES (?, ?, ?, ?)", values)
    for number in range(2_000):
        connection.execute(
            "INSERT INTO events VALUES (?, ?, ?)",
            (
                f"run {number % 50}",
                number + 4_096 * 2 ** chance.randrange(36),
                chance.randbytes(chance.choice((20, 90, 6_000))),
            ),
        )
    connection.execute("DELETE FROM things WHERE id % 4 = 0")  # leaves free pages and stale cells


@pytest.fixture
def path(tmp_path: Path) -> Path:
    store = Database(tmp_path / "things.db", SCHEMA)
    store.open()
    store.submit(fill).result()
    store.close()
    return store.path


def overwrite(path: Path, page: int, content: bytes) -> None:
    with path.open("rb+") as file:
        file.seek((page - 1) * PAGE)
        file.write(content)


def roots(path: Path) -> dict[str, int]:
    with closing(apsw.Connection(str(path))) as connection:
        return dict(connection.execute("SELECT name, rootpage FROM sqlite_schema"))  # type: ignore[arg-type]


def test_a_whole_file_comes_over_whole(path: Path, tmp_path: Path) -> None:
    truth = rows(path)
    found = salvage(path, tmp_path / "new.db", (SCHEMA,))
    assert rows(tmp_path / "new.db") == truth
    assert found.rows == {table: len(truth[table]) for table in TABLES}
    assert found.skipped == 0


@pytest.mark.parametrize("name", ["things", "events", "sqlite_autoindex_things_1"])
@pytest.mark.parametrize(
    "make", [lambda: bytes(PAGE), lambda: random.Random(2).randbytes(PAGE)], ids=["zeros", "noise"]
)
def test_below_a_damaged_root_almost_everything_comes_back(
    path: Path, tmp_path: Path, name: str, make: Callable[[], bytes]
) -> None:
    truth = rows(path)
    overwrite(path, roots(path)[name], make())
    salvage(path, tmp_path / "new.db", (SCHEMA,))
    found = rows(tmp_path / "new.db")
    for table in TABLES:
        assert found[table] <= truth[table]
        # an inner page of a table without rowid has some rows of its own
        assert len(truth[table] - found[table]) <= 20


def test_without_its_first_page_a_file_gives_its_rows_by_their_shape(path: Path, tmp_path: Path) -> None:
    truth = rows(path)
    overwrite(path, 1, bytes(PAGE))
    salvage(path, tmp_path / "new.db", (SCHEMA,))
    found = rows(tmp_path / "new.db")
    assert found["things"] >= truth["things"] and found["events"] == truth["events"]


def test_a_damaged_leaf_costs_its_own_rows_only(path: Path, tmp_path: Path) -> None:
    truth = rows(path)
    with closing(apsw.Connection(str(path))) as connection:
        sql = "SELECT pageno, ncell FROM dbstat WHERE name = 'events' AND pagetype = 'leaf' AND ncell > 1 LIMIT 1"
        page, cells = connection.execute(sql).get  # type: ignore[misc]
    overwrite(path, page, bytes(PAGE))
    found = salvage(path, tmp_path / "new.db", (SCHEMA,))
    assert len(truth["events"] - rows(tmp_path / "new.db")["events"]) == cells
    assert found.skipped == 1


def test_rows_that_only_an_index_knows_are_named(path: Path, tmp_path: Path) -> None:
    truth = rows(path)
    with closing(apsw.Connection(str(path))) as connection:
        sql = "SELECT pageno FROM dbstat WHERE name = 'things' AND pagetype = 'leaf' AND ncell > 1 LIMIT 1"
        page = int(connection.execute(sql).get)  # type: ignore[arg-type]
    overwrite(path, page, bytes(PAGE))
    found = salvage(path, tmp_path / "new.db", (SCHEMA,))
    lost = truth["things"] - rows(tmp_path / "new.db")["things"]
    assert [row.table for row in found.missing] == ["things"] * len(lost)
    assert {row.known["name"] for row in found.missing} == {name for _, name, *_ in lost}  # type: ignore[misc]


def test_a_table_of_which_nothing_is_left_has_its_first_rows(path: Path, tmp_path: Path) -> None:
    overwrite(path, roots(path)["defaults"], bytes(PAGE))
    salvage(path, tmp_path / "new.db", (SCHEMA,))
    assert rows(tmp_path / "new.db")["defaults"] == {(7,)}


def test_rows_written_before_a_column_was_added_come_over(path: Path, tmp_path: Path) -> None:
    newer = Schema("things", (*SCHEMA.migrations, "ALTER TABLE things ADD COLUMN colour TEXT NOT NULL DEFAULT 'grey'"))
    salvage(path, tmp_path / "new.db", (newer,))
    with closing(apsw.Connection(str(tmp_path / "new.db"))) as connection:
        assert connection.execute("SELECT DISTINCT colour FROM things").fetchall() == [("grey",)]


def test_a_log_is_part_of_the_file(path: Path, tmp_path: Path) -> None:
    store = Database(path, SCHEMA)
    store.open()
    store.submit(lambda connection: connection.execute("INSERT INTO things VALUES (9999, 'late', 1.0, x'00')")).result()
    copy = tmp_path / "copy.db"
    copy_damaged(path, copy)
    store.close()
    overwrite(copy, 1, b"smashed" * 14)
    salvage(copy, tmp_path / "new.db", (SCHEMA,))
    assert (9999, "late", 1.0, b"\0") in rows(tmp_path / "new.db")["things"]


@pytest.mark.parametrize("seed", range(12))
def test_any_noise_is_survived_and_no_row_is_invented(path: Path, tmp_path: Path, seed: int) -> None:
    """Rows of other content may only come from the noise itself: here from the pages that it was written to."""
    truth, chance = rows(path), random.Random(seed)
    pages = chance.sample(range(1, path.stat().st_size // PAGE + 1), 5)
    for page in pages:
        overwrite(
            path, page, chance.choice((bytes(PAGE), chance.randbytes(PAGE), b"\x0d\0\0\xff\xff" + bytes(PAGE - 5)))
        )
    salvage(path, tmp_path / "new.db", (SCHEMA,))
    found = rows(tmp_path / "new.db")
    assert sum(len(found[table] - truth[table]) for table in TABLES) <= len(pages)
    assert sum(map(len, found.values())) > sum(map(len, truth.values())) / 2


@pytest.mark.parametrize("content", [b"", b"x", b"no database " * 1_000, bytes(10 * PAGE)])
def test_what_is_no_database_gives_nothing(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "text").write_bytes(content)
    found = salvage(tmp_path / "text", tmp_path / "new.db", (SCHEMA,))
    assert found.total == 0
