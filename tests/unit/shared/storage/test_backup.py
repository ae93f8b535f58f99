"""Backups: of one moment while others write, proved, bounded, and never at the cost of the older ones."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import apsw
import pytest

from shared.errors import NotFound, StorageCorrupt, StorageUnavailable
from shared.storage.backup import Backup, BackupFolder, copy_backup
from shared.storage.database import Database, Schema, Work
from shared.storage.integrity import Damage

SCHEMA = Schema("pairs", ("CREATE TABLE debits (n INTEGER, text TEXT); CREATE TABLE credits (n INTEGER, text TEXT);",))
PAGE = 4096


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Database]:
    database = Database(tmp_path / "pairs.db", SCHEMA)
    database.open()
    yield database
    database.close()


@pytest.fixture
def folder(tmp_path: Path) -> BackupFolder:
    return BackupFolder(tmp_path / "backups", "pairs", keep=3)


def add(number: int, size: int = 200) -> Work[None]:
    """One transaction that no reader may see half of."""

    def work(connection: apsw.Connection) -> None:
        for table in ("debits", "credits"):
            connection.execute(f"INSERT INTO {table} VALUES (?, ?)", (number, "x" * size))

    return work


def counts(connection: apsw.Connection) -> dict[str, int]:
    return {table: int(connection.execute(f"SELECT count(*) FROM {table}").get) for table in ("debits", "credits")}


def counted(backup: Backup) -> dict[str, int]:
    with closing(apsw.Connection(str(backup.path), flags=apsw.SQLITE_OPEN_READONLY)) as connection:
        return counts(connection)


def test_a_backup_is_one_proved_file_with_a_manifest(store: Database, folder: BackupFolder) -> None:
    store.submit(add(1)).result()
    backup = folder.create(store.path, counts)
    assert folder.backups() == [backup]
    assert backup.facts == counted(backup) == {"debits": 1, "credits": 1}
    assert folder.problems(backup) == []
    assert {path.suffix for path in folder.folder.iterdir() if path.name != ".lock"} == {".db", ".json"}


def test_it_has_one_moment_while_others_write_and_they_go_on(store: Database, folder: BackupFolder) -> None:
    for number in range(50):
        store.submit(add(number, size=40_000)).result()
    written_meanwhile = []

    def write_between_pages(stage: str, done: int, total: int) -> None:
        if stage == "copying" and done < total:
            written_meanwhile.append(store.submit(add(1_000)).result(5))

    backup = folder.create(store.path, counts, write_between_pages)
    assert written_meanwhile
    assert counted(backup) == backup.facts == {"debits": 50, "credits": 50}
    assert store.submit(counts).result()["debits"] == 50 + len(written_meanwhile)


def test_a_backup_during_a_storm_of_writes_is_consistent(store: Database, folder: BackupFolder) -> None:
    stop = threading.Event()

    def storm() -> None:
        while not stop.is_set():
            store.submit(add(1, size=2_000)).result()

    writer = threading.Thread(target=storm)
    writer.start()
    try:
        backups = [folder.create(store.path, counts) for _ in range(3)]
    finally:
        stop.set()
        writer.join()
    for backup in backups:
        assert counted(backup) == backup.facts and backup.facts["debits"] == backup.facts["credits"]


def test_only_so_many_are_kept_the_newest(store: Database, folder: BackupFolder) -> None:
    made = [folder.create(store.path, counts) for _ in range(5)]
    assert folder.backups() == made[:1:-1]
    assert len(list(folder.folder.glob("*.db"))) == len(list(folder.folder.glob("*.json"))) == 3


def test_a_heartbeat_says_how_many_there_are_and_which_is_the_newest(store: Database, folder: BackupFolder) -> None:
    assert folder.counters == {"backup.count": 0}
    folder.create(store.path, counts)
    newest = folder.create(store.path, counts)
    assert folder.counters == {
        "backup.count": 2,
        "backup.newest_unix_s": newest.time_ns / 1e9,
        "backup.newest_bytes": newest.size_bytes,
    }


def test_what_a_killed_process_left_is_removed(store: Database, folder: BackupFolder) -> None:
    kept = folder.create(store.path, counts)
    for name in ("pairs-1.partial", "pairs-1.partial-journal", "pairs-2.db"):
        (folder.folder / name).write_text("half")
    made = folder.create(store.path, counts)
    assert {path.stem for path in folder.folder.glob("pairs-*")} == {kept.name, made.name}


def test_a_flipped_bit_a_cut_and_a_missing_file_are_told(store: Database, folder: BackupFolder) -> None:
    store.submit(add(1)).result()
    flipped, cut, missing = (folder.create(store.path, counts) for _ in range(3))
    content = bytearray(flipped.path.read_bytes())
    content[-300] ^= 4
    flipped.path.write_bytes(content)
    cut.path.write_bytes(cut.path.read_bytes()[:PAGE])
    missing.path.unlink()
    assert folder.problems(flipped) == folder.problems(cut) == ["its content is not what was written (sha256)"]
    assert folder.problems(missing) == ["its file is not there"]
    assert folder.newest_good() is None


def test_the_newest_good_one_is_found_behind_a_bad_one(store: Database, folder: BackupFolder) -> None:
    good, bad = folder.create(store.path, counts), folder.create(store.path, counts)
    bad.path.write_bytes(b"")
    assert folder.newest_good() == good


def test_values_that_are_damaged_already_are_noted_and_later_ones_told(store: Database, tmp_path: Path) -> None:
    damage = [Damage("run", "r1", "event 3 is damaged")]
    folder = BackupFolder(tmp_path / "backups", "pairs", 3, (lambda _: iter(damage),))
    backup = folder.create(store.path, counts)
    assert folder.backups() == [backup]
    assert backup.damage == ("run r1: event 3 is damaged",)
    assert folder.problems(backup) == []
    damage.append(Damage("thread", "t1", "chunk is damaged"))
    assert folder.problems(backup) == ["thread t1: chunk is damaged"]


def test_a_damaged_store_is_not_backed_up_and_older_backups_stay(store: Database, folder: BackupFolder) -> None:
    store.submit(add(1, 50_000)).result()
    good = [folder.create(store.path, counts) for _ in range(3)][::-1]
    store.close()
    with store.path.open("rb+") as file:
        file.seek(3 * PAGE)
        file.write(b"\xff" * PAGE)
    with pytest.raises(StorageCorrupt):
        folder.create(store.path, counts)
    assert folder.backups() == good


def test_a_backup_that_does_not_exist_is_not_found(store: Database, folder: BackupFolder) -> None:
    with pytest.raises(NotFound, match="There is no backup in"):
        folder.find("")
    backup = folder.create(store.path, counts)
    assert folder.find("") == folder.find(backup.name) == folder.find(backup.path.name) == backup
    with pytest.raises(NotFound, match=r"no backup '\.\./\.\./etc/passwd'"):
        folder.find("../../etc/passwd")


@pytest.mark.parametrize("content", ["{", "[]", '{"path": "x"}', ""])
def test_a_manifest_that_cannot_be_read_does_not_count(store: Database, folder: BackupFolder, content: str) -> None:
    backup = folder.create(store.path, counts)
    (folder.folder / "pairs-0.json").write_text(content)
    assert folder.backups() == [backup]


def test_copying_a_damaged_backup_is_refused(store: Database, folder: BackupFolder, tmp_path: Path) -> None:
    backup = folder.create(store.path, counts)
    content = backup.path.read_bytes()
    backup.path.write_bytes(content[:-1] + b"!")
    with pytest.raises(StorageCorrupt, match=backup.name):
        copy_backup(backup, tmp_path / "copy.db")
    assert not (tmp_path / "copy.db").exists()


LIMITED = """
import resource
import sys
from pathlib import Path
from shared.errors import StorageUnavailable
from shared.storage.backup import BackupFolder
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
try:
    BackupFolder(Path(sys.argv[2]), "pairs", 3).create(Path(sys.argv[1]), lambda connection: {})
except StorageUnavailable:
    print("refused")
"""


def test_without_room_it_is_refused_and_the_older_ones_stay(store: Database, folder: BackupFolder) -> None:
    store.submit(add(1)).result()
    backup = folder.create(store.path, counts)
    store.submit(add(2, 500_000)).result()
    store.close()
    command = [sys.executable, "-c", LIMITED, str(store.path), str(folder.folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout == "refused\n", done.stderr
    assert folder.backups() == [backup] and folder.problems(backup) == []


def test_a_store_that_is_not_there_is_unavailable(folder: BackupFolder, tmp_path: Path) -> None:
    with pytest.raises(StorageUnavailable):
        folder.create(tmp_path / "absent.db", counts)
    assert not (tmp_path / "absent.db").exists()


def test_the_manifest_says_what_the_file_is(store: Database, folder: BackupFolder) -> None:
    backup = folder.create(store.path, counts)
    row = json.loads(backup.path.with_suffix(".json").read_text())
    assert row == {
        "path": backup.path.name,
        "time_ns": backup.time_ns,
        "size_bytes": backup.path.stat().st_size,
        "sha256": backup.sha256,
        "facts": {"debits": 0, "credits": 0},
        "damage": [],
    }
