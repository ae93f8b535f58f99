"""Shapes of graphs: what changed is named, and a migration lets a waiting run go on under new names."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from langgraph.graph import END, START, StateGraph
from typing_extensions import TypedDict

from services.agent.care.agent_store import SCHEMAS
from services.agent.checkpoint.saver import Saver
from services.agent.graph_shape import GraphMigration, GraphShape, find_migration, shape_of
from shared.errors import GraphChanged
from shared.storage.database import Database

OLD = GraphShape(("draft", "publish"), {"text": "str", "note": "str"}, kinds={"draft": "call", "publish": "ask"})


def test_the_same_shape_needs_nothing_and_survives_storing() -> None:
    again = GraphShape.from_json(OLD.to_json())
    assert again == OLD and again.digest == OLD.digest
    assert find_migration(OLD, again) is None


def test_what_is_added_does_no_harm() -> None:
    keys = {"text": "str", "note": "str", "score": "int"}
    grown = GraphShape(("check", "draft", "publish"), keys, kinds={**OLD.kinds, "check": "judge"})
    assert grown.digest != OLD.digest
    assert find_migration(OLD, grown) is None


@pytest.mark.parametrize(
    ("new", "change"),
    [
        (GraphShape(("publish",), OLD.keys), "node draft is gone"),
        (GraphShape(OLD.nodes, {"text": "str"}), "state key note is gone"),
        (GraphShape(OLD.nodes, {"text": "int", "note": "str"}), "state key text was str and is int"),
        (GraphShape(OLD.nodes, OLD.keys, 99), "the state's version was 2 and is 99"),
        (
            GraphShape(OLD.nodes, OLD.keys, kinds={"draft": "judge", "publish": "ask"}),
            "node draft was a step of kind call and is one of kind judge",
        ),
    ],
)
def test_a_change_that_a_run_would_feel_is_named(new: GraphShape, change: str) -> None:
    with pytest.raises(GraphChanged, match=change) as caught:
        find_migration(OLD, new)
    assert caught.value.metadata["changes"] == change


def test_a_shape_that_was_stored_without_kinds_keeps_its_digest_and_fits_any() -> None:
    stored = '{"keys": {"text": "str"}, "nodes": ["draft"], "state_version": 2}'
    old = GraphShape.from_json(stored)
    assert old.to_json() == stored
    assert find_migration(old, GraphShape(old.nodes, old.keys, 2, {"draft": "judge"})) is None


class OldState(TypedDict, total=False):
    text: str
    note: str


class NewState(TypedDict, total=False):
    text: str
    remark: str


def graph_of(schema: Any, nodes: list[tuple[str, Callable[..., Any]]], saver: Saver, stop_before: str = "") -> Any:
    graph: Any = StateGraph(schema)
    for name, node in nodes:
        graph.add_node(name, node)
    names = [START, *(name for name, _ in nodes), END]
    for source, target in pairwise(names):
        graph.add_edge(source, target)
    return graph.compile(checkpointer=saver, interrupt_before=[stop_before] if stop_before else None)


async def test_a_migrated_checkpoint_goes_on_at_the_renamed_node_with_the_renamed_key(tmp_path: Path) -> None:
    database = Database(tmp_path / "agent.db", *SCHEMAS)
    database.open()
    saver = Saver(database)
    old = graph_of(
        OldState,
        [("draft", lambda state: {"note": "kept"}), ("publish", lambda state: {"text": "never"})],
        saver,
        stop_before="publish",
    )
    config: Any = {"configurable": {"thread_id": "t", "checkpoint_ns": ""}}
    await old.ainvoke({"text": "hello"}, config)
    new = graph_of(
        NewState,
        [
            ("draft", lambda state: {"text": "never"}),
            ("print", lambda state: {"text": f"{state['text']} {state['remark']}"}),
        ],
        saver,
    )
    migration = GraphMigration(
        shape_of(old).digest, shape_of(new).digest, nodes={"publish": "print"}, keys={"note": "remark"}
    )
    assert find_migration(shape_of(old), shape_of(new), [migration]) is migration
    found = await saver.aget_tuple(config)
    assert found
    changed: Any = {**migration.apply(found.checkpoint), "id": "1f0fffff-ffff-6fff-8000-000000000000"}
    config["configurable"]["checkpoint_id"] = found.checkpoint["id"]
    await saver.aput(config, changed, {**found.metadata, "source": "update"}, changed["channel_versions"])
    result = await new.ainvoke(None, {"configurable": {"thread_id": "t"}})
    database.close()
    assert result == {"text": "hello kept", "remark": "kept"}
