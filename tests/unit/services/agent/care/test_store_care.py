"""A damaged agent.db is never served wrong: it is salvaged, restored or refused, and what is lost is said."""

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import apsw
import pytest

from services.agent.care import store_care
from services.agent.care.agent_store import SCHEMAS
from services.agent.care.contents import LostRun
from services.agent.care.store_care import StoreCare
from services.agent.checkpoint.ownership import claim, generation
from services.agent.run_rows import load_run
from shared.errors import CommitsMissing, NotFound, StorageCorrupt, WaystationError
from shared.storage.database import Database
from tests.unit.services.agent.care.conftest import Contents, Damager, add_run, contents_of, damage, opened

PAGE = 4096
RUNS = 40


async def filled(care: StoreCare, runs: int = RUNS) -> Contents:
    """A store with finished runs, some with values that take several pages, and one that has not ended; closed."""
    database = care.open()
    for number in range(runs):
        await add_run(database, f"run-{number:02}", 5 + number % 7, size=6_000 if number % 10 == 0 else 150)
    await add_run(database, "run-open", 4, is_finished=False)
    contents = await database.read(contents_of)
    database.close()
    return contents


def roots(path: Path) -> dict[str, int]:
    connection = apsw.Connection(str(path))
    found = dict(connection.execute("SELECT name, rootpage FROM sqlite_schema"))
    connection.close()
    return found  # type: ignore[return-value]


def aside(care: StoreCare, why: str = "corrupt") -> list[Path]:
    return sorted(care.path.parent.glob(f"agent.db.{why}-*Z"))


def last(care: StoreCare, kind: str) -> dict[str, object]:
    return [entry for entry in care.journal.entries() if entry.kind == kind][-1].facts


def zeros(page: int) -> Damager:
    def change(content: bytearray) -> None:
        content[(page - 1) * PAGE : page * PAGE] = bytes(PAGE)

    return change


def noise(page: int) -> Damager:
    def change(content: bytearray) -> None:
        content[(page - 1) * PAGE : page * PAGE] = random.Random(page).randbytes(PAGE)

    return change


def flips(page: int) -> Damager:
    def change(content: bytearray) -> None:
        for position in random.Random(page).sample(range(PAGE), 3):
            content[(page - 1) * PAGE + position] ^= 1 << position % 8

    return change


def other_page(page: int) -> Damager:
    def change(content: bytearray) -> None:
        other = page % (len(content) // PAGE)
        content[(page - 1) * PAGE : page * PAGE] = content[other * PAGE : (other + 1) * PAGE]

    return change


@pytest.mark.parametrize("damaging", [zeros, noise, flips, other_page], ids=lambda damaging: str(damaging.__name__))
async def test_after_any_damaged_page_what_is_served_is_right_or_the_loss_is_said(
    care: StoreCare, damaging: Callable[[int], Damager], tmp_path: Path
) -> None:
    truth = await filled(care)
    names = roots(care.path)
    whole = tmp_path / "whole"
    shutil.copytree(care.path.parent, whole)
    page_count = care.path.stat().st_size // PAGE
    chosen = {1, names["runs"], names["events"], names["store"], names["runs_by_time"], page_count}
    chosen |= set(random.Random(3).sample(range(1, page_count + 1), 30))
    opened_pages = 0
    for page in sorted(chosen):
        shutil.rmtree(care.path.parent)
        shutil.copytree(whole, care.path.parent)
        damage(care.path, damaging(page))
        try:
            database = opened(care)
        except (StorageCorrupt, CommitsMissing):
            continue  # refused: nothing wrong can be served
        await assert_right(database, care, truth)
        database.close()
        opened_pages += 1
    assert opened_pages > len(chosen) / 2


async def assert_right(database: Database, care: StoreCare, truth: Contents) -> None:
    try:
        served = await database.read(contents_of)
    except WaystationError as error:
        assert isinstance(error, StorageCorrupt)  # a value that is damaged says so when it is read
        return
    assert all(served[run_id] == truth[run_id] for run_id in served)
    missing = truth.keys() - served.keys()
    if missing:
        lost = last(care, "salvaged")["lost"]
        assert missing <= {run["run_id"] for run in lost}  # type: ignore[attr-defined]


async def test_a_whole_file_is_opened_as_it_is(care: StoreCare) -> None:
    truth = await filled(care, 3)
    database = opened(care)
    assert await database.read(contents_of) == truth
    assert await database.read(generation) == 1
    database.close()
    assert not care.journal.entries()


async def test_a_damaged_index_costs_nothing(care: StoreCare) -> None:
    truth = await filled(care)
    damage(care.path, noise(roots(care.path)["runs_by_time"]))
    database = opened(care)
    assert await database.read(contents_of) == truth
    assert last(care, "salvaged")["lost"] == []
    assert await database.read(generation) == 2
    database.close()


async def test_the_damaged_file_is_kept_as_it_was(care: StoreCare) -> None:
    await filled(care)
    damage(care.path, noise(roots(care.path)["events"]))
    before = care.path.read_bytes()
    opened(care).close()
    (kept,) = aside(care)
    assert kept.read_bytes() == before
    others = {path.name for path in care.path.parent.glob("agent.db.*")} - {"agent.db.mark.json"}
    assert all(name.startswith(kept.name) for name in others)


async def test_a_smashed_header_costs_nothing(care: StoreCare) -> None:
    truth = await filled(care)

    def smash(content: bytearray) -> None:
        content[:100] = random.Random(1).randbytes(100)

    damage(care.path, smash)
    database = opened(care)
    assert await database.read(contents_of) == truth
    database.close()


async def test_an_ended_run_with_a_hole_is_kept_and_the_hole_says_so(care: StoreCare) -> None:
    truth = await filled(care)
    connection = apsw.Connection(str(care.path))
    connection.execute("DELETE FROM events WHERE run_id = 'run-07' AND sequence = 2")
    root = roots(care.path)["runs_by_time"]
    connection.close()
    damage(care.path, noise(root))
    database = opened(care)
    assert last(care, "salvaged")["damaged"] == ["run-07"]
    with pytest.raises(StorageCorrupt):
        await database.read(contents_of)
    row = await database.read(lambda connection: load_run(connection, "run-07"))
    assert row.SerializeToString() == truth["run-07"][0]
    database.close()


async def test_what_is_damaged_or_gone_comes_from_the_backup(care: StoreCare) -> None:
    truth = await filled(care)
    care.create_backup()
    connection = apsw.Connection(str(care.path))
    connection.execute("DELETE FROM events WHERE run_id = 'run-07' AND sequence = 2")
    connection.execute("DELETE FROM runs WHERE run_id = 'run-08'")
    connection.execute("DELETE FROM runs WHERE run_id = 'run-09'")
    connection.execute("INSERT INTO deletions (run_id) VALUES ('run-09')")
    connection.execute("DELETE FROM events WHERE run_id = 'run-09'")
    root = roots(care.path)["runs_by_time"]
    connection.close()
    damage(care.path, noise(root))
    database = opened(care)
    assert await database.read(contents_of) == {run_id: truth[run_id] for run_id in truth.keys() - {"run-09"}}
    assert (last(care, "salvaged")["damaged"], last(care, "salvaged")["lost"]) == ([], [])
    database.close()


async def test_a_header_that_lost_its_mark_is_ours_still(care: StoreCare) -> None:
    truth = await filled(care, 3)

    def unmark(content: bytearray) -> None:
        content[68:72] = bytes(4)

    damage(care.path, unmark)
    database = opened(care)
    assert await database.read(contents_of) == truth
    database.close()


async def test_commits_in_the_log_of_a_damaged_file_are_salvaged(care: StoreCare) -> None:
    await filled(care)
    database = opened(care)
    await add_run(database, "run-late", 3)
    truth = await database.read(contents_of)
    put_back = as_killed(care.path)
    database.close()
    root = roots(care.path)["unfinished_runs"]
    put_back()
    damage(care.path, zeros(root))
    database = opened(care)
    assert await database.read(contents_of) == truth
    database.close()


def as_killed(path: Path) -> Callable[[], None]:
    """Take file and log as a kill would leave them now; the result puts them back."""
    copies = {suffix: path.with_name(path.name + suffix).read_bytes() for suffix in ("", "-wal")}

    def put_back() -> None:
        for suffix, content in copies.items():
            path.with_name(path.name + suffix).write_bytes(content)

    return put_back


async def test_a_truncated_file_comes_back_from_the_backup_when_that_has_more(care: StoreCare) -> None:
    truth = await filled(care)
    care.create_backup()
    size = care.path.stat().st_size
    damage(care.path, lambda content: content.__delitem__(slice(size // 2 // PAGE * PAGE, None)))
    database = opened(care)
    assert await database.read(contents_of) == truth
    database.close()


@pytest.mark.parametrize("size", [0, 3 * PAGE])
async def test_an_empty_file_is_restored_and_the_lost_runs_are_named(care: StoreCare, size: int) -> None:
    await filled(care, 3)
    backup = care.create_backup()
    database = opened(care)
    await add_run(database, "run-new", 6, is_finished=False)
    await add_run(database, "run-newer", 2, is_finished=False)
    care.copy_mark(database.submit(store_care.marks.advance).result())
    database.close()
    care.path.write_bytes(bytes(size))
    database = opened(care)
    repair = last(care, "restored")
    assert repair["source"] == backup.name
    assert repair["lost"] == [
        {"run_id": "run-new", "known_sequence": 6, "kept_sequence": 0},
        {"run_id": "run-newer", "known_sequence": 2, "kept_sequence": 0},
    ]
    assert await database.read(generation) == 2
    database.close()


async def test_without_backup_or_anything_to_salvage_the_start_is_refused_and_the_file_stays(care: StoreCare) -> None:
    await filled(care, 3)
    care.path.write_bytes(bytes(5 * PAGE))
    for _ in range(2):  # the second start has no other answer
        with pytest.raises(StorageCorrupt, match="no good backup") as caught:
            opened(care)
    assert "nothing was changed" in caught.value.remedy
    assert care.path.read_bytes() == bytes(5 * PAGE)


@pytest.mark.parametrize("content", [b"%PDF-1.7 something else " * 900, b"\x7fELF" + bytes(9_000)])
async def test_a_file_of_another_kind_is_refused_and_not_repaired(care: StoreCare, content: bytes) -> None:
    await filled(care, 3)
    care.create_backup()
    care.path.write_bytes(content)
    with pytest.raises(StorageCorrupt, match="not a database of Waystation"):
        opened(care)
    assert care.path.read_bytes() == content
    assert not aside(care)


async def test_a_database_of_another_program_is_refused_and_not_repaired(care: StoreCare) -> None:
    care.path.parent.mkdir()
    foreign = apsw.Connection(str(care.path))
    foreign.execute("CREATE TABLE theirs (x)")
    foreign.close()
    before = care.path.read_bytes()
    with pytest.raises(StorageCorrupt, match="another program"):
        care.open()
    assert care.path.read_bytes() == before


async def test_an_older_copy_put_back_is_noticed(care: StoreCare, tmp_path: Path) -> None:
    await filled(care, 3)
    shutil.copy(care.path, tmp_path / "old.db")
    opened(care).close()
    shutil.copy(tmp_path / "old.db", care.path)
    with pytest.raises(CommitsMissing, match="an older copy was put back") as caught:
        opened(care)
    assert "waystation backup restore" in caught.value.remedy and "waystation backup accept" in caught.value.remedy
    assert care.path.read_bytes() == (tmp_path / "old.db").read_bytes()


async def test_a_log_that_was_cut_is_noticed(care: StoreCare) -> None:
    await filled(care, 3)
    database = opened(care)
    content = care.path.read_bytes()
    database.close()
    care.path.write_bytes(content)  # the file without the log in which the newest mark is
    with pytest.raises(CommitsMissing, match="its log was cut"):
        opened(care)


async def test_a_file_that_vanished_is_noticed(care: StoreCare) -> None:
    await filled(care, 3)
    care.path.unlink()
    with pytest.raises(CommitsMissing, match="is gone"):
        opened(care)


async def test_an_older_copy_can_be_accepted_as_a_new_generation(care: StoreCare, tmp_path: Path) -> None:
    truth = await filled(care, 3)
    shutil.copy(care.path, tmp_path / "old.db")
    opened(care).close()
    shutil.copy(tmp_path / "old.db", care.path)
    assert care.accept() == 2
    database = opened(care)
    assert await database.read(contents_of) == truth
    database.close()


async def test_what_never_was_cannot_be_accepted(care: StoreCare) -> None:
    with pytest.raises(NotFound, match=r"There is no .*agent\.db"):
        care.accept()


async def test_a_damaged_file_cannot_be_accepted(care: StoreCare) -> None:
    await filled(care, 3)
    damage(care.path, noise(roots(care.path)["events"]))
    with pytest.raises(StorageCorrupt, match="is damaged"):
        care.accept()


async def test_a_vanished_file_can_be_accepted_as_an_empty_store(care: StoreCare) -> None:
    await filled(care, 3)
    care.path.unlink()
    assert care.accept() == 2
    database = opened(care)
    assert await database.read(contents_of) == {}
    database.close()


async def test_a_restore_is_a_new_generation_and_makes_older_epochs_stale(care: StoreCare) -> None:
    truth = await filled(care, 3)
    backup = care.create_backup()
    database = opened(care)
    await add_run(database, "run-new", 2)
    old_epoch = await database.write(lambda connection: claim(connection, "thread", "me", 2, 1))
    database.close()
    repair = care.restore("")
    assert (repair.source, repair.generation) == (backup.name, 2)
    assert repair.lost == [LostRun("run-new", 2, 0)]
    assert aside(care, "replaced") == [repair.aside]
    database = opened(care)
    assert await database.read(contents_of) == truth
    assert await database.write(lambda connection: claim(connection, "thread", "me", 2, 1)) > old_epoch
    database.close()
    assert care.restore(backup.name).generation == 3


async def test_a_damaged_backup_is_not_restored_and_the_one_before_is_found(care: StoreCare) -> None:
    await filled(care, 3)
    good = care.create_backup()
    bad = care.create_backup()
    damage(bad.path, flips(3))
    with pytest.raises(StorageCorrupt, match=bad.name):
        care.restore("")
    assert care.backups.newest_good() == good


async def test_a_backup_that_does_not_exist_is_not_found(care: StoreCare) -> None:
    with pytest.raises(NotFound, match="There is no backup in"):
        care.restore("")


async def test_no_backup_is_made_of_a_damaged_file_and_the_old_ones_stay(care: StoreCare) -> None:
    await filled(care)
    good = care.create_backup()
    damage(care.path, noise(roots(care.path)["events"]))
    for _ in range(4):
        with pytest.raises(StorageCorrupt):
            care.create_backup()
    assert care.backups.backups() == [good]
    assert care.journal.counts()["backup_failed"] == 4


async def test_a_repair_that_died_half_way_is_finished(care: StoreCare, monkeypatch: pytest.MonkeyPatch) -> None:
    truth = await filled(care, 3)
    care.create_backup()

    def die(path: Path) -> bool:
        raise KeyboardInterrupt

    monkeypatch.setattr("shared.storage.replacement.finish_replacement", die)
    with pytest.raises(KeyboardInterrupt):
        care.restore("")
    monkeypatch.undo()
    database = opened(care)
    assert await database.read(contents_of) == truth
    assert await database.read(generation) == 2
    database.close()


async def test_a_mark_file_that_cannot_be_read_is_no_reason_to_refuse(care: StoreCare) -> None:
    truth = await filled(care, 3)
    care.path.with_name("agent.db.mark.json").write_text("{")
    database = opened(care)
    assert await database.read(contents_of) == truth
    database.close()
    assert json.loads(care.path.with_name("agent.db.mark.json").read_text())["generation"] == 1


async def test_a_file_that_is_older_than_marks_is_noticed_too(care: StoreCare) -> None:
    await filled(care, 3)
    care.path.unlink()
    older = Database(care.path, *SCHEMAS)
    older.open()
    older.close()
    with pytest.raises(CommitsMissing):
        opened(care)


async def test_checkpoints_that_are_gone_are_named_by_their_thread(care: StoreCare) -> None:
    truth = await filled(care)
    connection = apsw.Connection(str(care.path))
    sql = (
        "SELECT pageno, ncell FROM dbstat WHERE name = 'thread_checkpoints' AND pagetype = 'leaf' AND ncell > 1 LIMIT 1"
    )
    row: tuple[int, int] = connection.execute(sql).get  # type: ignore[assignment]
    connection.close()
    damage(care.path, noise(row[0]))
    database = opened(care)
    assert await database.read(contents_of) == truth
    lost: dict[str, int] = last(care, "salvaged")["lost_checkpoints"]  # type: ignore[assignment]
    assert sum(lost.values()) == row[1] and all(thread_id.startswith("thread-run-") for thread_id in lost)
    database.close()


async def test_a_file_that_lost_every_run_is_refused(care: StoreCare) -> None:
    await filled(care)
    connection = apsw.Connection(str(care.path))
    pages = connection.execute("SELECT pageno FROM dbstat WHERE name IN ('runs', 'events')").fetchall()
    connection.close()
    for (page,) in pages:
        damage(care.path, zeros(int(page)))
    with pytest.raises(StorageCorrupt, match="nothing could be salvaged"):
        opened(care)


def flip_in(text: bytes) -> Damager:
    def change(content: bytearray) -> None:
        content[:] = content.replace(text, bytes((text[0] ^ 1,)) + text[1:])  # stale copies on other pages, too

    return change


async def test_a_flipped_bit_in_an_ended_run_is_told_and_stops_no_backup(care: StoreCare) -> None:
    await filled(care, 3)
    damage(care.path, flip_in(b"run-01-2 "))
    database = opened(care)
    with pytest.raises(StorageCorrupt):
        await database.read(contents_of)
    backup = care.create_backup()
    assert backup.damage == ("run run-01: event 2 is damaged",)
    assert care.backups.newest_good() == backup
    assert last(care, "damaged_values")["damage"] == list(backup.damage)
    assert not aside(care)
    database.close()


async def test_a_run_that_was_to_go_on_and_is_damaged_is_put_aside_and_told(care: StoreCare) -> None:
    truth = await filled(care, 3)
    damage(care.path, flip_in(b"run-open-2 "))
    database = opened(care)
    assert await database.read(contents_of) == {run_id: truth[run_id] for run_id in truth.keys() - {"run-open"}}
    assert last(care, "salvaged")["lost"] == [{"run_id": "run-open", "known_sequence": 4, "kept_sequence": 0}]
    assert len(aside(care)) == 1
    database.close()
