"""The observability mode: what is set, what a crash lays over it, and what is left of both after a restart."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from services.control.clock import Clock
from services.control.mode.mode_store import ModeStore
from services.control.mode.observability_mode import CRASH_WINDOW_S, MAX_DURATION_S, ModeState, ObservabilityMode
from services.control.mode.schema import SCHEMA
from shared.errors import InvalidInput, StorageUnavailable
from shared.storage.database import Database


@asynccontextmanager
async def mode_in(home: Path, clock: Clock, changes: list[ModeState] | None = None) -> AsyncIterator[ObservabilityMode]:
    """The mode as a life of the process has it."""
    database = Database(home / "control.db", SCHEMA)
    database.open()
    mode = ObservabilityMode(ModeStore(database), clock, (changes if changes is not None else []).append)
    await mode.load()
    try:
        yield mode
    finally:
        database.close()


@pytest.fixture
async def mode(tmp_path: Path, hand: Any) -> AsyncIterator[ObservabilityMode]:
    async with mode_in(tmp_path, hand.clock) as mode:
        yield mode


async def test_it_is_shipping_until_somebody_sets_another(mode: ObservabilityMode) -> None:
    assert mode.state == ModeState("shipping", "shipping", None, "")
    assert await mode.set("debug") == ModeState("debug", "debug", None, "")


async def test_a_temporary_mode_goes_back_to_what_was_set_for_good(mode: ObservabilityMode, hand: Any) -> None:
    await mode.set("debug", 600)
    assert mode.state == ModeState("debug", "debug", hand.clock.wall() + 600, "")
    hand.now += 600
    assert mode.state == ModeState("shipping", "shipping", None, "")
    await mode.set("debug")
    await mode.set("shipping", 60)
    hand.now += 60
    assert mode.name == "debug"


async def test_a_crash_lays_a_window_over_the_set_mode(mode: ObservabilityMode, hand: Any) -> None:
    await mode.note_crash("rag-1")
    assert mode.state == ModeState("debug", "shipping", hand.clock.wall() + CRASH_WINDOW_S, "crash")
    hand.now += CRASH_WINDOW_S
    assert mode.state == ModeState("shipping", "shipping", None, "")


async def test_a_window_never_ends_or_shortens_a_chosen_debug_mode(mode: ObservabilityMode, hand: Any) -> None:
    await mode.set("debug", 3_600)
    await mode.note_crash("rag-1")
    assert mode.state == ModeState("debug", "debug", hand.clock.wall() + 3_600, "")
    hand.now += CRASH_WINDOW_S + 1
    assert mode.name == "debug"
    await mode.set("debug")
    await mode.note_crash("rag-1")
    assert mode.state == ModeState("debug", "debug", None, "")
    hand.now += CRASH_WINDOW_S + 1
    assert mode.name == "debug"


async def test_a_second_crash_extends_the_window(mode: ObservabilityMode, hand: Any) -> None:
    await mode.note_crash("rag-1")
    hand.now += 200
    await mode.note_crash("rag-2")
    hand.now += 200
    assert mode.name == "debug"


async def test_a_short_debug_mode_does_not_end_a_window(mode: ObservabilityMode, hand: Any) -> None:
    await mode.note_crash("rag-1")
    await mode.set("debug", 10)
    assert mode.state.expire_unix_s == hand.clock.wall() + CRASH_WINDOW_S
    hand.now += 11
    assert mode.state.mode == "debug" and mode.state.cause == "crash"


async def test_whoever_says_shipping_in_a_window_means_it(mode: ObservabilityMode) -> None:
    await mode.note_crash("rag-1")
    assert await mode.set("shipping") == ModeState("shipping", "shipping", None, "")


@pytest.mark.parametrize("is_crash", [False, True])
async def test_what_is_left_survives_a_restart(tmp_path: Path, hand: Any, is_crash: bool) -> None:
    async with mode_in(tmp_path, hand.clock) as mode:
        await (mode.note_crash("rag-1") if is_crash else mode.set("debug", CRASH_WINDOW_S))
    hand.now += 100  # nothing ran, and it counts
    async with mode_in(tmp_path, hand.clock) as mode:
        assert mode.state.mode == "debug"
        hand.now += 199
        assert mode.name == "debug"
        hand.now += 1
        assert mode.name == "shipping"
    async with mode_in(tmp_path, hand.clock) as mode:
        assert mode.state == ModeState("shipping", "shipping", None, "")


async def test_a_mode_set_for_good_survives_a_restart(tmp_path: Path, hand: Any) -> None:
    async with mode_in(tmp_path, hand.clock) as mode:
        await mode.set("debug")
    async with mode_in(tmp_path, hand.clock) as mode:
        assert mode.state == ModeState("debug", "debug", None, "")


async def test_a_clock_that_is_set_back_freezes_no_window(tmp_path: Path, hand: Any) -> None:
    async with mode_in(tmp_path, hand.clock) as mode:
        await mode.note_crash("rag-1")
        set_back = Clock(hand.clock.monotonic, lambda: 1_000_000.0)
    for _ in range(2):  # neither within a life nor in the next one
        async with mode_in(tmp_path, set_back) as mode:
            assert mode.name == "debug"
            hand.now += CRASH_WINDOW_S / 2
    async with mode_in(tmp_path, set_back) as mode:
        hand.now += CRASH_WINDOW_S
        assert mode.name == "shipping"


async def test_it_reverts_by_itself_and_says_so(tmp_path: Path) -> None:
    changes: list[ModeState] = []
    async with mode_in(tmp_path, Clock(), changes) as mode:
        running = asyncio.create_task(mode.run())
        seen = []
        async with asyncio.timeout(20):
            await mode.set("debug", 0.05)
            async for state in mode.watch():
                seen.append(state.mode)
                if state.mode == "shipping":
                    break
        mode.close()
        await running
        assert [state async for state in mode.watch()] == []
    assert seen == [state.mode for state in changes] == ["debug", "shipping"]


@pytest.mark.parametrize(
    "mode_name, duration_s",
    [("loud", None), ("", None), ("DEBUG", None), ("debug", 0), ("debug", -1), ("debug", float("nan")), ("debug", 1e9)],
)
async def test_bad_choices_are_refused_and_change_nothing(
    mode: ObservabilityMode, mode_name: str, duration_s: float | None
) -> None:
    with pytest.raises(InvalidInput):
        await mode.set(mode_name, duration_s)
    assert mode.state == ModeState("shipping", "shipping", None, "")


async def test_the_longest_duration_is_taken(mode: ObservabilityMode) -> None:
    assert (await mode.set("debug", MAX_DURATION_S)).mode == "debug"


async def test_a_mode_that_cannot_be_stored_is_not_set_but_a_crash_counts(tmp_path: Path, hand: Any) -> None:
    async with mode_in(tmp_path, hand.clock) as mode:
        pass  # the database is closed now
    with pytest.raises(StorageUnavailable):
        await mode.set("debug")
    assert mode.name == "shipping"
    await mode.note_crash("rag-1")
    assert mode.name == "debug"
