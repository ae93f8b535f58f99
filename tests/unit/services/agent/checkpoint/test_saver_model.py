"""Random histories: the saver against a model of it that is a few dictionaries."""

import asyncio
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from services.agent.checkpoint import ownership
from services.agent.checkpoint.saver import Saver
from services.agent.checkpoint.tables import SCHEMA
from shared.errors import AlreadyExists, NotFound, StaleEpoch, WaystationError
from shared.storage.database import Database

T = TypeVar("T")

THREADS = st.sampled_from(["a", "b", "c"])
ITEMS = st.lists(st.integers(0, 5).map(lambda number: f"{number}" * 700), max_size=5)
INTEGERS = st.integers(-(2**63), 2**64 - 1)  # what MessagePack has; others are refused
VALUES = st.one_of(st.none(), INTEGERS, st.text(max_size=2_000), ITEMS, st.lists(INTEGERS, max_size=400))


@dataclass
class Stored:
    """What the model knows of a checkpoint."""

    id: str
    parent: str
    run: str
    values: dict[str, Any]
    writes: dict[tuple[str, int], tuple[str, Any]] = field(default_factory=dict)


class SaverMachine(RuleBasedStateMachine):
    """Puts, stale puts, writes, claims, prunes, copies, deletes and reopens, in any order."""

    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.threads: dict[str, list[Stored]] = {"a": [], "b": [], "c": []}
        self.epochs: dict[str, int] = {}
        self.lists: dict[str, list[str]] = {"a": [], "b": [], "c": []}
        self.number = 0
        self.open()

    def open(self) -> None:
        self.database = Database(Path(self.folder.name) / "agent.db", SCHEMA, synchronous="NORMAL")
        self.database.open()
        self.saver = Saver(self.database)

    def teardown(self) -> None:
        self.database.close()
        self.folder.cleanup()

    def config(self, thread: str, checkpoint: str = "", epoch: int | None = None) -> Any:
        found: dict[str, Any] = {"thread_id": thread, "checkpoint_ns": ""}
        found |= {"checkpoint_id": checkpoint} if checkpoint else {}
        found |= {"epoch": epoch} if epoch is not None else {}
        return {"configurable": found}

    def put(self, thread: str, parent: str, value: Any, epoch: int | None, source: str = "loop") -> Stored:
        self.number += 1
        made = Stored(
            f"{self.number:05}", parent, f"run{self.number % 3}", {"value": value, "list": self.lists[thread]}
        )
        checkpoint: Any = {"v": 1, "id": made.id, "ts": "", "channel_versions": {}, "versions_seen": {}}
        checkpoint |= {"channel_values": made.values, "updated_channels": None}
        metadata: Any = {"source": source, "step": self.number, "run_id": made.run}
        self.saver.put(self.config(thread, parent, epoch), checkpoint, metadata, {})
        return made

    def refused(self, error: type[WaystationError], act: Callable[[], T]) -> None:
        with pytest.raises(error):
            act()

    def head(self, thread: str) -> str:
        return self.threads[thread][-1].id if self.threads[thread] else ""

    @rule(thread=THREADS, value=VALUES, growth=ITEMS)
    def put_on_the_head(self, thread: str, value: Any, growth: list[str]) -> None:
        self.lists[thread] = self.lists[thread] + growth
        self.threads[thread].append(self.put(thread, self.head(thread), value, self.epochs.get(thread)))

    @rule(thread=THREADS)
    def cut_the_list(self, thread: str) -> None:
        self.lists[thread] = self.lists[thread][1:]

    @rule(thread=THREADS, back=st.integers(2, 4))
    def put_on_an_older_parent(self, thread: str, back: int) -> None:
        if len(self.threads[thread]) >= back:
            parent = self.threads[thread][-back].id
            self.refused(StaleEpoch, lambda: self.put(thread, parent, 0, self.epochs.get(thread)))

    @rule(thread=THREADS, back=st.integers(1, 4), value=VALUES)
    def fork(self, thread: str, back: int, value: Any) -> None:
        if len(self.threads[thread]) >= back:
            parent = self.threads[thread][-back].id
            self.threads[thread].append(self.put(thread, parent, value, None, source="fork"))

    @rule(thread=THREADS)
    def claim(self, thread: str) -> None:
        work = self.database.submit(lambda connection: ownership.claim(connection, thread, "owner", 2, 1))
        before, self.epochs[thread] = self.epochs.get(thread, 0), work.result()
        assert self.epochs[thread] > before

    @precondition(lambda self: self.epochs)
    @rule(thread=THREADS, late=st.integers(1, 2))
    def write_under_another_epoch(self, thread: str, late: int) -> None:
        epoch = self.epochs.get(thread, 0) - late
        self.refused(StaleEpoch, lambda: self.put(thread, self.head(thread), 0, epoch))
        config = self.config(thread, self.head(thread) or "none", epoch)
        self.refused(StaleEpoch, lambda: self.saver.put_writes(config, [("value", 0)], "stale"))

    @rule(thread=THREADS, task=st.sampled_from(["t1", "t2"]), values=st.lists(VALUES, min_size=1, max_size=3))
    def write(self, thread: str, task: str, values: list[Any]) -> None:
        if stored := self.threads[thread]:
            self.saver.put_writes(self.config(thread, stored[-1].id), [("value", value) for value in values], task)
            for index, value in enumerate(values):
                stored[-1].writes.setdefault((task, index), ("value", value))

    @rule(thread=THREADS)
    def prune(self, thread: str) -> None:
        asyncio.run(self.saver.aprune([thread]))
        self.threads[thread] = self.threads[thread][-1:]

    @rule(thread=THREADS)
    def delete(self, thread: str) -> None:
        asyncio.run(self.saver.adelete_thread(thread))
        self.threads[thread] = []

    @rule(run=st.sampled_from(["run0", "run1"]), keeps_heads=st.booleans())
    def delete_a_run(self, run: str, keeps_heads: bool) -> None:
        if keeps_heads:
            asyncio.run(self.saver.aprune_runs([run]))
        else:
            asyncio.run(self.saver.adelete_for_runs([run]))
        for thread, stored in self.threads.items():
            kept = stored[-1:] if keeps_heads else []
            self.threads[thread] = [one for one in stored if one.run != run or one in kept]

    @rule(source=THREADS, into=THREADS)
    def copy(self, source: str, into: str) -> None:
        if not self.threads[source] or self.threads[into]:
            error = AlreadyExists if self.threads[source] else NotFound
            with pytest.raises(error):
                asyncio.run(self.saver.acopy_thread(source, into))
            return
        asyncio.run(self.saver.acopy_thread(source, into))
        copies = [Stored(one.id, one.parent, one.run, one.values, dict(one.writes)) for one in self.threads[source]]
        self.threads[into] = copies

    @rule()
    def reopen(self) -> None:
        self.database.close()
        self.open()

    @invariant()
    def every_thread_is_as_the_model_has_it(self) -> None:
        for thread, stored in self.threads.items():
            found = list(self.saver.list(self.config(thread)))
            assert [one.checkpoint["id"] for one in found] == [one.id for one in reversed(stored)]
            for one, expected in zip(found, reversed(stored), strict=True):
                assert one.checkpoint["channel_values"] == expected.values
                parent = one.parent_config and one.parent_config["configurable"]["checkpoint_id"]
                assert (parent or "") == expected.parent
                writes = [(task, *write) for (task, _), write in sorted(expected.writes.items())]
                assert one.pending_writes == writes
            head = self.saver.get_tuple(self.config(thread))
            assert (head.checkpoint["id"] if head else "") == self.head(thread)

    @invariant()
    def nothing_is_kept_for_threads_that_are_empty(self) -> None:
        for thread, stored in self.threads.items():
            if not stored:
                sql = "SELECT count(*) FROM chunks WHERE thread_id = ?"
                left = self.database.read_here(lambda connection: connection.execute(sql, (thread,)).get)  # noqa: B023
                assert left == 0


SaverMachine.TestCase.settings = settings(max_examples=50, stateful_step_count=25, deadline=None)
test_the_saver_is_what_the_model_says = SaverMachine.TestCase
