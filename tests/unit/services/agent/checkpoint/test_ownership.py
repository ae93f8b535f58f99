"""Ownership of threads: leases, epochs, and clocks that are wrong."""

from collections.abc import Iterator
from contextlib import closing

import apsw
import pytest

from services.agent.checkpoint import ownership
from services.agent.checkpoint.tables import SCHEMA
from shared.errors import StaleEpoch, ThreadBusy

SECOND = 1_000_000_000
NOW = 1_800_000_000 * SECOND
LEASE = 10 * SECOND


@pytest.fixture
def connection() -> Iterator[apsw.Connection]:
    with closing(apsw.Connection(":memory:")) as found:
        found.execute(str(SCHEMA.migrations[0]))
        yield found


def claim(connection: apsw.Connection, owner: str, now: int = NOW) -> int:
    return ownership.claim(connection, "t", owner, now + LEASE, now)


def test_an_epoch_is_the_generation_and_a_counter(connection: apsw.Connection) -> None:
    assert [claim(connection, "a") for _ in range(3)] == [(1 << 32) + 1, (1 << 32) + 2, (1 << 32) + 3]


def test_a_thread_is_taken_over_only_when_the_lease_has_lapsed(connection: apsw.Connection) -> None:
    first = claim(connection, "a")
    with pytest.raises(ThreadBusy, match="'t' belongs to a") as caught:
        claim(connection, "b", NOW + LEASE - 1)
    assert caught.value.metadata == {"thread_id": "t", "owner": "a"}
    assert ownership.current(connection, "t") == ownership.Ownership("a", first, NOW + LEASE)
    assert claim(connection, "b", NOW + LEASE) == first + 1


def test_a_stalled_owner_neither_prolongs_nor_ends_its_successors_lease(connection: apsw.Connection) -> None:
    first = claim(connection, "a")
    second = claim(connection, "b", NOW + LEASE)
    before = ownership.current(connection, "t")
    assert ownership.renew(connection, "a", {"t": first}, NOW + 100 * LEASE) == {"t"}
    assert not ownership.release(connection, "t", first)
    assert ownership.current(connection, "t") == before
    with pytest.raises(StaleEpoch) as caught:
        ownership.check_epoch(connection, "t", first)
    assert caught.value.metadata["epoch"] == str(first) and caught.value.metadata["current_epoch"] == str(second)


def test_an_owner_under_an_older_epoch_of_its_own_is_stale_too(connection: apsw.Connection) -> None:
    first = claim(connection, "a")
    second = claim(connection, "a")
    assert ownership.renew(connection, "a", {"t": first}, NOW + 2 * LEASE) == {"t"}
    assert ownership.renew(connection, "a", {"t": second}, NOW + 2 * LEASE) == set()
    assert ownership.current(connection, "t") == ownership.Ownership("a", second, NOW + 2 * LEASE)


def test_a_released_thread_is_free_at_once_and_its_epochs_go_on(connection: apsw.Connection) -> None:
    first = claim(connection, "a")
    assert ownership.release(connection, "t", first)
    assert not ownership.release(connection, "t", first)
    assert claim(connection, "b") == first + 1


def test_the_leases_of_all_others_end_and_their_threads_keep_their_names(connection: apsw.Connection) -> None:
    for thread_id, owner in (("1", "a"), ("2", "b"), ("3", "a")):
        ownership.claim(connection, thread_id, owner, NOW + LEASE, NOW)
    ownership.end_leases(connection, "b")
    found = [ownership.current(connection, thread_id) for thread_id in ("1", "2", "3")]
    assert [each and (each.owner, each.lease_ns) for each in found] == [("a", 0), ("b", NOW + LEASE), ("a", 0)]
    assert ownership.claim(connection, "1", "c", NOW + LEASE, NOW)
    with pytest.raises(ThreadBusy):
        ownership.claim(connection, "2", "c", NOW + LEASE, NOW)


def test_a_clock_put_back_by_an_hour_does_not_keep_a_dead_owners_thread_for_an_hour(
    connection: apsw.Connection,
) -> None:
    first = claim(connection, "a")
    assert claim(connection, "b", NOW - 3_600 * SECOND) == first + 1


def test_a_clock_put_back_by_a_little_breaks_no_lease(connection: apsw.Connection) -> None:
    claim(connection, "a")
    with pytest.raises(ThreadBusy):
        claim(connection, "b", NOW - LEASE)


def test_a_new_generation_makes_every_epoch_stale(connection: apsw.Connection) -> None:
    first = claim(connection, "a")
    assert ownership.raise_generation(connection) == 2
    with pytest.raises(StaleEpoch):
        ownership.check_epoch(connection, "t", first)
    assert ownership.renew(connection, "a", {"t": first}, NOW + LEASE) == {"t"}
    assert claim(connection, "b") == (2 << 32) + 1
    assert ownership.raise_generation(connection, lowest=7) == 7
    assert claim(connection, "b", NOW + LEASE) == (7 << 32) + 1


def test_a_thread_nobody_ever_held_has_no_owner_and_refuses_any_epoch(connection: apsw.Connection) -> None:
    assert ownership.current(connection, "t") is None
    with pytest.raises(StaleEpoch, match="epoch 5 is not 0"):
        ownership.check_epoch(connection, "t", 5)
