"""Marks and backups while the store is used, and one process for each folder."""

import asyncio
import json
import os

import pytest

from services.agent.care.agent_store import SCHEMAS
from services.agent.care.store_care import StoreCare
from services.agent.care.upkeep import cared_for, lock_path
from shared.errors import StorageUnavailable
from shared.storage.file_lock import holder
from tests.unit.services.agent.care.conftest import add_run, contents_of, opened

TICK_S = 0.01
HOUR_S = 3600.0


async def until(condition: "asyncio.Event") -> None:
    await asyncio.wait_for(condition.wait(), 10)


def marked(care: StoreCare) -> dict[str, int]:
    return json.loads(care.path.with_name("agent.db.mark.json").read_text())["unfinished"]  # type: ignore[no-any-return]


async def test_a_clean_stop_leaves_a_backup_of_everything(care: StoreCare) -> None:
    async with cared_for(care, HOUR_S) as database:
        await add_run(database, "run-1", 3)
    (backup,) = care.backups.backups()
    assert backup.facts["runs"] == 1 and not care.backups.problems(backup)


async def test_a_stop_without_changes_makes_no_further_backup(care: StoreCare) -> None:
    for _ in range(3):
        async with cared_for(care, HOUR_S):
            pass
    assert len(care.backups.backups()) == 1


async def test_an_interval_of_nothing_makes_no_backups(care: StoreCare) -> None:
    async with cared_for(care, 0) as database:
        await add_run(database, "run-1", 3)
    assert care.backups.backups() == []


async def test_backups_and_marks_follow_what_happens(care: StoreCare, monkeypatch: pytest.MonkeyPatch) -> None:
    is_marked, is_backed_up = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    copy_mark, create = care.copy_mark, care.create_backup
    monkeypatch.setattr(care, "copy_mark", lambda mark: (copy_mark(mark), loop.call_soon_threadsafe(is_marked.set)))
    monkeypatch.setattr(care, "create_backup", lambda: (create(), loop.call_soon_threadsafe(is_backed_up.set)))
    async with cared_for(care, 0.001, TICK_S) as database:
        await until(is_backed_up)
        is_marked.clear()
        is_backed_up.clear()
        await add_run(database, "run-1", 3, is_finished=False)
        await until(is_marked)
        await until(is_backed_up)
        assert marked(care) == {"run-1": 3}
        assert care.backups.backups()[0].facts["unfinished"] == {"run-1": 3}


async def test_a_backup_that_fails_stops_nothing(care: StoreCare) -> None:
    async with cared_for(care, 0.001, TICK_S) as database:
        await add_run(database, "run-1", 3)
        care.backups.folder.joinpath(".lock").unlink(missing_ok=True)
        care.backups.folder.joinpath(".lock").mkdir(parents=True)  # nothing can be written there
        await add_run(database, "run-2", 3)
    assert care.journal.counts()["backup_failed"]
    database = opened(care)
    assert (await database.read(contents_of)).keys() == {"run-1", "run-2"}
    database.close()


async def test_a_second_process_on_the_folder_is_refused_and_told_who_has_it(
    care: StoreCare, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.agent.care.upkeep.LOCK_PATIENCE_S", 0.0)
    async with cared_for(care, 0) as database:
        with pytest.raises(StorageUnavailable, match=f"is in use by process {os.getpid()}"):
            async with cared_for(StoreCare(care.path, SCHEMAS), 0):
                pytest.fail("two at once")
        await add_run(database, "run-1", 3)
    assert holder(lock_path(care.path.parent)) == 0


async def test_the_lock_is_free_again_after_a_start_that_failed(care: StoreCare) -> None:
    care.path.parent.mkdir()
    care.path.write_bytes(b"something else " * 1_000)
    for _ in range(2):
        with pytest.raises(Exception, match="not a database"):
            async with cared_for(care, 0):
                pytest.fail("opened")
