"""The effect ledger: what was intended and what came of it, under a key that a repeated call has too.

Its table lives in the file of the service whose effects it records, so that an effect in that file and its outcome
are one transaction.
"""

import asyncio
import hashlib
import logging
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

import apsw

from shared.errors import IdempotencyMismatch, InvalidInput, LimitExceeded, StorageCorrupt, WaystationError
from shared.storage.database import Database, Schema, Work

logger = logging.getLogger(__name__)

SCHEMA = Schema(
    "ledger",
    (
        """
        CREATE TABLE effects (
            id INTEGER PRIMARY KEY,
            key TEXT NOT NULL UNIQUE,
            request_digest BLOB NOT NULL,
            state TEXT NOT NULL CHECK (state IN ('intended', 'done', 'failed')),
            attempt INTEGER NOT NULL,
            outcome BLOB,
            outcome_digest BLOB,
            begin_time_ns INTEGER NOT NULL,
            end_time_ns INTEGER
        );
        CREATE INDEX effects_by_begin_time ON effects (begin_time_ns);
        """,
    ),
)
MAX_KEY_CHARS = 512
MAX_OUTCOME_BYTES = 8 * 1024 * 1024
PRUNE_EVERY = 1_000
"""Outcomes recorded between two prunings."""

_INTEND = """
    INSERT INTO effects (key, request_digest, state, attempt, begin_time_ns) VALUES (?, ?, 'intended', ?, ?)
    ON CONFLICT (key) DO UPDATE SET attempt = excluded.attempt, begin_time_ns = excluded.begin_time_ns
"""
# ids follow the order of the outcomes, of which pruning keeps the newest
_RECORD = """
    INSERT INTO effects (key, request_digest, state, attempt, outcome, outcome_digest, begin_time_ns, end_time_ns)
    VALUES (?, ?, ?, 1, ?, ?, ?, ?)
    ON CONFLICT (key) DO UPDATE SET id = (SELECT max(id) + 1 FROM effects), state = excluded.state,
        outcome = excluded.outcome, outcome_digest = excluded.outcome_digest, end_time_ns = excluded.end_time_ns
"""

EndState = Literal["done", "failed"]


@dataclass(frozen=True)
class Fresh:
    """The key has no outcome, and nothing speaks against running: go on."""

    attempt: int = 1


@dataclass(frozen=True)
class Replay:
    """The key has an outcome already."""

    outcome: bytes
    is_failure: bool = False


@dataclass(frozen=True)
class Doubt:
    """An earlier attempt was begun and its outcome is not known."""

    attempt: int
    """The attempt in doubt, from 1."""
    begin_time_ns: int
    """When it was begun, since the epoch."""


@dataclass(frozen=True)
class Retention:
    """How long keys are remembered. What is forgotten is run again when it is repeated."""

    age: timedelta = timedelta(days=30)
    """Since the last attempt was begun; for intentions without an outcome too."""
    outcomes: int = 50_000
    """The newest ones are kept; intentions without an outcome do not count."""


class Ledger:
    """The ledger in one database, whose schemas include `SCHEMA`.

    Keys have 1 to `MAX_KEY_CHARS` characters (`InvalidInput` otherwise); `digest` is of the request, and a key that
    comes with another one is refused with `IdempotencyMismatch`. Every method raises `StorageUnavailable` when the
    file cannot be used.
    """

    def __init__(
        self, database: Database, retention: Retention | None = None, clock: Callable[[], int] = time.time_ns
    ) -> None:
        self.database = database
        self._retention = retention or Retention()
        self._clock = clock
        self._until_prune = PRUNE_EVERY
        self._submitted: dict[str, Future[Replay]] = {}
        """Outcomes on their way to the file, by key."""

    async def look_up(self, key: str, digest: bytes) -> Replay | None:
        """Return the key's outcome, or None. Stores nothing: for effects that may be repeated.

        Raises `StorageCorrupt` when the outcome is not what was recorded.
        """
        check_key(key)
        recording = self._submitted.get(key)
        if recording:
            with suppress(Exception):  # whoever recorded hears of it
                await asyncio.shield(asyncio.wrap_future(recording))
        found = self.database.read_here(lambda connection: _find(connection, key, digest))
        return found if isinstance(found, Replay) else None

    async def begin(self, key: str, digest: bytes, *, may_repeat: bool = False) -> Fresh | Replay | Doubt:
        """Store the intention and return `Fresh` after its commit, unless an earlier attempt says otherwise.

        `may_repeat` turns a doubt into a further attempt. Raises `StorageCorrupt` as `look_up` does.
        """
        check_key(key)

        def work(connection: apsw.Connection) -> Fresh | Replay | Doubt:
            found = _find(connection, key, digest)
            if isinstance(found, Replay) or (found and not may_repeat):
                return found
            attempt = found.attempt + 1 if found else 1
            connection.execute(
                _INTEND,
                (key, digest, attempt, self._clock()),
            )
            return Fresh(attempt)

        return await self.database.write(work)

    async def record(self, key: str, digest: bytes, outcome: bytes, *, is_failure: bool = False) -> None:
        """Store the outcome, with or without an intention, and return after its commit. The first outcome stands.

        Raises `LimitExceeded` when it is longer than `MAX_OUTCOME_BYTES`.
        """
        state: EndState = "failed" if is_failure else "done"
        # a caller that is cancelled does not take its record back
        await asyncio.shield(asyncio.wrap_future(self._submit(key, digest, lambda _: outcome, state)))

    def note(self, key: str, digest: bytes, outcome: bytes, *, is_failure: bool = False) -> None:
        """Do as `record` does, without waiting for the commit. `look_up` waits for it; a failure is only logged."""

        def complain(recording: "Future[Replay]") -> None:
            if not recording.cancelled() and recording.exception():
                logger.error("the outcome of %s is not recorded: %s", key, recording.exception())

        state: EndState = "failed" if is_failure else "done"
        try:
            self._submit(key, digest, lambda _: outcome, state).add_done_callback(complain)
        except WaystationError as error:
            logger.error("the outcome of %s is not recorded: %s", key, error)

    async def commit(self, key: str, digest: bytes, work: Work[bytes]) -> Replay:
        """Do the effect `work`, which returns the outcome, and record that in the same transaction.

        When the key has an outcome already, `work` does not run and that outcome is returned. Raises what `work`
        raises, and `LimitExceeded` as `record` does; nothing of the effect stays then.
        """
        return await asyncio.wrap_future(self._submit(key, digest, work, "done"))

    async def prune(self) -> int:
        """Forget what `Retention` does not keep; returns how many keys."""
        return await self.database.write(self._prune)

    def _submit(self, key: str, digest: bytes, work: Work[bytes], state: EndState) -> "Future[Replay]":
        check_key(key)

        def transaction(connection: apsw.Connection) -> Replay:
            found = _find(connection, key, digest)
            if isinstance(found, Replay):
                return found
            outcome = work(connection)
            _check_size(key, outcome)
            now = self._clock()
            connection.execute(
                _RECORD,
                (key, digest, state, outcome, hashlib.sha256(outcome).digest(), now, now),
            )
            self._until_prune -= 1
            if self._until_prune <= 0:
                self._prune(connection)
            return Replay(outcome, state == "failed")

        recording = self._submitted[key] = self.database.submit(transaction)
        recording.add_done_callback(lambda _: self._forget(key, recording))
        return recording

    def _forget(self, key: str, recording: Future[Replay]) -> None:
        if self._submitted.get(key) is recording:
            del self._submitted[key]

    def _prune(self, connection: apsw.Connection) -> int:
        self._until_prune = PRUNE_EVERY
        before = connection.total_changes()
        oldest_ns = self._clock() - int(self._retention.age.total_seconds() * 1e9)
        connection.execute("DELETE FROM effects WHERE begin_time_ns < ?", (oldest_ns,))
        connection.execute(
            "DELETE FROM effects WHERE state <> 'intended' AND id <= ("
            "SELECT id FROM effects WHERE state <> 'intended' ORDER BY id DESC LIMIT 1 OFFSET ?)",
            (self._retention.outcomes,),
        )
        return connection.total_changes() - before


def check_key(key: str, at_most: int = MAX_KEY_CHARS) -> None:
    """Raise `InvalidInput` for a key that is empty or has more than `at_most` characters."""
    if not 1 <= len(key) <= at_most:
        raise InvalidInput(
            f"The idempotency key has {len(key)} characters; 1 to {at_most} are possible.",
            field="idempotency_key",
            limit=at_most,
        )


def _find(connection: apsw.Connection, key: str, digest: bytes) -> Replay | Doubt | None:
    row = connection.execute(
        "SELECT request_digest, state, attempt, outcome, outcome_digest, begin_time_ns FROM effects WHERE key = ?",
        (key,),
    ).fetchone()
    if row is None:
        return None
    request_digest, state, attempt, outcome, outcome_digest, begin_time_ns = row
    if request_digest != digest:
        raise IdempotencyMismatch(
            f"The idempotency key {key} belongs to another request.",
            remedy="Use a new key for a new request.",
            idempotency_key=key,
        )
    if state == "intended":
        return Doubt(attempt, begin_time_ns)
    if hashlib.sha256(outcome).digest() != outcome_digest:
        raise StorageCorrupt(
            f"The outcome recorded for {key} is damaged: the effect happened, its result is lost.",
            remedy="Restore the file from a backup, or start a new run.",
            idempotency_key=key,
        )
    return Replay(outcome, state == "failed")


def _check_size(key: str, outcome: bytes) -> None:
    if len(outcome) > MAX_OUTCOME_BYTES:
        raise LimitExceeded(
            f"The outcome of {key} has {len(outcome)} bytes; {MAX_OUTCOME_BYTES} can be recorded.",
            remedy="Answer with less, or with a reference to it.",
            limit=MAX_OUTCOME_BYTES,
        )
