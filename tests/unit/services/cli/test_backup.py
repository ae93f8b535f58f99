"""`waystation backup`: what it prints, its JSON, and its exit codes."""

import json
from pathlib import Path
from typing import Any

import apsw
import pytest
from typer.testing import CliRunner

from services.agent.care.agent_store import store_care
from services.agent.care.store_care import StoreCare
from services.agent.care.upkeep import lock_path
from shared.storage.file_lock import locked
from tests.unit.services.agent.care.conftest import add_run
from tests.unit.services.cli.conftest import Waystation


@pytest.fixture
async def care(home: Path) -> StoreCare:
    """An agent's store with one run, closed."""
    care = store_care(home, 24)
    database = care.open()
    await add_run(database, "run-1", 3)
    database.close()
    return care


async def add_later(care: StoreCare) -> None:
    database = care.open()
    await add_run(database, "run-2", 4)
    database.close()


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-50] ^= 1
    path.write_bytes(content)


def answer(waystation: Waystation, *words: str) -> Any:
    result = waystation("backup", *words, "--json")
    return json.loads(result.stdout)


def test_a_backup_is_made_and_listed(waystation: Waystation, care: StoreCare) -> None:
    made = answer(waystation, "create")
    listed = answer(waystation, "list")
    assert listed["backups"] == [made]
    assert made["facts"]["runs"] == 1 and Path(made["path"]).stat().st_size == made["size_bytes"]
    assert listed["counts"] == {"backup": 1}


def test_the_list_shows_age_and_size(waystation: Waystation, care: StoreCare) -> None:
    backup = care.create_backup()
    shown = waystation("backup", "list").stdout
    assert backup.name in shown and f"{backup.size_bytes / 1e6:.1f} MB" in shown and " s " in shown


def test_one_is_made_while_the_agent_runs(waystation: Waystation, care: StoreCare) -> None:
    database = care.open()
    with locked(lock_path(care.path.parent)):
        assert answer(waystation, "create")["facts"]["events"] == 3
    database.close()


def test_without_a_store_there_is_nothing_to_back_up(waystation: Waystation, home: Path) -> None:
    result = waystation("backup", "create")
    assert result.exit_code == 1
    assert "There is no" in result.stderr and "when it is started first" in result.stderr
    assert not home.exists()


def test_no_backups_are_no_failure(waystation: Waystation, home: Path) -> None:
    assert waystation("backup", "list").exit_code == waystation("backup", "verify").exit_code == 0
    assert answer(waystation, "list") == {"backups": [], "events": [], "counts": {}}


def test_a_damaged_backup_is_told_with_exit_code_1(waystation: Waystation, care: StoreCare) -> None:
    good, bad = care.create_backup(), care.create_backup()
    flip_a_bit(bad.path)
    result = waystation("backup", "verify")
    assert result.exit_code == 1
    assert f"{bad.name}  damaged: its content is not what was written" in result.stdout
    assert f"{good.name}  good" in result.stdout
    assert waystation("backup", "verify", good.name).exit_code == 0


def test_a_backup_that_does_not_exist_is_not_found(waystation: Waystation, care: StoreCare) -> None:
    for verb in ("verify", "restore"):
        assert answer(waystation, verb, "agent-1999")["error"]["reason"] == "NOT_FOUND"


async def test_a_restore_says_what_is_lost_and_where_the_old_one_is(waystation: Waystation, care: StoreCare) -> None:
    backup = care.create_backup()
    await add_later(care)
    result = waystation("backup", "restore")
    assert f"Backup {backup.name} is the store now, as generation 2." in result.stdout
    assert "run-2: 4 events were there, nothing is kept" in result.stdout
    assert len(list(care.path.parent.glob("agent.db.replaced-*Z"))) == 1
    again = answer(waystation, "restore", backup.name)
    assert (again["generation"], again["lost"]) == (3, [])


def test_a_restore_is_refused_while_the_agent_runs(waystation: Waystation, care: StoreCare) -> None:
    care.create_backup()
    before = care.path.read_bytes()
    with locked(lock_path(care.path.parent)):
        for verb in ("restore", "accept"):
            error = answer(waystation, verb)["error"]
            assert error["reason"] == "STORAGE_UNAVAILABLE" and "is in use by process" in error["message"]
    assert care.path.read_bytes() == before


def test_a_store_that_is_gone_is_accepted_as_an_empty_one(waystation: Waystation, care: StoreCare) -> None:
    care.path.unlink()
    assert "as generation 2" in waystation("backup", "accept").stdout
    with apsw.Connection(str(care.path)) as connection:
        assert connection.execute("SELECT count(*) FROM runs").get == 0
    connection.close()


def test_the_doctor_says_what_happened_last(waystation: Waystation, care: StoreCare) -> None:
    def store_check() -> dict[str, str]:
        checks = json.loads(waystation("doctor", "--json").stdout)
        return next(check for check in checks if check["name"] == "agent store")  # type: ignore[no-any-return]

    backup = care.create_backup()
    assert store_check()["verdict"] == "ok"
    care.restore(backup.name)
    check = store_check()
    assert check["verdict"] == "warning" and f"from {backup.name}" in check["found"] and "1 restored" in check["found"]


def test_a_care_that_dies_is_an_internal_error_with_its_command(
    waystation: Waystation, care: StoreCare, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.executable", "/bin/false")
    error = answer(waystation, "list")["error"]
    assert error["reason"] == "INTERNAL" and "services.agent.care list" in error["remedy"]


def test_help_names_every_verb() -> None:
    from services.cli.__main__ import app

    shown = CliRunner().invoke(app, ["backup", "--help"]).stdout
    assert all(verb in shown for verb in ("create", "list", "verify", "restore", "accept"))
