"""One database takes the place of another, wherever the process dies."""

import contextlib
from pathlib import Path

import pytest

from shared.errors import StorageCorrupt
from shared.storage.replacement import finish_replacement, replace_database


class Died(Exception):
    """The process is gone."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    for suffix in ("", "-wal", "-shm"):
        (tmp_path / f"a.db{suffix}").write_text(f"old{suffix}")
    (tmp_path / "new.db").write_text("new")
    return tmp_path / "a.db"


def contents(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}


DONE = {"a.db": "new", "aside.db": "old", "aside.db-wal": "old-wal", "aside.db-shm": "old-shm"}


def test_the_old_one_is_kept_with_its_log(path: Path) -> None:
    replace_database(path, path.with_name("new.db"), path.with_name("aside.db"))
    assert contents(path.parent) == DONE
    assert not finish_replacement(path)


@pytest.mark.parametrize("steps", range(6))
def test_what_died_half_way_is_finished_at_the_next_start(
    path: Path, monkeypatch: pytest.MonkeyPatch, steps: int
) -> None:
    left = iter(range(steps))
    rename, replace = Path.rename, Path.replace

    def dying_rename(source: Path, target: Path) -> Path:
        return step() or rename(source, target)

    def dying_replace(source: Path, target: Path) -> Path:
        return replace(source, target) if source.suffix == ".partial" else step() or replace(source, target)

    def step() -> None:
        if next(left, None) is None:
            raise Died

    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", dying_rename)
        patched.setattr(Path, "replace", dying_replace)
        with contextlib.suppress(Died):
            replace_database(path, path.with_name("new.db"), path.with_name("aside.db"))
    finish_replacement(path)
    assert contents(path.parent) == DONE


def test_a_plan_whose_last_step_was_done_moves_nothing(path: Path) -> None:
    replace_database(path, path.with_name("new.db"), path.with_name("aside.db"))
    plan = path.with_name("a.db.replacing.json")
    plan.write_text('{"replacement": "new.db", "aside": "aside2.db"}')
    assert finish_replacement(path)
    assert contents(path.parent) == DONE


def test_a_plan_that_cannot_be_read_is_told_and_nothing_is_moved(path: Path) -> None:
    path.with_name("a.db.replacing.json").write_text("{")
    before = contents(path.parent)
    with pytest.raises(StorageCorrupt, match="cannot be read"):
        finish_replacement(path)
    assert contents(path.parent) == before
