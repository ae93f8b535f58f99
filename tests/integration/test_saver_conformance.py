"""LangGraph's own conformance suite for savers, all of it."""

from collections.abc import AsyncGenerator
from pathlib import Path

from services.agent.checkpoint.saver import Saver
from services.agent.checkpoint.tables import SCHEMA
from shared.storage.database import Database

PASSED = {
    "put": 17,
    "put_writes": 10,
    "get_tuple": 10,
    "list": 16,
    "delete_thread": 5,
    "delete_for_runs": 7,
    "copy_thread": 8,
    "prune": 8,
}


async def test_the_saver_passes_all_of_langgraphs_conformance_suite(tmp_path: Path) -> None:
    from langgraph.checkpoint.conformance import checkpointer_test, validate

    files = iter(range(100))

    @checkpointer_test(name="Saver")
    async def fresh_saver() -> AsyncGenerator[Saver, None]:
        database = Database(tmp_path / f"{next(files)}.db", SCHEMA)
        database.open()
        yield Saver(database)
        database.close()

    report = (await validate(fresh_saver)).to_dict()
    assert report["conformance_level"] == "FULL"
    found = {name: (result["tests_passed"], result["failures"]) for name, result in report["results"].items()}
    assert found == {name: (number, []) for name, number in PASSED.items()}
