"""What a check of a file finds, and that it changes nothing."""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import apsw
import pytest

from shared.errors import StorageCorrupt, StorageUnavailable
from shared.storage.database import Database, Schema
from shared.storage.integrity import check_file, header_problem

SCHEMA = Schema(
    "notes", ("CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT NOT NULL); CREATE INDEX by_text ON notes (text)",)
)
PAGE = 4096


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A store with some rows, closed."""
    store = Database(tmp_path / "notes.db", SCHEMA)
    store.open()
    rows = [(f"note {number}".ljust(80, "."),) for number in range(500)]
    store.submit(lambda connection: connection.executemany("INSERT INTO notes (text) VALUES (?)", rows)).result()
    store.close()
    return store.path


def change(path: Path, position: int, content: bytes) -> None:
    with path.open("rb+") as file:
        file.seek(position)
        file.write(content)


def root(path: Path, name: str) -> int:
    with closing(apsw.Connection(str(path))) as connection:
        return int(connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = ?", (name,)).get)


@pytest.mark.parametrize("is_full", [False, True])
def test_a_whole_file_is_good_and_stays_as_it_is(path: Path, is_full: bool) -> None:
    before = path.read_bytes()
    verdict = check_file(path, is_full=is_full)
    assert verdict.is_good and verdict.is_finished
    assert path.read_bytes() == before


def test_a_log_is_not_merged_by_looking(path: Path) -> None:
    store = Database(path, SCHEMA)
    store.open()
    store.submit(lambda connection: connection.execute("DELETE FROM notes WHERE id = 1")).result()
    copy = path.with_name("copy.db")
    for suffix in ("", "-wal"):
        copy.with_name(copy.name + suffix).write_bytes(path.with_name(path.name + suffix).read_bytes())
    store.close()
    log = copy.with_name("copy.db-wal").read_bytes()
    assert check_file(copy, is_full=True).is_good
    assert copy.with_name("copy.db-wal").read_bytes() == log


def test_a_damaged_page_is_found(path: Path) -> None:
    change(path, (root(path, "notes") - 1) * PAGE, bytes(PAGE))
    assert not check_file(path, is_full=False).is_good


def test_an_index_that_contradicts_its_table_is_found_by_the_full_check_only(path: Path) -> None:
    with closing(apsw.Connection(str(path))) as connection:
        sql = "SELECT pageno FROM dbstat WHERE name = 'by_text' AND pagetype = 'leaf'"
        pages = [int(page) for (page,) in connection.execute(sql)]
    content = path.read_bytes()
    for start in ((page - 1) * PAGE for page in pages):  # stale copies on other leaves included
        change(path, start, content[start : start + PAGE].replace(b"note 77.", b"note 77!"))
    assert check_file(path, is_full=False).is_good
    assert not check_file(path, is_full=True).is_good


def test_a_check_that_takes_too_long_is_left_unfinished(path: Path) -> None:
    verdict = check_file(path, is_full=True, timeout_s=-1)
    assert not verdict.is_finished and verdict.is_good


def test_a_header_without_our_mark_over_our_tables_is_damage(path: Path) -> None:
    change(path, 68, bytes(4))
    assert check_file(path, is_full=True).problems == ("the header lost its mark",)


def test_the_database_of_another_program_is_foreign(tmp_path: Path) -> None:
    with closing(apsw.Connection(str(tmp_path / "theirs.db"))) as connection:
        connection.execute("CREATE TABLE theirs (x)")
    with pytest.raises(StorageCorrupt, match="another program"):
        check_file(tmp_path / "theirs.db", is_full=True)


def test_a_file_that_is_not_there_is_unavailable_and_not_made(tmp_path: Path) -> None:
    with pytest.raises(StorageUnavailable):
        check_file(tmp_path / "absent.db", is_full=True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("position", "content", "problem"),
    [
        (0, b"sqlite", "does not begin like a database"),
        (16, b"\x0f\xff", "pages of 4095 bytes"),
        (18, b"\x03", "format 3/2"),
        (19, b"\x00", "format 2/0"),
    ],
)
def test_a_smashed_header_is_named(path: Path, position: int, content: bytes, problem: str) -> None:
    assert header_problem(path) == ""
    change(path, position, content)
    assert problem in header_problem(path)


@pytest.mark.parametrize("truncate", [lambda path: path.write_bytes(b""), lambda path: path.write_bytes(b"SQLite")])
def test_a_file_too_short_for_a_header_is_named(path: Path, truncate: Callable[[Path], int]) -> None:
    truncate(path)
    assert header_problem(path)
