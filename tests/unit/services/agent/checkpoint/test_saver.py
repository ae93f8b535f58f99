"""The saver: what it refuses, what it notices, and that nothing of a refused write stays."""

import asyncio
import time
from dataclasses import dataclass
from typing import Any

import apsw
import pytest
from langgraph.types import Interrupt

from services.agent.checkpoint import ownership
from services.agent.checkpoint import saver as saver_module
from services.agent.checkpoint.saver import Saver
from shared.errors import AlreadyExists, InvalidInput, LimitExceeded, NotFound, StaleEpoch, StorageCorrupt
from shared.storage.database import Database
from tests.unit.services.agent.checkpoint.conftest import Thread

LONG = [{"role": "user", "content": f"{number:04}" * 200} for number in range(200)]


def claimed(database: Database, owner: str) -> int:
    now = time.time_ns()
    return database.submit(lambda connection: ownership.claim(connection, "t", owner, now, now)).result()


def flip(database: Database, table: str, column: str, at: int) -> None:
    """Change one bit of a stored value."""

    def work(connection: apsw.Connection) -> None:
        data = bytearray(connection.execute(f"SELECT {column} FROM {table}").get)
        data[at] ^= 1
        connection.execute(f"UPDATE {table} SET {column} = ?", (bytes(data),))

    database.submit(work).result()


@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        b"\x00" * 5_000,
        bytearray(b"x" * 5_000),
        [],
        {},
        [1],
        LONG,
        list(range(10_000)),
        [[]] * 3_000,
        ["x" * 40] * 129,
        {str(number): "y" * 300 for number in range(70)},
        dict.fromkeys(range(3000)),
        [{"nested": LONG}],
        [None, *LONG],
    ],
    ids=lambda value: f"{type(value).__name__}-{len(value) if value is not None else 0}",
)
def test_values_come_back_as_they_were_from_memory_and_from_disk(
    saver: Saver, database: Database, thread: Thread, value: object
) -> None:
    thread.put({"a": value, "b": [value]})
    assert thread.values() == {"a": value, "b": [value]}
    fresh = Thread(Saver(database))
    assert fresh.values() == {"a": value, "b": [value]}
    assert type(fresh.values()["a"]) is type(value)  # type: ignore[index]


def test_a_list_that_grows_shrinks_and_changes_is_always_what_was_put(database: Database, thread: Thread) -> None:
    versions = [LONG[:10], LONG[:11], LONG[:140], LONG[5:140], LONG[:140], [*LONG[:139], LONG[0]], LONG[:1], []]
    ids = [thread.put({"messages": version}) for version in versions]
    for checkpoint_id, version in zip(ids, versions, strict=True):
        assert Thread(Saver(database)).values(checkpoint_id) == {"messages": version}


def test_a_step_of_a_long_conversation_stores_what_is_new_in_it(database: Database, thread: Thread) -> None:
    def chunk_bytes() -> int:
        return database.read_here(lambda connection: connection.execute("SELECT sum(length(data)) FROM chunks").get)

    thread.put({"messages": LONG[:-1]})
    before = chunk_bytes()
    thread.put({"messages": LONG})
    again = Thread(Saver(database))  # one that remembers nothing
    again.head, again._number = thread.head, 10
    again.put({"messages": LONG})
    assert chunk_bytes() - before < 2_000


def test_a_stale_epoch_is_refused_and_changes_nothing(saver: Saver, database: Database) -> None:
    first = Thread(saver, epoch=claimed(database, "a"))
    first.put({"n": 1})
    second = Thread(saver, epoch=claimed(database, "b"))
    with pytest.raises(StaleEpoch, match="'t' was taken over") as caught:
        first.put({"n": "late"})
    assert caught.value.metadata["current_epoch"] == str(second.epoch)
    with pytest.raises(StaleEpoch):
        saver.put_writes(first.config("0001"), [("n", "late")], "task")  # type: ignore[arg-type]
    found = saver.get_tuple(first.config())  # type: ignore[arg-type]
    assert found and found.checkpoint["channel_values"] == {"n": 1} and found.pending_writes == []
    second.head, second._number = "0001", 1
    second.put({"n": 2})
    assert second.values() == {"n": 2}


def test_a_parent_that_is_not_the_head_is_a_conflict_and_never_a_fork(saver: Saver, thread: Thread) -> None:
    thread.put({"n": 1})
    thread.put({"n": 2})
    with pytest.raises(StaleEpoch, match="its head is 0002, not 0001"):
        thread.put({"n": 3}, parent="0001")
    with pytest.raises(StaleEpoch, match="not None"):
        thread.put({"n": 3}, parent="", source="input", step=-1)
    with pytest.raises(StaleEpoch, match="not 0001"):
        thread.put({"n": 3}, parent="0001", source="update")
    assert thread.ids() == ["0002", "0001"]


def test_a_fork_is_a_wish_and_an_owner_may_edit_an_older_state(saver: Saver, database: Database) -> None:
    thread = Thread(saver, epoch=claimed(database, "a"))
    for number in range(3):
        thread.put({"n": number, "messages": LONG})
    fork = thread.put({"n": 0, "messages": LONG}, parent="0001", source="fork")
    edit = thread.put({"n": 9, "messages": LONG[:3]}, parent="0002", source="update")
    assert thread.ids() == [edit, fork, "0003", "0002", "0001"]
    assert thread.values() == {"n": 9, "messages": LONG[:3]}
    assert thread.put({"n": 10}) and thread.values() == {"n": 10}


def test_a_put_that_is_repeated_changes_nothing_and_other_content_is_refused(thread: Thread) -> None:
    thread.put({"n": 1})
    repeat = {"parent": "", "checkpoint_id": "0001", "step": 1}
    thread.put({"n": 1}, **repeat)
    with pytest.raises(AlreadyExists, match="0001"):
        thread.put({"n": 2}, **repeat)
    assert thread.ids() == ["0001"] and thread.values() == {"n": 1}


def test_the_head_is_the_last_commit_even_when_the_clock_was_put_back(thread: Thread) -> None:
    thread.put({"n": 1}, checkpoint_id="1f0-later")
    thread.put({"n": 2}, checkpoint_id="1e0-earlier")
    assert thread.values() == {"n": 2}
    assert thread.ids() == ["1e0-earlier", "1f0-later"]


def test_of_two_writes_with_one_index_the_first_stays_and_special_ones_are_replaced(
    saver: Saver, thread: Thread
) -> None:
    config: Any = thread.config(thread.put({"n": 1}))
    saver.put_writes(config, [("a", 1)], "task")
    saver.put_writes(config, [("a", 2), ("b", 3)], "task")
    for answer in ("first", "second"):
        saver.put_writes(config, [("__interrupt__", [Interrupt(answer)])], "task")
    found = saver.get_tuple(config)
    assert found and found.pending_writes == [
        ("task", "__interrupt__", [Interrupt("second")]),
        ("task", "a", 1),
        ("task", "b", 3),
    ]


def test_writes_come_in_the_order_in_which_they_are_applied(saver: Saver, thread: Thread) -> None:
    config: Any = thread.config(thread.put({"n": 1}))
    for task_id, path in (("z", "~1"), ("a", "~2"), ("m", "")):
        saver.put_writes(config, [("n", task_id)], task_id, path)
    found = saver.get_tuple(config)
    assert found and [task_id for task_id, _, _ in found.pending_writes or []] == ["m", "z", "a"]


class Handle:
    """Something that is no JSON."""


@dataclass
class Unregistered:
    x: int


@pytest.mark.parametrize("value", [Handle(), {"deep": [Handle()]}, 1 << 70, Unregistered(1), [{"u": Unregistered(1)}]])
def test_a_value_that_cannot_be_read_back_is_refused_by_channel(saver: Saver, thread: Thread, value: object) -> None:
    thread.put({"n": 1})
    with pytest.raises(InvalidInput, match="Channel 'bad'") as caught:
        thread.put({"n": 2, "bad": value})
    assert caught.value.metadata["channel"] == "bad" and "JSON" in caught.value.remedy
    with pytest.raises(InvalidInput, match="Channel 'bad'"):
        saver.put_writes(thread.config("0001"), [("bad", value)], "task")  # type: ignore[arg-type]
    assert thread.ids() == ["0001"]


def test_a_type_that_was_allowed_when_it_was_written_is_an_error_and_not_a_plain_value(
    saver: Saver, thread: Thread
) -> None:
    allowing: Any = saver.with_allowlist([(Unregistered.__module__, "Unregistered")])
    Thread(allowing).put({"u": Unregistered(1)})
    assert Thread(allowing).values() == {"u": Unregistered(1)}
    with pytest.raises(InvalidInput, match=r"Channel 'u' of checkpoint 0001: The type .*Unregistered may not"):
        thread.values()


def test_a_state_of_fifty_megabytes_is_refused_and_the_history_stays(saver: Saver, thread: Thread) -> None:
    thread.put({"n": 1})
    with pytest.raises(LimitExceeded, match="more than 32,000,000"):
        thread.put({"a": "x" * 25_000_000, "b": "y" * 25_000_000})
    with pytest.raises(LimitExceeded):
        saver.put_writes(thread.config("0001"), [("a", "x" * 50_000_000)], "task")  # type: ignore[arg-type]
    assert thread.ids() == ["0001"] and thread.values() == {"n": 1}


def test_metadata_that_is_not_json_is_refused(thread: Thread) -> None:
    with pytest.raises(InvalidInput, match="metadata is not JSON"):
        thread.put({"n": 1}, writes={"x": Handle()})
    assert thread.ids() == []


def test_a_flipped_bit_in_a_small_value_is_named(database: Database, thread: Thread) -> None:
    thread.put({"small": "x" * 100, "other": "y"})
    body = database.read_here(lambda connection: connection.execute("SELECT body FROM thread_checkpoints").get)
    flip(database, "thread_checkpoints", "body", body.index(b"xxxx") + 2)
    with pytest.raises(StorageCorrupt, match="Channel small of checkpoint 0001 in thread 't' is damaged") as caught:
        thread.values()
    assert caught.value.metadata == {"thread_id": "t", "checkpoint_id": "0001", "channel": "small"}
    with pytest.raises(StorageCorrupt):
        thread.ids()


def test_a_text_that_is_none_any_more_is_corrupt(saver: Saver, database: Database, thread: Thread) -> None:
    thread.put({"n": 1})
    sql = "UPDATE thread_checkpoints SET metadata = CAST(x'ff' AS TEXT)"
    database.submit(lambda connection: connection.execute(sql)).result()
    with pytest.raises(StorageCorrupt):
        thread.values()


@pytest.mark.parametrize("column", ["metadata", "parent_id", "run_id"])
def test_a_changed_column_is_noticed(database: Database, thread: Thread, column: str) -> None:
    thread.put({"n": 1})
    database.submit(lambda connection: connection.execute(f"UPDATE thread_checkpoints SET {column} = '{{}}'")).result()
    with pytest.raises(StorageCorrupt, match="Checkpoint 0001 in thread 't' is damaged"):
        thread.values()


@pytest.mark.parametrize("at", range(0, 640, 23))
def test_a_flipped_bit_anywhere_in_a_checkpoint_is_an_error_and_no_other_value(
    database: Database, thread: Thread, at: int
) -> None:
    thread.put({"a": "x" * 500, "n": 1})
    flip(database, "thread_checkpoints", "body", at)
    with pytest.raises(StorageCorrupt, match="0001 in thread 't' is damaged"):
        thread.values()


def test_a_flipped_bit_in_a_chunk_is_named(database: Database, thread: Thread) -> None:
    thread.put({"large": "x" * 5_000, "n": 1})
    flip(database, "chunks", "data", 2_500)
    with pytest.raises(StorageCorrupt, match=r"Channel large of checkpoint 0001 .* is not what was stored"):
        thread.values()


def test_a_missing_chunk_is_named(database: Database, thread: Thread) -> None:
    thread.put({"messages": LONG})
    database.submit(lambda connection: connection.execute("DELETE FROM chunks")).result()
    with pytest.raises(StorageCorrupt, match=r"Channel messages of checkpoint 0001 .* is missing"):
        Thread(Saver(database)).values()


def test_a_flipped_bit_in_a_write_is_named(saver: Saver, database: Database, thread: Thread) -> None:
    config: Any = thread.config(thread.put({"n": 1}))
    saver.put_writes(config, [("text", "x" * 100)], "task")
    flip(database, "thread_writes", "body", 60)
    with pytest.raises(StorageCorrupt, match="Channel text of checkpoint 0001"):
        saver.get_tuple(config)


async def test_the_saver_may_be_called_while_it_lists(saver: Saver, thread: Thread) -> None:
    for number in range(40):
        thread.put({"n": number})
    seen = []
    async with asyncio.timeout(20):
        async for found in saver.alist(thread.config()):  # type: ignore[arg-type]
            assert await saver.aget_tuple(found.config)
            await saver.aput_writes(found.config, [("n", 1)], "task")
            seen.append(found.checkpoint["id"])
    assert seen == [f"{number:04}" for number in range(40, 0, -1)]


def test_a_listing_pages_filters_and_stops(saver: Saver, thread: Thread) -> None:
    for number in range(100):
        thread.put({"n": number}, kind="even" if number % 2 else "odd")
    Thread(saver, "other").put({"n": 1}, kind="odd")

    def listed(config: Any = None, **options: Any) -> list[str]:
        return [found.checkpoint["id"] for found in saver.list(config, **options)]

    config: Any = thread.config()
    before: Any = thread.config("0090")
    assert len(listed()) == 101 and len(listed(config)) == 100
    assert listed(config, limit=0) == []
    assert listed(config, filter={"kind": "odd"}, limit=40) == [f"{number:04}" for number in range(99, 20, -2)]
    assert listed(config, before=before, limit=2) == ["0089", "0088"]
    assert listed(config, before=thread.config("0042x"), limit=1) == ["0042"]  # type: ignore[arg-type]
    assert listed(config, before=thread.config("0000")) == []  # type: ignore[arg-type]
    assert listed(config, filter={"absent": None}) == []


def test_versions_go_on_as_numbers_or_as_the_stock_savers_strings(saver: Saver) -> None:
    assert [saver.get_next_version(version, None) for version in (None, 1)] == [1, 2]
    stock = f"{7:032}.{0.1234567890123456:016}"
    after = saver.get_next_version(stock, None)
    assert stock < after < saver.get_next_version(after, None)


def test_what_is_remembered_does_not_hide_that_a_checkpoint_was_deleted(
    saver: Saver, database: Database, thread: Thread
) -> None:
    config: Any = thread.config(thread.put({"messages": LONG}))
    Saver(database).delete_thread("t")
    with pytest.raises(StaleEpoch, match="was deleted"):
        saver.put_writes(config, [("messages", LONG)], "task")
    with pytest.raises(StaleEpoch, match="its head is None"):
        thread.put({"messages": LONG})


async def test_pruning_keeps_the_newest_and_drops_chunks_that_nothing_refers_to(
    saver: Saver, database: Database, thread: Thread
) -> None:
    def chunks() -> int:
        return database.read_here(lambda connection: connection.execute("SELECT count(*) FROM chunks").get)

    for start in (0, 70, 130):
        thread.put({"messages": LONG[start : start + 68], "n": start}, run_id=f"r{start}")
    assert chunks() > 195
    await saver.aprune(["t"])
    assert thread.ids() == ["0003"] and Thread(Saver(database)).values() == {"messages": LONG[130:198], "n": 130}
    assert chunks() == 69  # with the one that joins 64 digests
    assert await saver.aprune_runs(["r130"]) == 0
    await saver.adelete_for_runs(["r130"])
    assert thread.ids() == [] and chunks() == 0
    with pytest.raises(InvalidInput, match="strategy"):
        await saver.aprune(["t"], strategy="keep_some")


async def test_pruning_a_damaged_thread_deletes_nothing(saver: Saver, database: Database, thread: Thread) -> None:
    for start in (0, 70):
        thread.put({"messages": LONG[start : start + 68]})
    database.submit(lambda connection: connection.execute("UPDATE chunks SET data = zeroblob(32)")).result()
    with pytest.raises(StorageCorrupt, match="Channel messages of checkpoint 0002"):
        await saver.aprune(["t"])
    count = "SELECT count(*) FROM thread_checkpoints"
    assert database.read_here(lambda connection: connection.execute(count).get) == 2


async def test_a_copy_is_a_thread_of_its_own(saver: Saver, thread: Thread) -> None:
    thread.put({"messages": LONG})
    saver.put_writes(thread.config("0001"), [("messages", LONG)], "task")  # type: ignore[arg-type]
    await saver.acopy_thread("t", "copy")
    await saver.adelete_thread("t")
    copy = Thread(saver, "copy")
    found = saver.get_tuple(copy.config())  # type: ignore[arg-type]
    assert copy.values() == {"messages": LONG} and found and found.pending_writes == [("task", "messages", LONG)]
    with pytest.raises(NotFound, match="'t' has no checkpoints"):
        await saver.acopy_thread("t", "elsewhere")
    with pytest.raises(AlreadyExists, match="'copy'"):
        await saver.acopy_thread("copy", "copy")


async def test_a_deleted_threads_epochs_go_on(saver: Saver, database: Database) -> None:
    first = claimed(database, "a")
    await saver.adelete_thread("t")
    assert claimed(database, "b") == first + 1


async def test_the_size_is_known_and_what_was_deleted_is_free(saver: Saver, thread: Thread) -> None:
    thread.put({"large": "x" * 1_000_000})
    full = await saver.size()
    await saver.adelete_thread("t")
    empty = await saver.size()
    assert full.used_bytes > 1_000_000 > empty.used_bytes and empty.free_bytes > 900_000


def test_the_saver_refuses_to_work_without_strict_mode(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.agent.checkpoint.serde._msgpack.STRICT_MSGPACK_ENABLED", False)
    with pytest.raises(Exception, match="LANGGRAPH_STRICT_MSGPACK"):
        saver_module.Saver(database)
