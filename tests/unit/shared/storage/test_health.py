"""New work is refused while the disk cannot take it; failures are counted."""

import shutil
from pathlib import Path

import pytest

from shared.errors import StorageUnavailable
from shared.storage.health import StorageHealth


def test_work_begins_while_there_is_room(tmp_path: Path) -> None:
    StorageHealth(tmp_path / "agent.db", 1).admit()


def test_a_disk_that_is_almost_full_takes_no_new_work(tmp_path: Path) -> None:
    health = StorageHealth(tmp_path / "agent.db", shutil.disk_usage(tmp_path).total * 2)
    with pytest.raises(StorageUnavailable, match="MB left") as caught:
        health.admit()
    assert "waystation runs prune" in caught.value.remedy


def test_after_a_failed_write_new_work_waits_until_writing_works(tmp_path: Path) -> None:
    folder = tmp_path / "agent"
    health = StorageHealth(folder / "agent.db", 0)
    health.note(StorageUnavailable("The disk is full."))
    with pytest.raises(StorageUnavailable):  # the folder is gone
        health.admit()
    folder.mkdir()
    health.admit()
    assert health.write_errors == 1
    assert list(folder.iterdir()) == []


def test_a_folder_that_cannot_be_written_takes_no_new_work(tmp_path: Path) -> None:
    folder = Path("/proc/self/fdinfo")  # nobody, root included, makes files there
    health = StorageHealth(folder / "agent.db", 0)
    health.admit()
    health.note(StorageUnavailable("read-only"))
    with pytest.raises(StorageUnavailable):
        health.admit()
