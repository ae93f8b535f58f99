"""The event streams over real HTTP: resumed at any point, through deaths of the agent and lives of the process."""

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from services.control.clock import Clock
from shared.pb import agent_v1, common_v1, control_v1
from tests.fakes.control_mesh import FakeAgent, Mesh, agent_at, following, mesh_in, reporting, started, until

RECONNECTS = 50
EVENTS = 400

Line = tuple[str, str, str]


@pytest.fixture
async def mesh(tmp_path: Path) -> AsyncIterator[Mesh]:
    async with mesh_in(tmp_path) as mesh:
        yield mesh


def text(number: int) -> agent_v1.TextProduced:
    return agent_v1.TextProduced(text=f"piece {number}\n")


async def read(mesh: Mesh, path: str, cursor: str, last: str, most: int = 10**9) -> list[Line]:
    """Read the events after a cursor up to the one named `last`, and leave after at most so many."""
    lines: list[Line] = []
    headers = {"last_event_id": cursor} if cursor and most % 2 else {}
    query = f"?after={cursor}" if cursor and not headers else ""
    async with following(mesh, path + query, **headers) as events:
        async for event in events:
            if event.data and event.event != "ready":  # to the client a comment is an event without data
                lines.append((event.event, event.id, event.data))
            if event.event == last or len(lines) == most:
                break
    return lines


async def read_restlessly(mesh: Mesh, path: str, cursor: str, last: str, rng: random.Random) -> tuple[list[Line], int]:
    """Read up to the event named `last`, leaving and coming back at random; also how often it came."""
    lines: list[Line] = []
    visits = 0
    while not lines or lines[-1][0] != last:
        reached = lines[-1][1] if lines else cursor
        lines += await read(mesh, path, reached, last, rng.randint(1, 2 * EVENTS // RECONNECTS - 4))
        visits += 1
    return lines, visits


async def produce(agent: FakeAgent, first: int, count: int) -> None:
    for number in range(first, first + count):
        await agent.add(text_produced=text(number))
        await asyncio.sleep(0.001)


async def test_fifty_reconnects_see_a_run_as_an_undisturbed_reader_does(mesh: Mesh) -> None:
    path, rng = "/api/runs/r1/events", random.Random(4)
    async with agent_at(mesh) as agent:
        await mesh.telemetry.ReportRunEvents(reporting(agent.run))
        calm = asyncio.create_task(read(mesh, path, "", "end"))
        restless = asyncio.create_task(read_restlessly(mesh, path, "", "end", rng))
        await produce(agent, 0, EVENTS // 2)
    # the agent is dead; it comes back at another address
    async with agent_at(mesh, agent):
        await produce(agent, EVENTS // 2, EVENTS // 2)
        await agent.finish()
        lines, visits = await restless
        assert visits > RECONNECTS
        assert lines == await calm
    numbers = [int(number) for name, number, _ in lines if name != "end"]
    assert numbers == list(range(1, EVENTS + 2))


async def test_fifty_reconnects_see_all_events_as_an_undisturbed_reader_does(mesh: Mesh) -> None:
    cursor, rng = str(mesh.control.event_log.last_cursor), random.Random(5)
    calm = asyncio.create_task(read(mesh, "/api/events", cursor, "mode_changed"))
    restless = asyncio.create_task(read_restlessly(mesh, "/api/events", cursor, "mode_changed", rng))
    for number in range(1, EVENTS // 10 + 1):
        spans = [started(f"{number:08x}{each:08x}") for each in range(10)]
        await mesh.telemetry.ReportSpanStarts(control_v1.ReportSpanStartsRequest(instance_id="a", spans=spans))
    await mesh.control.mode.set("debug")
    lines, visits = await restless
    assert visits > RECONNECTS
    assert lines == await calm
    assert [name for name, _, _ in lines] == ["span_started"] * EVENTS + ["mode_changed"]


async def test_a_run_is_waited_for_while_its_agent_is_dead(mesh: Mesh) -> None:
    async with agent_at(mesh) as agent:
        await agent.add(text_produced=text(1))
        await mesh.telemetry.ReportRunEvents(reporting(agent.run))
    async with following(mesh, "/api/runs/r1/events?after=1") as events:
        rest = asyncio.create_task(anext(events))
        async with agent_at(mesh, agent):
            await agent.finish()
            assert ((await rest).event, (await until(events, "end")).id) == ("state_changed", "2")


async def test_a_run_that_waits_for_somebody_is_followed_on(mesh: Mesh) -> None:
    async with agent_at(mesh) as agent, following(mesh, "/api/runs/r1/events") as events:
        await agent.add(text_produced=text(1))
        await until(events, "text_produced")
        agent.is_broken = True  # as an agent does that closes the watch of a run which asks
        agent.news.fire()
        await agent.is_alone.wait()
        agent.is_broken = False
        await agent.add(run_resumed=agent_v1.RunResumed(cause="answer"))
        assert (await until(events, "run_resumed")).id == "2"


@pytest.mark.parametrize("is_over", [False, True])
async def test_a_number_that_the_run_never_had_is_reset(mesh: Mesh, is_over: bool) -> None:
    async with agent_at(mesh) as agent:
        await agent.add(text_produced=text(1))
        if is_over:
            await agent.finish()
        async with following(mesh, "/api/runs/r1/events", last_event_id="1000") as events:
            reset = await anext(events)
            assert reset.json() == {"after": "1000", "until": reset.id, "cause": "another_life", "missed": None}
            if not is_over:
                await agent.finish()
                assert (await anext(events)).id == "2"
            assert (await anext(events)).json()["reason"] == "finished"


async def test_a_run_that_the_agent_has_lost_is_gone(mesh: Mesh) -> None:
    async with agent_at(mesh) as agent, following(mesh, "/api/runs/r1/events") as events:
        await agent.add(text_produced=text(1))
        await until(events, "text_produced")
        agent.run.run_id = "another"
        agent.is_broken = True
        agent.news.fire()
        end = (await until(events, "end")).json()
        assert (end["reason"], end["error"]["reason"]) == ("gone", "NOT_FOUND")


async def test_hops_decisions_and_messages_are_told_once(mesh: Mesh) -> None:
    run = agent_v1.Run(run_id="r1", state=agent_v1.Run.STATE_RUNNING)
    happened = [
        agent_v1.RunEvent(decision_made=agent_v1.DecisionMade(decision=agent_v1.Decision(capability="rag"))),
        agent_v1.RunEvent(text_produced=text(1)),
        agent_v1.RunEvent(hop_started=agent_v1.HopStarted(capability="rag")),
        agent_v1.RunEvent(message_sent=agent_v1.MessageSent(message=common_v1.A2aMessage(message_id="m1"))),
        agent_v1.RunEvent(hop_ended=agent_v1.HopEnded(capability="rag")),
    ]
    for number, event in enumerate(happened, 1):
        event.run_id, event.sequence = "r1", number
    cursor = mesh.control.event_log.last_cursor
    await mesh.telemetry.ReportRunEvents(reporting(run, events=happened[:3]))
    await mesh.telemetry.ReportRunEvents(reporting(run, events=happened))  # the answer to the first was lost
    await mesh.control.mode.set("debug")
    lines = await read(mesh, "/api/events", str(cursor), "mode_changed")
    names = [name for name, _, _ in lines]
    assert names == ["decision", "hop", "run_changed", "a2a_message", "hop", "mode_changed"]
    assert '"type":"hop_ended"' in lines[4][2]


async def test_a_cursor_from_before_a_restart_is_reset_even_when_the_clock_went_back(tmp_path: Path) -> None:
    async with mesh_in(tmp_path) as mesh:
        await mesh.control.mode.set("debug")
        before = mesh.control.event_log.last_cursor
    async with mesh_in(tmp_path, clock=Clock(wall=lambda: 1_000_000_000.0)) as mesh:
        async with following(mesh, "/api/events", last_event_id=str(before)) as events:
            reset = await until(events, "reset")
            assert reset.json()["cause"] == "another_life"
            await mesh.control.mode.set("shipping")
            changed = await until(events, "mode_changed")
    assert before < int(reset.id) < int(changed.id)


async def test_a_reader_that_was_away_too_long_is_told_how_much_it_missed(tmp_path: Path) -> None:
    async with mesh_in(tmp_path, max_event_log_bytes=10_000) as mesh:
        cursor = mesh.control.event_log.last_cursor
        for _ in range(10):
            await mesh.control.mode.set("debug")
            await mesh.control.mode.set("shipping")
        async with following(mesh, f"/api/events?after={cursor}") as events:
            reset = (await until(events, "reset")).json()
    assert reset["cause"] == "too_old"
    assert reset["missed"] == int(reset["until"]) - cursor > 5


async def test_a_stream_of_a_run_nobody_knows_is_refused(mesh: Mesh) -> None:
    async with agent_at(mesh):
        assert (await mesh.http.get("/api/runs/nope/events?after=5")).status_code == 404
    answer = await mesh.http.get("/api/runs/nope/events")
    assert (answer.status_code, answer.json()["reason"]) == (503, "PEER_UNAVAILABLE")
