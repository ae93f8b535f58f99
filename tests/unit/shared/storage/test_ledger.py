"""The effect ledger: what a repeated key gets, what is refused, and what is forgotten."""

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import apsw
import pytest

from shared.errors import IdempotencyMismatch, InvalidInput, LimitExceeded, StorageCorrupt, StorageUnavailable
from shared.storage import ledger as module
from shared.storage.database import Database, Schema
from shared.storage.ledger import MAX_KEY_CHARS, SCHEMA, Doubt, Fresh, Ledger, Replay, Retention

COUNTER = Schema("counter", ("CREATE TABLE counts (n INTEGER)",))
DAY_NS = 24 * 3600 * 10**9


class Clock:
    now = 1_000 * DAY_NS

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(tmp_path / "ledger.db", SCHEMA, COUNTER)
    database.open()
    yield database
    database.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ledger(database: Database, clock: Clock) -> Ledger:
    return Ledger(database, Retention(timedelta(days=30), outcomes=1_000), clock)


def increment(connection: apsw.Connection) -> bytes:
    connection.execute("INSERT INTO counts VALUES (1)")
    return b"one more"


async def count(database: Database) -> object:
    return await database.read(lambda connection: connection.execute("SELECT count(*) FROM counts").get)


async def keys(database: Database) -> list[object]:
    return await database.read(
        lambda connection: [row[0] for row in connection.execute("SELECT key FROM effects ORDER BY id")]
    )


async def test_a_repeated_key_gets_the_recorded_outcome(ledger: Ledger) -> None:
    assert await ledger.look_up("k", b"d") is None
    assert await ledger.begin("k", b"d") == Fresh(1)
    await ledger.record("k", b"d", b"result")
    assert await ledger.begin("k", b"d") == Replay(b"result")
    assert await ledger.look_up("k", b"d") == Replay(b"result")


async def test_a_failure_is_an_outcome_and_the_first_one_stands(ledger: Ledger) -> None:
    await ledger.record("k", b"d", b"refused", is_failure=True)
    await ledger.record("k", b"d", b"done after all")
    assert await ledger.look_up("k", b"d") == Replay(b"refused", is_failure=True)


async def test_an_intention_without_outcome_is_in_doubt_until_somebody_decides(ledger: Ledger, clock: Clock) -> None:
    await ledger.begin("k", b"d")
    assert await ledger.begin("k", b"d") == Doubt(1, clock.now)
    assert await ledger.look_up("k", b"d") is None
    clock.now += 5
    assert await ledger.begin("k", b"d", may_repeat=True) == Fresh(2)
    assert await ledger.begin("k", b"d") == Doubt(2, clock.now)
    await ledger.record("k", b"d", b"at last")
    assert await ledger.begin("k", b"d", may_repeat=True) == Replay(b"at last")


async def test_a_key_with_another_request_is_refused_whatever_its_state(ledger: Ledger, database: Database) -> None:
    await ledger.begin("intended", b"d")
    await ledger.record("done", b"d", b"result")
    for key in ("intended", "done"):
        for attempt in (
            ledger.begin(key, b"other"),
            ledger.look_up(key, b"other"),
            ledger.record(key, b"other", b"x"),
            ledger.commit(key, b"other", increment),
        ):
            with pytest.raises(IdempotencyMismatch, match=key):
                await attempt
    assert await count(database) == 0


async def test_an_effect_and_its_outcome_are_one_transaction(ledger: Ledger, database: Database) -> None:
    assert await ledger.commit("k", b"d", increment) == Replay(b"one more")
    assert await ledger.commit("k", b"d", increment) == Replay(b"one more")
    assert await count(database) == 1


async def test_an_effect_that_fails_leaves_neither_itself_nor_an_outcome(ledger: Ledger, database: Database) -> None:
    def fail(connection: apsw.Connection) -> bytes:
        increment(connection)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await ledger.commit("k", b"d", fail)
    assert (await count(database), await ledger.look_up("k", b"d")) == (0, None)


async def test_an_outcome_that_is_too_large_undoes_the_effect(ledger: Ledger, database: Database) -> None:
    def large(connection: apsw.Connection) -> bytes:
        increment(connection)
        return bytes(module.MAX_OUTCOME_BYTES + 1)

    with pytest.raises(LimitExceeded, match="can be recorded"):
        await ledger.commit("k", b"d", large)
    with pytest.raises(LimitExceeded):
        await ledger.record("k", b"d", bytes(module.MAX_OUTCOME_BYTES + 1))
    assert await count(database) == 0


@pytest.mark.parametrize("key", ["", "k" * (MAX_KEY_CHARS + 1)])
async def test_a_key_out_of_bounds_is_refused(ledger: Ledger, key: str) -> None:
    for attempt in (ledger.begin(key, b"d"), ledger.look_up(key, b"d"), ledger.record(key, b"d", b"")):
        with pytest.raises(InvalidInput, match="idempotency key has"):
            await attempt


async def test_a_flipped_bit_in_an_outcome_is_noticed(ledger: Ledger, database: Database) -> None:
    await ledger.record("k", b"d", b"result")
    await database.write(lambda connection: connection.execute("UPDATE effects SET outcome = x'72657374'") and None)
    for attempt in (ledger.look_up("k", b"d"), ledger.begin("k", b"d"), ledger.commit("k", b"d", increment)):
        with pytest.raises(StorageCorrupt, match="recorded for k is damaged"):
            await attempt
    assert await count(database) == 0


async def test_a_file_that_cannot_be_written_stops_the_intention(ledger: Ledger, database: Database) -> None:
    await database.write(lambda connection: connection.pragma("query_only", True))
    with pytest.raises(StorageUnavailable) as caught:
        await ledger.begin("k", b"d")
    assert "writable" in caught.value.remedy
    assert await ledger.look_up("k", b"d") is None


async def test_the_newest_thousand_outcomes_are_kept_and_every_intention(ledger: Ledger, database: Database) -> None:
    await ledger.begin("in doubt", b"d")
    await asyncio.gather(*(ledger.record(f"k{number}", b"d", b"x") for number in range(1_200)))
    await ledger.prune()
    kept = await keys(database)
    assert kept == ["in doubt", *(f"k{number}" for number in range(200, 1_200))]
    assert await ledger.prune() == 0


async def test_the_file_is_pruned_while_it_is_written(database: Database, clock: Clock) -> None:
    ledger = Ledger(database, Retention(outcomes=10), clock)
    await asyncio.gather(*(ledger.record(f"k{number}", b"d", b"x") for number in range(module.PRUNE_EVERY)))
    assert len(await keys(database)) == 10


async def test_what_is_old_is_forgotten_and_a_clock_moved_back_forgets_nothing(
    ledger: Ledger, database: Database, clock: Clock
) -> None:
    await ledger.begin("old intention", b"d")
    await ledger.record("old", b"d", b"x")
    clock.now += 29 * DAY_NS
    await ledger.record("young", b"d", b"x")
    clock.now -= 400 * DAY_NS
    assert await ledger.prune() == 0
    clock.now += 402 * DAY_NS
    assert await ledger.prune() == 2
    assert await keys(database) == ["young"]
