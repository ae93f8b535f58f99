"""Each incident is stored and told once, and the newest are kept."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from services.control.incidents import incident_store
from services.control.incidents.incident import Incident
from services.control.incidents.incident_store import IncidentStore
from services.control.incidents.schema import SCHEMA
from shared.errors import InvalidInput
from shared.storage.database import Database


@pytest.fixture
def told() -> list[Incident]:
    return []


@pytest.fixture
async def store(tmp_path: Path, told: list[Incident]) -> AsyncIterator[IncidentStore]:
    database = Database(tmp_path / "control.db", SCHEMA, synchronous="NORMAL")
    database.open()
    yield IncidentStore(database, told.append)
    database.close()


def lost(key: str, run_id: str = "") -> Incident:
    return Incident("run_lost", key, 5, "<script>", "agent", run_id=run_id)


async def test_the_same_incident_is_stored_and_told_once(store: IncidentStore, told: list[Incident]) -> None:
    await store.add([lost("a"), lost("b")])
    await store.add([lost("a"), Incident("process_back", "c", 6, "back", "rag", "i1", gap_ms=2.5)])
    found, token = await store.page()
    assert [(each.key, each.gap_ms) for each in found] == [("c", 2.5), ("b", None), ("a", None)]
    assert (told, token) == (found[::-1], "")


async def test_pages_follow_each_other_and_name_a_run(store: IncidentStore) -> None:
    await store.add([lost(str(number), f"r{number % 2}") for number in range(5)])
    first, token = await store.page(page_size=3)
    second, end = await store.page(page_size=3, page_token=token)
    assert ([each.key for each in (*first, *second)], end) == (["4", "3", "2", "1", "0"], "")
    assert [each.key for each in (await store.page("r1"))[0]] == ["3", "1"]


async def test_the_oldest_go_when_there_are_too_many(store: IncidentStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(incident_store, "MAX_INCIDENTS", 3)
    for number in range(6):
        await store.add([lost(str(number))])
    assert [each.key for each in (await store.page())[0]] == ["5", "4", "3"]


@pytest.mark.parametrize("size, token", [(501, ""), (-1, ""), (0, "x"), (0, "-1"), (0, "9" * 19)])
async def test_bad_pages_are_refused(store: IncidentStore, size: int, token: str) -> None:
    with pytest.raises(InvalidInput):
        await store.page("", size, token)
