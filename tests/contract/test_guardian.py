"""The guardian over a real gRPC server and a real file: every act at the next step boundary, once, and on record."""

import asyncio
import random
import time
from pathlib import Path
from typing import Any

import pytest

from services.agent.care.agent_store import SCHEMAS
from services.agent.guardian.audit import Order
from services.agent.guardian.store import GuardianStore
from services.agent.nodes.settle_doubt import SKIP
from shared.capability.wire import json_value
from shared.errors import AlreadyExists, Forbidden, InvalidInput, NotFound, WaystationError, WrongState
from shared.pb import agent_v1, common_v1
from shared.rpc.status import peer_errors
from shared.storage.database import Database
from tests.fakes.agent_mesh import Mesh, mesh

LOW, HIGH = common_v1.EFFORT_LOW, common_v1.EFFORT_HIGH
State = agent_v1.Run
DONE = {"reason": "done", "next": "answer_now"}
CODE = {"reason": "code", "next": "coding"}


async def act(made: Mesh, run_id: str, request_id: str = "", **action: Any) -> agent_v1.Intervention:
    """Intervene as anna, who has a reason."""
    words = {
        "actor": "anna",
        "reason": "it looks wrong",
        **{key: action.pop(key) for key in ("actor", "reason") if key in action},
    }
    request = agent_v1.InterveneRequest(run_id=run_id, request_id=request_id, **words, **action)
    with peer_errors("agent"):
        return (await made.guardian.Intervene(request, timeout=30)).intervention


def override(**change: Any) -> dict[str, Any]:
    return {"override": agent_v1.Override(**change)}


def pause() -> dict[str, Any]:
    return {"pause": agent_v1.Pause()}


def resume() -> dict[str, Any]:
    return {"resume": agent_v1.Resume()}


def cancel() -> dict[str, Any]:
    return {"cancel": agent_v1.Cancel()}


async def hanging(made: Mesh, **fields: Any) -> agent_v1.Run:
    """A run that hangs in its first hop."""
    made.service.hang.clear()
    made.service.was_called.clear()
    run = await made.start(**fields)
    await asyncio.wait_for(made.service.was_called.wait(), 30)
    return run


async def log_of(made: Mesh, run_id: str = "") -> list[agent_v1.Intervention]:
    response = await made.guardian.ListInterventions(agent_v1.ListInterventionsRequest(run_id=run_id), timeout=30)
    return list(response.interventions)


async def until_state(made: Mesh, run_id: str, *states: int) -> agent_v1.Run:
    async with asyncio.timeout(60):
        while (run := await made.runs.get(run_id)).state not in states:
            await asyncio.sleep(0.01)
    return run


async def ended(made: Mesh, run_id: str) -> agent_v1.Run:
    made.service.hang.set()
    made.seen = await made.watch(run_id)
    return made.seen[-1].state_changed.run


async def test_a_pause_and_a_resume_are_events_of_the_run_and_entries_of_the_log(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        run = await hanging(made, effort=LOW)
        asked = await act(made, run.run_id, **pause())
        assert not asked.HasField("apply_time")
        made.service.hang.set()
        await until_state(made, run.run_id, State.STATE_PAUSED)
        await act(made, run.run_id, **resume())
        assert (await ended(made, run.run_id)).state == State.STATE_SUCCEEDED
        newest, oldest = await log_of(made, run.run_id)
        verdict = await made.guardian.VerifyAudit(agent_v1.VerifyAuditRequest(), timeout=30)
    assert [
        (item.action, item.reason, json_value(item.before), json_value(item.after))
        for item in made.payloads("guardian_acted")
    ] == [
        ("pause", "it looks wrong", {"state": "running"}, {"state": "paused"}),
        ("resume", "it looks wrong", {"state": "paused"}, {"state": "running"}),
    ]
    assert (oldest.action, newest.action, oldest.actor) == ("pause", "resume", "anna")
    assert oldest.HasField("apply_time") and newest.HasField("apply_time")
    assert (verdict.is_intact, verdict.entry_count, verdict.first_broken_entry) == (True, 4, 0)


async def test_a_cancel_says_who_and_why_and_ends_the_call(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        run = await hanging(made, effort=LOW)
        done = await act(made, run.run_id, **cancel())
        assert done.HasField("apply_time")
        await asyncio.wait_for(made.service.is_closed.wait(), 30)
        made.seen = await made.watch(run.run_id)
    final = made.seen[-1].state_changed.run
    assert (final.state, final.error.message) == (State.STATE_CANCELLED, "anna: it looks wrong")
    [acted] = made.payloads("guardian_acted")
    assert (acted.action, json_value(acted.after)) == ("cancel", {"state": "cancelled"})


async def test_a_resume_before_the_pause_took_effect_wins_and_says_so(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        run = await hanging(made, effort=LOW)
        first = await act(made, run.run_id, **pause())
        second = await act(made, run.run_id, **resume())
        assert (await ended(made, run.run_id)).state == State.STATE_SUCCEEDED
        log = {item.entry: item for item in await log_of(made, run.run_id)}
    assert not any(item.state_changed.run.state == State.STATE_PAUSED for item in made.seen)
    assert json_value(log[first.entry].after) == {"superseded_by": second.intervention_id}
    assert not log[first.entry].HasField("apply_time")
    assert log[second.entry].HasField("apply_time")


async def test_a_forced_route_is_the_next_decision_and_only_that(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        made.model.decisions = [DONE]
        run = await hanging(made, effort=LOW)
        await act(made, run.run_id, **override(force_capability="coding"))
        assert (await ended(made, run.run_id)).state == State.STATE_SUCCEEDED
    decisions = [item.decision for item in made.payloads("decision_made")]
    assert [(item.source, item.capability) for item in decisions][1] == (agent_v1.Decision.SOURCE_GUARDIAN, "coding")
    assert len(made.payloads("hop_started")) == 2
    assert decisions[2].source != agent_v1.Decision.SOURCE_GUARDIAN
    [acted] = made.payloads("guardian_acted")
    assert json_value(acted.before)["forced_capability"] == ""
    assert json_value(acted.after)["forced_capability"] == "coding"


async def test_a_vetoed_service_is_not_called_although_the_router_recommends_it(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        made.model.decisions = [CODE]
        run = await hanging(made, effort=HIGH)
        made.model.decisions = [CODE, CODE]  # the model insists, and is not believed
        await act(made, run.run_id, **override(veto_capability="coding"))
        assert (await ended(made, run.run_id)).state == State.STATE_SUCCEEDED
    assert len(made.payloads("hop_started")) == 1
    assert [item.decision.source for item in made.payloads("decision_made")][1] == agent_v1.Decision.SOURCE_FALLBACK


async def test_of_two_guardians_the_later_one_wins_and_both_entries_say_so(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        made.model.decisions = [DONE]
        run = await hanging(made, effort=LOW)
        forced = await act(made, run.run_id, actor="anna", **override(force_capability="coding"))
        vetoed = await act(made, run.run_id, actor="bert", **override(veto_capability="coding"))
        await ended(made, run.run_id)
        log = {item.entry: item for item in await log_of(made, run.run_id)}
    assert len(made.payloads("hop_started")) == 1
    assert json_value(log[forced.entry].after) == {"superseded_by": vetoed.intervention_id}
    assert json_value(log[vetoed.entry].after)["supersedes"] == [forced.intervention_id]
    [acted] = made.payloads("guardian_acted")
    assert acted.actor == "bert"


async def test_a_skipped_step_is_a_hop_that_was_left_out_once(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        made.model.decisions = [CODE, CODE, DONE]
        run = await hanging(made, effort=HIGH)
        made.service.failure = Forbidden("not today")
        made.service.forgets_failure = True
        await act(made, run.run_id, **override(force_capability="coding"))
        await act(made, run.run_id, **override(skip_step="call_capability"))
        assert (await ended(made, run.run_id)).state == State.STATE_SUCCEEDED
    ends = made.payloads("hop_ended")
    assert [end.error.message for end in ends][1] == "A guardian left this call out."
    assert len(made.payloads("hop_started")) == len(ends) - 1


async def test_the_budget_and_the_question_of_a_paused_run_change_when_it_goes_on(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        run = await hanging(made, effort=LOW)
        await act(made, run.run_id, **pause())
        made.service.hang.set()
        await until_state(made, run.run_id, State.STATE_PAUSED)
        edit = agent_v1.Override()
        edit.state.update({"query": "sort it well"})
        await act(made, run.run_id, override=edit)
        waiting = await act(made, run.run_id, **override(remaining_hops=0))
        assert not waiting.HasField("apply_time")
        await act(made, run.run_id, **resume())
        final = await ended(made, run.run_id)
        log = {item.action: item for item in await log_of(made, run.run_id)}
        checkpoints = await made.stub.ListCheckpoints(
            agent_v1.ListCheckpointsRequest(run_id=run.run_id, has_state=True, page_size=1), timeout=30
        )
    assert final.remaining_hops == 0
    assert json_value(checkpoints.checkpoints[0].state)["query"] == "sort it well"
    acted = [(json_value(item.before), json_value(item.after)) for item in made.payloads("guardian_acted")]
    assert ({"query": "sort it"}, {"query": "sort it well"}) in acted
    assert ({"remaining_hops": 2}, {"remaining_hops": 0}) in acted
    assert log["set_state"].HasField("apply_time")


async def test_an_act_sent_twice_is_one_act(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        run = await hanging(made, effort=LOW)
        acts = await asyncio.gather(
            *(act(made, run.run_id, "once", **override(force_capability="coding")) for _ in range(5))
        )
        assert len({item.intervention_id for item in acts}) == 1
        with pytest.raises(AlreadyExists, match="belongs to another act"):
            await act(made, run.run_id, "once", **pause())
        await ended(made, run.run_id)
        again = await act(made, run.run_id, "once", **override(force_capability="coding"))
    assert again.intervention_id == acts[0].intervention_id and again.HasField("apply_time")
    assert len(made.payloads("guardian_acted")) == 1


@pytest.mark.parametrize(
    ("fields", "error", "said"),
    [
        ({"actor": " ", **pause()}, InvalidInput, "actor must have"),
        ({"reason": "", **pause()}, InvalidInput, "reason must have"),
        ({"reason": "x" * 2_001, **pause()}, InvalidInput, "2000"),
        ({"actor": "x" * 129, **pause()}, InvalidInput, "128"),
        ({"reason": "bell\x07", **pause()}, InvalidInput, "control characters"),
        ({}, InvalidInput, "says not what to do"),
        ({"override": agent_v1.Override()}, InvalidInput, "says not what to do"),
        (override(force_capability="cooking"), NotFound, "coding"),
        (override(veto_capability="cooking"), NotFound, "no capability 'cooking'"),
        (override(skip_step="respond"), NotFound, "call_capability"),
        (override(remaining_hops=99), InvalidInput, "0 to 3"),
        (override(remaining_hops=-1), InvalidInput, "0 to 3"),
        (override(state={"hops": []}), Forbidden, "protected"),
        (override(state={"guardian_entry": 7}), Forbidden, "protected"),
        (override(state={"nonsense": 1}), InvalidInput, "does not exist"),
        (override(state={"effort": "heroic"}), InvalidInput, "effort"),
        (override(state={"query": "x" * 70_000}), InvalidInput, "65536"),
        (override(state={}), InvalidInput, "nothing to change"),
    ],
)
async def test_what_cannot_be_is_refused_and_not_recorded(
    tmp_path: Path, fields: dict[str, Any], error: type[WaystationError], said: str
) -> None:
    async with mesh(tmp_path) as made:
        run = await hanging(made, effort=LOW)
        with pytest.raises(error, match=said):
            await act(made, run.run_id, **fields)
        assert await log_of(made) == []


@pytest.mark.parametrize("workflow", ["review", "linear", "debate"])
async def test_nothing_is_forced_or_vetoed_where_no_step_decides(tmp_path: Path, workflow: str) -> None:
    async with mesh(tmp_path) as made:
        run = await hanging(made, effort=LOW, workflow=workflow)
        for change in ({"force_capability": "coding"}, {"veto_capability": "coding"}):
            with pytest.raises(WrongState, match=f"The workflow {workflow} decides nothing") as refused:
                await act(made, run.run_id, **override(**change))
            assert "Skip a step" in refused.value.remedy
        assert await log_of(made) == []


async def test_runs_that_have_ended_or_never_were_cannot_be_acted_on(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        run = await made.finish(effort=LOW)
        for action in (pause(), resume(), cancel(), override(remaining_hops=1)):
            with pytest.raises(WrongState, match="is succeeded"):
                await act(made, run.run_id, **action)
            with pytest.raises(NotFound, match="no run"):
                await act(made, "run-none", **action)
        with pytest.raises(NotFound), peer_errors("agent"):
            await made.guardian.ListInterventions(agent_v1.ListInterventionsRequest(run_id="run-none"), timeout=30)
        assert await log_of(made) == []


async def test_an_override_that_comes_too_late_has_lapsed(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        made.model.decisions = [DONE]
        run = await hanging(made, effort=LOW)
        late = await act(made, run.run_id, **override(force_capability="coding"))
        await act(made, run.run_id, **cancel())
        log = {item.entry: item for item in await log_of(made, run.run_id)}
    assert json_value(log[late.entry].after) == {"state": "cancelled"}
    assert not log[late.entry].HasField("apply_time")


async def test_the_log_lists_in_pages_newest_first(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        run = await hanging(made, effort=LOW)
        for number in range(5):
            await act(made, run.run_id, **override(remaining_hops=number % 3))
        request = agent_v1.ListInterventionsRequest(page_size=2)
        entries: list[int] = []
        while True:
            page = await made.guardian.ListInterventions(request, timeout=30)
            entries += [item.entry for item in page.interventions]
            if not page.next_page_token:
                break
            request.page_token = page.next_page_token
        assert entries == [5, 4, 3, 2, 1]
        for bad in ({"page_size": -1}, {"page_size": 501}, {"page_token": "x"}):
            with pytest.raises(InvalidInput), peer_errors("agent"):
                await made.guardian.ListInterventions(agent_v1.ListInterventionsRequest(**bad), timeout=30)


async def test_an_act_survives_the_death_of_its_process_and_takes_effect_once(tmp_path: Path) -> None:
    async with mesh(tmp_path, dies=True) as made:
        run = await hanging(made, effort=LOW)
        await act(made, run.run_id, **override(remaining_hops=0))
    async with mesh(tmp_path, owner="agent-2") as made:
        made.seen = await made.watch(run.run_id)
        for doubt in made.seen[-1].state_changed.run.questions:  # when the service has moved
            await made.runs.answer(run.run_id, doubt.question_id, SKIP, "")
            made.seen = await made.watch(run.run_id)
        [entry] = await log_of(made, run.run_id)
    final = made.seen[-1].state_changed.run
    assert (final.state, final.remaining_hops) == (State.STATE_SUCCEEDED, 0)
    assert len(made.payloads("guardian_acted")) == 1
    assert entry.HasField("apply_time")


async def test_a_cancel_that_was_recorded_and_not_done_is_done_at_the_next_start(tmp_path: Path) -> None:
    async with mesh(tmp_path, dies=True) as made:
        run = await hanging(made, effort=LOW)
    database = Database(tmp_path / "agent.db", *SCHEMAS)
    database.open()
    await GuardianStore(database).keep(Order(run.run_id, "anna", "stop it", "cancel", {"state": "cancelled"}))
    database.close()
    async with mesh(tmp_path, owner="agent-2") as made:
        assert (await until_state(made, run.run_id, State.STATE_CANCELLED)).error.message == "anna: stop it"


async def test_after_an_acknowledged_pause_no_hop_begins(tmp_path: Path) -> None:
    """The moment of the pause is drawn: so many events into the run, then so many turns of the event loop."""
    draw, paused = random.Random(20261121), 0
    async with mesh(tmp_path) as made:
        made.model.words = ["done"]
        for _ in range(60):
            made.model.decisions = [CODE, DONE]
            run = await made.start(effort=HIGH)
            wanted, turns = draw.randrange(1, 9), draw.randrange(12)
            async for event in made.runs.watch(run.run_id, 0):
                if event.sequence >= wanted:
                    break
            for _ in range(turns):
                await asyncio.sleep(0)
            try:
                await act(made, run.run_id, **pause())
            except WrongState:  # it has ended
                continue
            acknowledged_ns = time.time_ns()
            final = await until_state(made, run.run_id, State.STATE_PAUSED, State.STATE_SUCCEEDED)
            begun = [event for event in await made.store.events(run.run_id, 0, 100) if event.HasField("hop_started")]
            assert all(event.create_time.ToNanoseconds() <= acknowledged_ns for event in begun)
            paused += final.state == State.STATE_PAUSED
            if final.state == State.STATE_PAUSED:
                await act(made, run.run_id, **cancel())
    assert paused > 10  # the draw does find moments within runs
