"""The database: group commit, and what it refuses without harming it."""

import asyncio
import errno
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import apsw
import pytest

from shared.errors import LimitExceeded, StorageCorrupt, StorageUnavailable
from shared.storage import database
from shared.storage.database import Database, Schema

NOTES = "CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE)"
SCHEMA = Schema("notes", (NOTES,))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "notes.db"


@pytest.fixture
def notes(path: Path) -> Iterator[Database]:
    store = Database(path, SCHEMA)
    store.open()
    yield store
    store.close()


def add(text: str | None) -> database.Work[int]:
    def work(connection: apsw.Connection) -> int:
        connection.execute("INSERT INTO notes (text) VALUES (?)", (text,))
        return connection.last_insert_rowid()

    return work


def texts(connection: apsw.Connection) -> list[str]:
    return [row[0] for row in connection.execute("SELECT text FROM notes ORDER BY id")]


def hold(release: threading.Event) -> database.Work[bool]:
    """Keep the writer busy until `release` is set."""
    return lambda connection: release.wait(5)


async def test_what_was_written_is_read_and_survives_closing(notes: Database, path: Path) -> None:
    assert await notes.write(add("one")) == 1
    assert await notes.read(texts) == ["one"]
    notes.close()
    again = Database(path, SCHEMA)
    again.open()
    assert await again.read(texts) == ["one"]
    again.close()


async def test_a_failing_write_gets_its_own_error_and_spoils_no_other(notes: Database) -> None:
    release = threading.Event()
    holding = notes.submit(hold(release))  # the next three share one transaction

    def half_done(connection: apsw.Connection) -> None:
        add("half")(connection)
        raise RuntimeError("own mistake")

    writes = [notes.write(work) for work in (add("one"), half_done, add(None), add("two"))]
    waiting = asyncio.gather(*writes, return_exceptions=True)
    await asyncio.sleep(0)  # all four are queued
    release.set()
    first, own, null, second = await waiting
    assert holding.result() and (first, second) == (1, 2)
    assert isinstance(own, RuntimeError)
    assert isinstance(null, apsw.ConstraintError)
    assert await notes.read(texts) == ["one", "two"]


async def test_waiting_writes_share_one_commit(notes: Database) -> None:
    commits: list[int] = []
    release = threading.Event()
    notes.submit(lambda connection: connection.set_commit_hook(lambda: bool(commits.append(1))))
    holding = notes.submit(hold(release))
    await asyncio.sleep(0)
    waiting = [notes.submit(add(str(number))) for number in range(100)]
    release.set()
    assert await asyncio.gather(*map(asyncio.wrap_future, waiting)) == list(range(1, 101))
    assert holding.done() and len(commits) <= 3


async def test_the_queue_is_bounded(notes: Database, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(database, "MAX_QUEUED_WRITES", 2)
    store = Database(tmp_path / "small.db", SCHEMA)
    store.open()
    release, is_held = threading.Event(), threading.Event()
    store.submit(lambda connection: is_held.set() or release.wait(5))
    assert is_held.wait(5)
    accepted = [store.submit(add("one")), store.submit(add("two"))]
    with pytest.raises(LimitExceeded, match=r"2 writes wait for small\.db"):
        store.submit(add("three"))
    release.set()
    assert [await asyncio.wrap_future(future) for future in accepted] == [1, 2]
    store.close()


async def test_closing_commits_what_waits(path: Path) -> None:
    store = Database(path, SCHEMA)
    store.open()
    futures = [store.submit(add(str(number))) for number in range(20)]
    store.close()
    assert [future.result(0) for future in futures] == list(range(1, 21))


async def test_a_closed_store_refuses_and_closing_twice_is_no_mistake(notes: Database) -> None:
    notes.close()
    notes.close()
    with pytest.raises(StorageUnavailable, match=r"notes\.db is closed"):
        await notes.write(add("late"))
    with pytest.raises(StorageUnavailable, match="closed"):
        await notes.read(texts)


async def test_a_full_disk_fails_the_batch_and_nothing_of_it_stays(notes: Database) -> None:
    await notes.write(add("before"))
    await notes.write(lambda connection: connection.pragma("max_page_count", 1))
    with pytest.raises(StorageUnavailable, match="is full") as caught:
        await notes.write(add("x" * 100_000))
    assert caught.value.remedy == "Free some space."
    await notes.write(lambda connection: connection.pragma("max_page_count", 1_000_000))
    await notes.write(add("after"))
    assert await notes.read(texts) == ["before", "after"]


async def test_a_full_disk_undoes_the_writes_of_its_batch_and_says_so_to_each(notes: Database) -> None:
    await notes.write(lambda connection: connection.pragma("max_page_count", 4))
    release = threading.Event()
    notes.submit(hold(release))
    waiting = [notes.submit(add(text)) for text in ("before", "x" * 100_000, "after")]
    release.set()
    outcomes = await asyncio.gather(*map(asyncio.wrap_future, waiting), return_exceptions=True)
    stored = await notes.read(texts)
    assert [isinstance(item, StorageUnavailable) for item in outcomes] == [True, True, True]
    assert stored == []


async def test_a_commit_that_fails_is_told_and_the_next_one_goes_on(notes: Database) -> None:
    failures = [ZeroDivisionError("hook")]

    def fail_once() -> bool:
        if failures:
            raise failures.pop()
        return False

    def work(connection: apsw.Connection) -> None:
        connection.set_commit_hook(fail_once)
        add("lost")(connection)

    with pytest.raises(StorageUnavailable, match="hook"):
        await notes.write(work)
    await notes.write(add("kept"))
    assert await notes.read(texts) == ["kept"]


async def test_an_error_of_a_read_is_ours(notes: Database) -> None:
    with pytest.raises(StorageUnavailable, match="no such table"):
        await notes.read(lambda connection: connection.execute("SELECT * FROM absent").get)


def test_a_database_of_another_program_is_refused_and_left_as_it_was(path: Path) -> None:
    path.parent.mkdir()
    with closing(apsw.Connection(str(path))) as foreign:
        foreign.execute("CREATE TABLE theirs (x)")
    before = path.read_bytes()
    with pytest.raises(StorageCorrupt, match="another program") as caught:
        Database(path, SCHEMA).open()
    assert "WAYSTATION_HOME" in caught.value.remedy
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("content", [b"no database at all " * 100, b"SQLite format 3\0" + b"\xff" * 4080])
def test_a_file_that_is_no_database_is_refused_and_left_as_it_was(path: Path, content: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(StorageCorrupt, match="damaged or not a database"):
        Database(path, SCHEMA).open()
    assert path.read_bytes() == content


def test_an_empty_file_becomes_ours(path: Path) -> None:
    path.parent.mkdir()
    path.touch()
    store = Database(path, SCHEMA)
    store.open()
    store.close()
    assert path.stat().st_size > 0


def test_a_folder_that_cannot_be_made_is_named_with_a_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(StorageUnavailable, match=r"notes\.db cannot be used") as caught:
        Database(tmp_path / "file" / "notes.db", SCHEMA).open()
    assert "Make the folder writable" in caught.value.remedy


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_told_from_a_folder_that_cannot_be_written(path: Path, number: int) -> None:
    assert "is full" in database.storage_error(OSError(number, "no room"), path).message
    assert "cannot be used" in database.storage_error(OSError(errno.EROFS, "read-only"), path).message


def test_a_folder_in_the_place_of_the_file_is_refused(path: Path) -> None:
    path.mkdir(parents=True)
    with pytest.raises(StorageUnavailable, match="cannot be used"):
        Database(path, SCHEMA).open()


async def test_a_newer_schema_is_refused_and_an_older_one_is_brought_up(notes: Database, path: Path) -> None:
    await notes.write(add("one"))
    notes.close()
    newer = Database(path, Schema("notes", (NOTES, "ALTER TABLE notes ADD COLUMN mark TEXT; CREATE TABLE tags (name)")))
    newer.open()
    assert await newer.read(lambda connection: connection.execute("SELECT text, mark FROM notes").get) == ("one", None)
    newer.close()
    with pytest.raises(StorageUnavailable, match=r"newer Waystation \(notes, version 2\)"):
        Database(path, SCHEMA).open()


def test_a_migration_that_fails_changes_nothing(path: Path) -> None:
    with pytest.raises(StorageUnavailable, match="syntax error"):
        Database(path, Schema("notes", (NOTES, "CREATE TABLE more (x); NONSENSE"))).open()
    with closing(apsw.Connection(str(path))) as connection:
        assert connection.pragma("user_version") == 0
        assert connection.execute("SELECT count(*) FROM sqlite_schema").get == 0


def test_a_file_left_by_a_crash_is_opened(notes: Database, path: Path, tmp_path: Path) -> None:
    notes.submit(add("one")).result(5)
    copy = tmp_path / "copy.db"
    for suffix in ("", "-wal"):  # what a crash leaves: the log is not merged, the index of it is gone
        copy.with_name(copy.name + suffix).write_bytes(path.with_name(path.name + suffix).read_bytes())
    again = Database(copy, SCHEMA)
    again.open()
    assert again.submit(texts).result(5) == ["one"]
    again.close()


async def test_a_write_that_can_wait_shares_the_commit_of_the_next(notes: Database) -> None:
    commits: list[int] = []
    await notes.write(lambda connection: connection.set_commit_hook(lambda: bool(commits.append(notes.batch_size))))
    waiting = asyncio.ensure_future(notes.write(add("first"), can_wait=True))
    await asyncio.sleep(0)  # it is queued
    assert await notes.write(add("second")) == 2
    assert await waiting == 1
    assert commits == [1, 2]  # the first made the hook


async def test_a_write_that_can_wait_does_not_wait_for_ever(notes: Database) -> None:
    assert await asyncio.wait_for(notes.write(add("alone"), can_wait=True), 20) == 1


async def test_closing_commits_the_writes_that_can_wait(path: Path) -> None:
    store = Database(path, SCHEMA)
    store.open()
    waiting = asyncio.ensure_future(store.write(add("last"), can_wait=True))
    await asyncio.sleep(0)
    store.close()
    assert await waiting == 1


async def test_a_write_whose_caller_has_left_is_not_made(notes: Database) -> None:
    release = threading.Event()
    holding = asyncio.ensure_future(notes.write(hold(release)))
    left = asyncio.ensure_future(notes.write(add("left")))
    await asyncio.sleep(0)
    left.cancel()
    release.set()
    assert await holding
    await notes.write(add("stayed"))
    assert await notes.read(texts) == ["stayed"]


async def test_a_loop_that_is_gone_does_not_stop_the_writer(notes: Database) -> None:
    release, is_held = threading.Event(), threading.Event()

    async def leave() -> None:
        unfinished = asyncio.ensure_future(notes.write(lambda connection: is_held.set() or release.wait(5)))
        await asyncio.to_thread(is_held.wait, 5)
        unfinished.cancel()

    await asyncio.to_thread(asyncio.run, leave())
    release.set()
    await notes.write(add("after"))
    assert await notes.read(texts) == ["after"]


async def test_a_single_statement_that_fails_spoils_no_other(notes: Database) -> None:
    with pytest.raises(apsw.ConstraintError):
        await notes.write(add(None), is_one_statement=True)
    assert await notes.write(add("one"), is_one_statement=True) == 1
    assert await notes.read(texts) == ["one"]


def test_a_migration_may_be_a_function_and_take_over_the_tables_of_another_program(path: Path) -> None:
    path.parent.mkdir()
    with closing(apsw.Connection(str(path))) as foreign:
        foreign.execute("CREATE TABLE theirs (x, more); INSERT INTO theirs VALUES ('kept', 1)")

    def take_over(connection: apsw.Connection) -> None:
        connection.execute("INSERT INTO notes (text) SELECT x FROM theirs; DROP TABLE theirs")

    store = Database(path, Schema("notes", (NOTES, take_over), adopts={"theirs": frozenset({"x"})}))
    store.open()
    assert store.read_here(texts) == ["kept"]
    store.close()


@pytest.mark.parametrize("tables", ["CREATE TABLE theirs (y)", "CREATE TABLE theirs (x); CREATE TABLE others (x)"])
def test_a_file_with_other_columns_or_tables_is_not_taken_over(path: Path, tables: str) -> None:
    path.parent.mkdir()
    with closing(apsw.Connection(str(path))) as foreign:
        foreign.execute(tables)
    before = path.read_bytes()
    with pytest.raises(StorageCorrupt, match="another program"):
        Database(path, Schema("notes", (NOTES,), adopts={"theirs": frozenset({"x"})})).open()
    assert path.read_bytes() == before
