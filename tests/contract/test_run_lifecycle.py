"""Pause, resume, answer, fork, edit, prune and recover, over a real gRPC server and a real file."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import apsw
import pytest

from services.agent.answers import json_value
from services.agent.custody import Custodian
from services.agent.graph_shape import GraphShape
from services.agent.run_rows import save_run
from services.agent.run_store import RunStore
from shared.errors import (
    Forbidden,
    GraphChanged,
    InDoubt,
    InvalidInput,
    LimitExceeded,
    NotFound,
    StaleEpoch,
    StorageUnavailable,
    ThreadBusy,
    WaystationError,
    WrongState,
)
from shared.pb import agent_v1, common_v1
from shared.rpc.interceptors.budget import HOPS_KEY
from shared.rpc.status import peer_errors
from tests.fakes.agent_mesh import Mesh, mesh

LOW = common_v1.EFFORT_LOW
State = agent_v1.Run


async def until(condition: Callable[[], Awaitable[bool]], timeout_s: float = 10) -> None:
    async with asyncio.timeout(timeout_s):
        while not await condition():
            await asyncio.sleep(0.01)


async def until_state(made: Mesh, run_id: str, state: int) -> agent_v1.Run:
    async def is_there() -> bool:
        return (await made.runs.get(run_id)).state == state

    await until(is_there)
    return await made.runs.get(run_id)


async def hanging(made: Mesh) -> agent_v1.Run:
    """A run that hangs in its hop."""
    made.service.hang.clear()
    made.service.was_called.clear()
    run = await made.start(effort=LOW)
    await asyncio.wait_for(made.service.was_called.wait(), 10)
    return run


async def paused(made: Mesh) -> agent_v1.Run:
    """A run that is paused after its hop."""
    run = await hanging(made)
    await made.stub.PauseRun(agent_v1.PauseRunRequest(run_id=run.run_id))
    made.service.hang.set()
    return await until_state(made, run.run_id, State.STATE_PAUSED)


async def newest(made: Mesh, run_id: str) -> agent_v1.Checkpoint:
    request = agent_v1.ListCheckpointsRequest(run_id=run_id, page_size=1, has_state=True)
    return (await made.stub.ListCheckpoints(request)).checkpoints[0]


async def test_a_pause_takes_effect_at_the_next_step_and_a_resume_goes_on_from_there(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        run = await paused(made)
        assert list((await newest(made, run.run_id)).next_nodes) == ["decide_next"]
        with pytest.raises(ThreadBusy):
            await made.start("and?", thread_id=run.thread_id)
        await made.stub.ResumeRun(agent_v1.ResumeRunRequest(run_id=run.run_id))
        made.seen = await made.watch(run.run_id)
    ended = made.seen[-1].state_changed.run
    assert (ended.state, ended.answer, ended.attempt_count) == (State.STATE_SUCCEEDED, "It is sorted.", 0)
    assert len(made.payloads("hop_started")) == len(made.payloads("route_recommended")) == 1
    assert [item.cause for item in made.payloads("run_resumed")] == ["pause"]
    assert [event.sequence for event in made.seen] == list(range(1, len(made.seen) + 1))


async def test_a_pause_that_was_asked_for_survives_a_crash(tmp_path: Path) -> None:
    async with mesh(tmp_path, dies=True) as made:
        run = await hanging(made)
        await made.stub.PauseRun(agent_v1.PauseRunRequest(run_id=run.run_id))
    async with mesh(tmp_path, owner="agent-2") as made:
        assert (await made.runs.get(run.run_id)).state == State.STATE_PAUSED
        assert made.service.calls == []
        await made.runs.resume(run.run_id)
        assert (await made.watch(run.run_id))[-1].state_changed.run.state == State.STATE_SUCCEEDED


async def test_a_paused_run_can_be_cancelled_and_what_has_ended_cannot_be_paused(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        run = await paused(made)
        cancelled = await made.runs.cancel(run.run_id, "never mind")
        assert (cancelled.state, cancelled.error.message) == (State.STATE_CANCELLED, "never mind")
        for action in (made.runs.pause(run.run_id), made.runs.resume(run.run_id)):
            with pytest.raises(WrongState, match="is cancelled"):
                await action
        with pytest.raises(NotFound):
            await made.runs.pause("run-none")
        assert (await made.start("next", thread_id=run.thread_id, effort=LOW)).run_id  # the thread is free again


async def asked(made: Mesh) -> agent_v1.Run:
    """A run that asks what to do about an effect in doubt."""
    made.service.failure = InDoubt("coding may have done it.")
    run = await made.start(effort=LOW)
    return await until_state(made, run.run_id, State.STATE_INPUT_REQUIRED)


async def reply(made: Mesh, run: agent_v1.Run, answer: Any, question_id: str = "", request_id: str = "") -> None:
    request = agent_v1.AnswerQuestionRequest(
        run_id=run.run_id, question_id=question_id or run.questions[0].question_id, request_id=request_id
    )
    request.answer.string_value = answer
    with peer_errors("agent"):
        await made.stub.AnswerQuestion(request)


@pytest.mark.parametrize(("answer", "calls", "outcome"), [("repeat", 2, "It is sorted."), ("skip", 1, "Hello.")])
async def test_an_effect_in_doubt_is_asked_about(tmp_path: Path, answer: str, calls: int, outcome: str) -> None:
    async with mesh(tmp_path) as made:
        run = await asked(made)
        [question] = run.questions
        assert (question.asked_by, json_value(question.response_schema)) == ("in_doubt", {"enum": ["repeat", "skip"]})
        made.service.failure = None
        made.model.decisions = [{"reason": "cannot", "next": "answer_now"}]
        await reply(made, run, answer, request_id="a1")
        made.seen = await made.watch(run.run_id)
        ended = made.seen[-1].state_changed.run
        assert ended.state == State.STATE_SUCCEEDED and ended.answer.endswith(outcome)
        assert len(made.service.calls) == calls
        assert [json_value(item.answer) for item in made.payloads("question_answered")] == [answer]
        await reply(made, run, answer, request_id="a1")  # the same request changes nothing
        with pytest.raises(WrongState):
            await reply(made, run, answer)


async def test_a_repetition_that_is_in_doubt_again_is_asked_about_again(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        run = await asked(made)
        first = run.questions[0].question_id
        await reply(made, run, "repeat")

        async def is_asked_anew() -> bool:
            questions = (await made.runs.get(run.run_id)).questions
            return bool(questions) and questions[0].question_id != first

        await until(is_asked_anew)
        made.service.failure = None
        await reply(made, await made.runs.get(run.run_id), "repeat")
        assert (await made.watch(run.run_id))[-1].state_changed.run.state == State.STATE_SUCCEEDED
    assert len({call.idempotency_key for call in made.service.calls}) == 1


async def test_an_edited_run_keeps_the_key_of_the_hop_that_it_had_begun(tmp_path: Path) -> None:
    async with mesh(tmp_path, dies=True) as made:
        run = await hanging(made)
        key = made.service.calls[0].idempotency_key
        await made.runs.pause(run.run_id)
    async with mesh(tmp_path, owner="agent-2") as made:
        await until_state(made, run.run_id, State.STATE_PAUSED)
        await edit(made, run.run_id, {"effort": "high"})
        made.model.decisions = [{"reason": "done", "next": "answer_now"}]
        await made.runs.resume(run.run_id)
        assert (await made.watch(run.run_id))[-1].state_changed.run.state == State.STATE_SUCCEEDED
    assert [call.idempotency_key for call in made.service.calls] == [key]


async def test_a_refused_edit_leaves_the_question_open(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        run = await asked(made)
        with pytest.raises(StaleEpoch):
            await edit(made, run.run_id, {"remaining_hops": 1}, checkpoint_id="another")
        after = await made.runs.get(run.run_id)
    assert (after.state, len(after.questions)) == (State.STATE_INPUT_REQUIRED, 1)


async def test_a_store_that_fails_once_harms_no_run_under_way(tmp_path: Path) -> None:
    async with mesh(tmp_path, sweep_interval_s=0.05) as made:
        run = await hanging(made)
        fails = True

        def refuse(connection: apsw.Connection) -> None:
            if fails:
                raise apsw.FullError("no room")

        broken = made.database.submit(refuse)
        made.service.hang.set()  # the hop's events share the transaction that fails, or come after it
        with pytest.raises(StorageUnavailable):
            await asyncio.wrap_future(broken)
        fails = False
        made.seen = await made.watch(run.run_id)
    assert made.seen[-1].state_changed.run.state == State.STATE_SUCCEEDED
    assert [event.sequence for event in made.seen] == list(range(1, len(made.seen) + 1))


async def test_what_drains_is_not_taken_up_again(tmp_path: Path) -> None:
    async with mesh(tmp_path, sweep_interval_s=0.01, drain_timeout_s=5) as made:
        run = await hanging(made)
        drained = asyncio.create_task(made.runs.drain())
        made.service.hang.set()
        await drained
        await asyncio.sleep(0.1)  # nothing tells that nothing happens
        assert made.runs.live_count == 0
        assert (await made.runs.get(run.run_id)).state == State.STATE_RUNNING
    async with mesh(tmp_path, owner="agent-2") as made:
        assert (await made.watch(run.run_id))[-1].state_changed.run.state == State.STATE_SUCCEEDED
        assert made.service.calls == []


async def test_an_answer_must_fit_an_open_question(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        run = await asked(made)
        with pytest.raises(InvalidInput, match="does not fit"):
            await reply(made, run, "perhaps")
        with pytest.raises(WrongState, match="no open question"):
            await reply(made, run, "skip", question_id="q-other")
        assert (await made.runs.get(run.run_id)).state == State.STATE_INPUT_REQUIRED


async def test_a_question_survives_a_crash_and_so_does_its_answer(tmp_path: Path) -> None:
    async with mesh(tmp_path, dies=True) as made:
        run = await asked(made)
    async with mesh(tmp_path, dies=True, owner="agent-2") as made:
        assert (await made.runs.get(run.run_id)).state == State.STATE_INPUT_REQUIRED
        made.service.hang.clear()
        await reply(made, run, "repeat")
        await until_calls(made, 1)
    async with mesh(tmp_path, owner="agent-3") as made:
        ended = (await made.watch(run.run_id))[-1].state_changed.run
    assert (ended.state, ended.answer) == (State.STATE_SUCCEEDED, "It is sorted.")


async def until_calls(made: Mesh, count: int) -> None:
    async def are_there() -> bool:
        return len(made.service.calls) >= count

    await until(are_there)


async def test_a_run_is_forked_from_a_checkpoint_into_a_thread_of_its_own(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        run = await made.finish(effort=LOW)
        request = agent_v1.ListCheckpointsRequest(run_id=run.run_id)
        checkpoints = (await made.stub.ListCheckpoints(request)).checkpoints
        before_hop = next(item for item in checkpoints if list(item.next_nodes) == ["call_capability"])
        fork = agent_v1.ForkRunRequest(run_id=run.run_id, checkpoint_id=before_hop.checkpoint_id, request_id="f1")
        fork.updates.update({"query": "sort it backwards"})
        made_run = (await made.stub.ForkRun(fork)).run
        again = (await made.stub.ForkRun(fork)).run
        made.seen = await made.watch(made_run.run_id)
        ended = made.seen[-1].state_changed.run
        assert again.run_id == made_run.run_id
        assert made_run.thread_id != run.thread_id
        assert (ended.state, ended.query) == (State.STATE_SUCCEEDED, "sort it backwards")
        assert [call.task for call in made.service.calls] == ["sort it", "sort it backwards"]
        assert made.service.calls[0].idempotency_key != made.service.calls[1].idempotency_key
        assert made.payloads("route_recommended") == []
        assert (await made.runs.get(run.run_id)).answer == run.answer


async def test_a_bad_fork_makes_no_run(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        run = await made.finish(effort=LOW)
        head = (await newest(made, run.run_id)).checkpoint_id
        with pytest.raises(NotFound, match="checkpoint"):
            await made.runs.fork(run.run_id, "none", {}, "", "")
        with pytest.raises(NotFound, match="run"):
            await made.runs.fork("run-none", head, {}, "", "")
        with pytest.raises(Forbidden, match="protected"):
            await made.runs.fork(run.run_id, head, {"answer": "42"}, "", "")
        assert len((await made.stub.ListRuns(agent_v1.ListRunsRequest())).runs) == 1


async def edit(made: Mesh, run_id: str, updates: dict[str, Any], checkpoint_id: str = "") -> agent_v1.Checkpoint:
    request = agent_v1.UpdateStateRequest(run_id=run_id, checkpoint_id=checkpoint_id)
    request.updates.update(updates)
    with peer_errors("agent"):
        return (await made.stub.UpdateState(request)).checkpoint


async def test_the_state_of_a_paused_run_is_edited(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        run = await paused(made)
        before = await newest(made, run.run_id)
        after = await edit(made, run.run_id, {"remaining_hops": 0}, before.checkpoint_id)
        assert (after.state["remaining_hops"], list(after.next_nodes)) == (0, ["decide_next"])
        with pytest.raises(StaleEpoch):
            await edit(made, run.run_id, {"remaining_hops": 1}, before.checkpoint_id)
        await made.runs.resume(run.run_id)
        ended = (await made.watch(run.run_id))[-1].state_changed.run
    assert (ended.state, ended.remaining_hops) == (State.STATE_SUCCEEDED, 0)


BAD_EDITS: Sequence[tuple[dict[str, Any], type[WaystationError]]] = [
    ({}, InvalidInput),
    ({"hops": []}, Forbidden),
    ({"version": 9}, Forbidden),
    ({"nonsense": 1}, InvalidInput),
    ({"remaining_hops": "many"}, InvalidInput),
    ({"remaining_hops": 99}, InvalidInput),
    ({"effort": "heroic"}, InvalidInput),
    ({"query": "\x00"}, InvalidInput),
    ({"query": ""}, InvalidInput),
]


@pytest.mark.parametrize(("updates", "error"), BAD_EDITS, ids=range(len(BAD_EDITS)))
async def test_a_bad_edit_changes_nothing(
    tmp_path: Path, updates: dict[str, Any], error: type[WaystationError]
) -> None:
    async with mesh(tmp_path) as made:
        run = await paused(made)
        before = await newest(made, run.run_id)
        with pytest.raises(error):
            await edit(made, run.run_id, updates)
        assert (await newest(made, run.run_id)).checkpoint_id == before.checkpoint_id
        assert (await made.runs.get(run.run_id)).state == State.STATE_PAUSED


async def test_a_run_under_way_is_not_edited(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        run = await hanging(made)
        with pytest.raises(WrongState, match="is running"):
            await edit(made, run.run_id, {"remaining_hops": 1})
        made.service.hang.set()
        assert (await made.watch(run.run_id))[-1].state_changed.run.state == State.STATE_SUCCEEDED


async def test_a_run_that_kills_its_process_is_given_up(tmp_path: Path) -> None:
    async with mesh(tmp_path, dies=True) as made:
        run = await hanging(made)
    for life in range(3):
        async with mesh(tmp_path, dies=True, hangs=True, owner=f"agent-{life}") as made:
            await until_calls(made, 1)
            assert (await made.runs.get(run.run_id)).attempt_count == life + 1
    async with mesh(tmp_path, owner="agent-last") as made:
        ended = await until_state(made, run.run_id, State.STATE_FAILED)
        assert made.service.calls == []
        assert len(
            list((await made.stub.ListCheckpoints(agent_v1.ListCheckpointsRequest(run_id=run.run_id))).checkpoints)
        )
    assert ended.error.reason == common_v1.ERROR_REASON_CRASH_LOOP
    assert ended.error.metadata["attempts"] == "3"


async def test_a_clean_stop_is_no_attempt(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        run = await hanging(made)
    for life in range(5):
        async with mesh(tmp_path, hangs=True, owner=f"agent-{life}") as made:
            await until_calls(made, 1)
    async with mesh(tmp_path, owner="agent-last") as made:
        ended = (await made.watch(run.run_id))[-1].state_changed.run
    assert (ended.state, ended.attempt_count) == (State.STATE_SUCCEEDED, 0)


async def test_suspects_are_tried_alone_and_new_runs_wait_for_that(tmp_path: Path) -> None:
    async with mesh(tmp_path, dies=True) as made:
        runs = [await hanging(made), await hanging(made)]
    async with mesh(tmp_path, dies=True, hangs=True, owner="agent-2") as made:
        await until_calls(made, 2)
    async with mesh(tmp_path, hangs=True, owner="agent-last") as made:
        await until_calls(made, 1)
        fresh = await made.start("sort more", effort=LOW)
        await asyncio.sleep(0.2)  # nothing tells that nothing happens
        assert [call.run_id for call in made.service.calls] == [runs[0].run_id]
        made.service.hang.set()
        for run in (*runs, fresh):
            assert (await made.watch(run.run_id))[-1].state_changed.run.state == State.STATE_SUCCEEDED


async def test_a_changed_graph_takes_up_no_run_that_it_would_lose(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        run = await paused(made)
        old = GraphShape(("decide_next", "review"), {"query": "<class 'str'>", "mood": "<class 'str'>"})
        run.graph_digest = old.digest
        await made.store.keep_shape(old.digest, old.to_json())
        await made.database.write(lambda connection: save_run(connection, run))
        before = await newest(made, run.run_id)
        with pytest.raises(GraphChanged, match="node review is gone"):
            await made.runs.resume(run.run_id)
        run.state = State.STATE_RUNNING  # as after a crash
        await made.database.write(lambda connection: save_run(connection, run))
        refused = await until_state(made, run.run_id, State.STATE_PAUSED)
        assert refused.error.reason == common_v1.ERROR_REASON_GRAPH_CHANGED
        assert refused.error.metadata["changes"].startswith("node review is gone; state key mood is gone")
        assert (await newest(made, run.run_id)).checkpoint_id == before.checkpoint_id
        refused.graph_digest = ""
        await made.database.write(lambda connection: save_run(connection, refused))
        await made.runs.resume(run.run_id)
        assert (await made.watch(run.run_id))[-1].state_changed.run.state == State.STATE_SUCCEEDED


async def test_a_stalled_owner_cannot_write_after_somebody_else_took_the_thread_over(tmp_path: Path) -> None:
    async with mesh(tmp_path, lease_s=0.001, sweep_interval_s=60) as made:
        run = await hanging(made)
        other = RunStore(made.database, Custodian("agent-other", 15))
        record = await other.take_up(run.run_id, (State.STATE_RUNNING,))
        before = await newest(made, run.run_id)
        made.service.hang.set()
        assert await made.runs._driver.finished(run.run_id, 10)
        assert (await made.runs.get(run.run_id)).epoch == record.run.epoch
        assert (await made.runs.get(run.run_id)).state == State.STATE_RUNNING
        assert (await newest(made, run.run_id)).checkpoint_id == before.checkpoint_id
        third = RunStore(made.database, Custodian("agent-third", 15))
        with pytest.raises(ThreadBusy, match="agent-other"):
            await third.take_up(run.run_id, (State.STATE_RUNNING,))


async def test_old_runs_are_pruned_and_their_threads_go_on(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        first = await made.finish("one", effort=LOW)
        second = await made.finish("two", effort=LOW, thread_id=first.thread_id)
        other = await made.finish("three", effort=LOW)
        assert (await made.runs.prune(0, 1, is_dry_run=True)).runs == 2
        assert len((await made.stub.ListRuns(agent_v1.ListRunsRequest())).runs) == 3
        pruned = await made.stub.PruneRuns(agent_v1.PruneRunsRequest(keep=2))
        assert (pruned.deleted_runs, pruned.freed_bytes >= 0) == (1, True)
        with pytest.raises(NotFound):
            await made.watch(first.run_id)
        again = await made.finish("four", effort=LOW, thread_id=first.thread_id)
        state = (await newest(made, again.run_id)).state
        assert [turn["query"] for turn in json_value(state)["conversation"]] == ["one", "two", "four"]
        await made.stub.PruneRuns(agent_v1.PruneRunsRequest(keep=0))
        assert (await made.stub.ListRuns(agent_v1.ListRunsRequest())).runs == []
        left = "SELECT count(*) FROM thread_checkpoints"
        assert await made.database.read(lambda connection: connection.execute(left).get) == 0
        with pytest.raises(NotFound):
            await made.start("five", thread_id=other.thread_id)
        with pytest.raises(InvalidInput):
            await made.runs.prune(-1, 0, is_dry_run=False)
        assert second.run_id


async def test_what_runs_at_once_is_bounded(tmp_path: Path) -> None:
    async with mesh(tmp_path, max_live_runs=1) as made:
        run = await hanging(made)
        with pytest.raises(LimitExceeded):
            await made.start("more")
        made.service.hang.set()
        await made.watch(run.run_id)


async def test_many_who_resume_a_run_at_once_resume_it_once(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        run = await paused(made)
        resumed = await asyncio.gather(*(made.runs.resume(run.run_id) for _ in range(8)), return_exceptions=True)
        assert all(isinstance(item, (agent_v1.Run, WrongState)) for item in resumed)
        made.seen = await made.watch(run.run_id)
    assert [item.cause for item in made.payloads("run_resumed")] == ["pause"]
    assert made.seen[-1].state_changed.run.state == State.STATE_SUCCEEDED


async def test_an_answer_that_was_stored_as_the_process_died_is_acted_on(tmp_path: Path) -> None:
    async with mesh(tmp_path, dies=True) as made:
        run = await asked(made)
        assert await made.store.keep_answer(run.run_id, run.questions[0].question_id, "repeat", "")
    async with mesh(tmp_path, owner="agent-2") as made:
        ended = (await made.watch(run.run_id))[-1].state_changed.run
    assert (ended.state, ended.answer) == (State.STATE_SUCCEEDED, "It is sorted.")


async def test_a_service_gives_the_run_that_it_starts_no_more_hops_than_it_has_itself(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        made.service.failure = Forbidden("Never.")
        made.model.decisions = [{"reason": "again", "next": "coding"}] * 9
        request = agent_v1.StartRunRequest(query="sort it")
        run = (await made.stub.StartRun(request, timeout=10, metadata=((HOPS_KEY, "1"),))).run
        assert run.remaining_hops == 1
        await made.watch(run.run_id)
        ended = await made.runs.get(run.run_id)
        assert (ended.state, ended.hop_count, ended.remaining_hops) == (State.STATE_SUCCEEDED, 1, 0)
        assert (await made.stub.StartRun(request, timeout=10, metadata=((HOPS_KEY, "9"),))).run.remaining_hops == 3


async def test_a_service_whose_hops_are_spent_starts_no_run(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        with pytest.raises(LimitExceeded, match="spent"), peer_errors("agent"):
            await made.stub.StartRun(agent_v1.StartRunRequest(query="sort it"), timeout=10, metadata=((HOPS_KEY, "0"),))
        assert not (await made.stub.ListRuns(agent_v1.ListRunsRequest())).runs


async def test_a_run_that_goes_on_after_a_crash_keeps_the_hops_that_it_was_given(tmp_path: Path) -> None:
    async with mesh(tmp_path, dies=True, hangs=True, is_idempotent=True) as made:
        request = agent_v1.StartRunRequest(query="sort it", effort=LOW)
        run = (await made.stub.StartRun(request, timeout=10, metadata=((HOPS_KEY, "2"),))).run
        await until_calls(made, 1)
    async with mesh(tmp_path, owner="agent-2", is_idempotent=True) as made:
        ended = (await made.watch(run.run_id))[-1].state_changed.run
    assert (ended.state, ended.hop_count + ended.remaining_hops) == (State.STATE_SUCCEEDED, 2)


async def test_a_service_that_forks_a_run_gives_the_fork_no_more_hops_than_it_has_itself(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        made.service.failure = Forbidden("Never.")
        made.model.decisions = [{"reason": "again", "next": "coding"}] * 3
        run = await made.finish()
        *steps, before_any = [item async for item, _ in made.runs.checkpoints(run.run_id)]
        for checkpoint in steps:
            made.model.decisions = [{"reason": "again", "next": "coding"}] * 3
            begun = await fork_with(made, run, checkpoint, hops=1)
            ended = (await made.watch(begun.run_id))[-1].state_changed.run
            inherited = len(checkpoint.values["hops"])
            assert (ended.state, ended.hop_count) == (State.STATE_SUCCEEDED, min(inherited + 1, 3)), checkpoint.next
        with pytest.raises(LimitExceeded, match="not counted yet"):
            await fork_with(made, run, before_any, hops=1)
        with pytest.raises(LimitExceeded, match="spent"):
            await fork_with(made, run, steps[-1], hops=0)


async def fork_with(made: Mesh, run: agent_v1.Run, checkpoint: Any, hops: int) -> agent_v1.Run:
    """Fork as a service does that has so many hops left."""
    checkpoint_id = checkpoint.config["configurable"]["checkpoint_id"]
    request = agent_v1.ForkRunRequest(run_id=run.run_id, checkpoint_id=checkpoint_id)
    with peer_errors("agent"):
        return (await made.stub.ForkRun(request, timeout=10, metadata=((HOPS_KEY, str(hops)),))).run
