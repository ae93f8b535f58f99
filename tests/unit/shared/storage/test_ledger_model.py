"""The ledger against a model of it: whatever happens in whatever order, crashes included."""

import asyncio
import tempfile
from dataclasses import dataclass
from pathlib import Path

import apsw
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from shared.errors import IdempotencyMismatch
from shared.storage.database import Database, Schema
from shared.storage.ledger import SCHEMA, Doubt, Fresh, Ledger, Replay, Retention

COUNTER = Schema("counter", ("CREATE TABLE counts (key TEXT)",))
KEPT = 3
KEYS = st.sampled_from("abcdef")
DIGESTS = st.sampled_from([b"one", b"one", b"one", b"two"])
OUTCOMES = st.binary(max_size=8)


@dataclass
class Entry:
    digest: bytes
    attempt: int = 1
    replay: Replay | None = None


class LedgerMachine(RuleBasedStateMachine):
    """Entries in the order of their outcomes, or of their intentions while they have none, as in the file."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.runner = asyncio.Runner()
        self.entries: dict[str, Entry] = {}
        self.effects: list[str] = []
        self.open()

    def open(self) -> None:
        self.database = Database(Path(self.folder.name) / "ledger.db", SCHEMA, COUNTER, synchronous="NORMAL")
        self.database.open()
        self.ledger = Ledger(self.database, Retention(outcomes=KEPT))

    def teardown(self) -> None:
        self.database.close()
        self.runner.close()
        self.folder.cleanup()

    def is_mismatch(self, key: str, digest: bytes) -> bool:
        return key in self.entries and self.entries[key].digest != digest

    @rule(key=KEYS, digest=DIGESTS, may_repeat=st.booleans())
    def begin(self, key: str, digest: bytes, may_repeat: bool) -> None:
        if self.is_mismatch(key, digest):
            with pytest.raises(IdempotencyMismatch):
                self.runner.run(self.ledger.begin(key, digest, may_repeat=may_repeat))
            return
        found = self.runner.run(self.ledger.begin(key, digest, may_repeat=may_repeat))
        entry = self.entries.get(key)
        if entry is None:
            self.entries[key] = Entry(digest)
            assert found == Fresh(1)
        elif entry.replay:
            assert found == entry.replay
        elif may_repeat:
            entry.attempt += 1
            assert found == Fresh(entry.attempt)
        else:
            assert isinstance(found, Doubt) and found.attempt == entry.attempt

    @rule(key=KEYS, digest=DIGESTS, outcome=OUTCOMES, is_failure=st.booleans())
    def record(self, key: str, digest: bytes, outcome: bytes, is_failure: bool) -> None:
        if self.is_mismatch(key, digest):
            with pytest.raises(IdempotencyMismatch):
                self.runner.run(self.ledger.record(key, digest, outcome, is_failure=is_failure))
            return
        self.runner.run(self.ledger.record(key, digest, outcome, is_failure=is_failure))
        self.end(key, digest, Replay(outcome, is_failure))

    def end(self, key: str, digest: bytes, replay: Replay) -> None:
        entry = self.entries.get(key, Entry(digest))
        if not entry.replay:
            self.entries.pop(key, None)
            self.entries[key] = Entry(digest, entry.attempt, replay)

    @rule(key=KEYS, digest=DIGESTS, outcome=OUTCOMES, fails=st.booleans())
    def commit(self, key: str, digest: bytes, outcome: bytes, fails: bool) -> None:
        def effect(connection: apsw.Connection) -> bytes:
            connection.execute("INSERT INTO counts VALUES (?)", (key,))
            if fails:
                raise ZeroDivisionError
            return outcome

        entry = self.entries.get(key)
        if self.is_mismatch(key, digest):
            with pytest.raises(IdempotencyMismatch):
                self.runner.run(self.ledger.commit(key, digest, effect))
        elif entry and entry.replay:
            assert self.runner.run(self.ledger.commit(key, digest, effect)) == entry.replay
        elif fails:
            with pytest.raises(ZeroDivisionError):
                self.runner.run(self.ledger.commit(key, digest, effect))
        else:
            assert self.runner.run(self.ledger.commit(key, digest, effect)) == Replay(outcome)
            self.end(key, digest, Replay(outcome))
            self.effects.append(key)

    @rule()
    def prune(self) -> None:
        ended = [key for key, entry in self.entries.items() if entry.replay]
        for key in ended[: max(0, len(ended) - KEPT)]:
            del self.entries[key]
        self.runner.run(self.ledger.prune())

    @rule()
    def crash(self) -> None:
        """What a killed process leaves is the file and its log, as they are; nothing is closed."""
        crashed = self.database
        folder = tempfile.TemporaryDirectory()
        for source in Path(self.folder.name).iterdir():
            if not source.name.endswith("-shm"):
                (Path(folder.name) / source.name).write_bytes(source.read_bytes())
        crashed.close()
        self.folder.cleanup()
        self.folder = folder
        self.open()

    @invariant()
    def the_file_is_the_model(self) -> None:
        def rows(connection: apsw.Connection) -> list[tuple[object, ...]]:
            return list(
                connection.execute("SELECT key, request_digest, attempt, state, outcome FROM effects ORDER BY id")
            )

        expected = [
            (
                key,
                entry.digest,
                entry.attempt,
                "intended" if not entry.replay else "failed" if entry.replay.is_failure else "done",
                entry.replay.outcome if entry.replay else None,
            )
            for key, entry in self.entries.items()
        ]
        assert self.runner.run(self.database.read(rows)) == expected
        done = self.runner.run(
            self.database.read(lambda connection: [row[0] for row in connection.execute("SELECT key FROM counts")])
        )
        assert done == self.effects


TestLedgerMachine = LedgerMachine.TestCase
TestLedgerMachine.settings = settings(max_examples=25, stateful_step_count=30, deadline=None)
