"""Runs over a real gRPC server: real graph, real stores, real capability services; the chat model is scripted."""

import asyncio
from pathlib import Path

import pytest

from services.agent.run_request import MAX_QUERY_BYTES
from shared.errors import (
    AlreadyExists,
    Forbidden,
    InvalidInput,
    ModelUnavailable,
    NotFound,
    ThreadBusy,
    UnknownWorkflow,
    WrongState,
)
from shared.pb import agent_v1, common_v1
from shared.rpc.status import peer_errors
from tests.fakes.agent_mesh import mesh

TERMINAL = (agent_v1.Run.STATE_SUCCEEDED, agent_v1.Run.STATE_FAILED, agent_v1.Run.STATE_CANCELLED)


async def test_a_run_is_routed_decided_done_and_answered(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        made.model.decisions = [
            {"reason": "code", "next": "coding"},
            {"reason": "done", "next": "answer_now"},
        ]
        run = await made.finish()
    assert (run.state, run.answer, run.hop_count) == (agent_v1.Run.STATE_SUCCEEDED, "It is sorted.", 1)
    assert [item.source for item in run.citations] == ["notes.md"]
    kinds = [event.WhichOneof("payload") for event in made.seen]
    assert [kind for kind in kinds if kind != "text_produced"] == [
        "state_changed",
        "route_recommended",
        "decision_made",
        "hop_started",
        "artifact_made",
        "citation_found",
        "hop_ended",
        "decision_made",
        "state_changed",
    ]
    assert "".join(item.text for item in made.payloads("text_produced")) == "It is sorted."
    assert [event.sequence for event in made.seen] == list(range(1, len(made.seen) + 1))
    [call] = made.service.calls
    assert call.run_id == run.run_id
    assert call.idempotency_key.startswith(run.thread_id)


async def test_low_effort_follows_a_confident_router(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        await made.finish(effort=common_v1.EFFORT_LOW)
    sources = [item.decision.source for item in made.payloads("decision_made")]
    assert sources == [agent_v1.Decision.SOURCE_POLICY] * 2


async def test_small_talk_is_answered_without_a_hop(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        made.router.top = ""
        made.model.decisions = [{"reason": "small talk", "next": "answer_now"}]
        run = await made.finish("hi there")
    assert (run.answer, run.hop_count, made.service.calls) == ("Hello.", 0, [])


async def test_a_failing_service_is_a_typed_hop_error_and_the_run_goes_on(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        made.service.failure = Forbidden("Not here.")
        made.model.decisions = [
            {"reason": "code", "next": "coding"},
            {"reason": "cannot", "next": "answer_now"},
        ]
        run = await made.finish()
    [ended] = made.payloads("hop_ended")
    assert ended.error.reason == common_v1.ERROR_REASON_FORBIDDEN
    assert run.state == agent_v1.Run.STATE_SUCCEEDED
    assert "Not here." in run.answer and run.answer.endswith("Hello.")


async def test_a_service_that_is_away_does_not_hang_the_run(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        made.directory.address = "127.0.0.1:1"
        made.model.failure = ModelUnavailable("down")
        run = await made.finish()
    [ended] = made.payloads("hop_ended")
    assert ended.error.reason == common_v1.ERROR_REASON_PEER_UNAVAILABLE
    assert run.state == agent_v1.Run.STATE_FAILED
    assert run.error.reason == common_v1.ERROR_REASON_MODEL_UNAVAILABLE


async def test_hops_are_bounded(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        made.service.failure = Forbidden("Never.")
        made.model.decisions = [{"reason": "again", "next": "coding"}] * 5
        run = await made.finish()
    assert run.hop_count == 3
    assert made.payloads("decision_made")[-1].decision.source == agent_v1.Decision.SOURCE_POLICY


async def test_a_reader_can_leave_and_come_back_at_any_number(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        run = await made.finish(effort=common_v1.EFFORT_LOW)
        for after in range(len(made.seen)):
            again = await made.watch(run.run_id, after)
            assert [event.sequence for event in again] == list(range(after + 1, len(made.seen) + 1))


async def test_a_repeated_request_id_is_the_same_run(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        first = await made.finish(effort=common_v1.EFFORT_LOW, request_id="r1")
        second = await made.start(effort=common_v1.EFFORT_LOW, request_id="r1")
        assert second.run_id == first.run_id
        assert len(made.service.calls) == 1
        with pytest.raises(AlreadyExists):
            await made.start("another question", request_id="r1")


async def test_a_thread_remembers_and_takes_one_run_at_a_time(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        made.service.hang.clear()
        first = await made.start(effort=common_v1.EFFORT_LOW)
        await made.service.was_called.wait()
        with pytest.raises(ThreadBusy):
            await made.start("and now?", thread_id=first.thread_id)
        made.service.hang.set()
        await made.watch(first.run_id)
        await made.finish("and now?", thread_id=first.thread_id, effort=common_v1.EFFORT_LOW)
        thread = (await made.stub.GetThread(agent_v1.GetThreadRequest(thread_id=first.thread_id))).thread
    assert [turn.query for turn in thread.turns] == ["sort it", "and now?"]
    assert [turn.treatment for turn in thread.turns] == [agent_v1.Thread.TREATMENT_KEPT] * 2
    assert thread.context_budget_tokens == 600
    (told,) = [item for item in made.service.calls[-1].context if item.kind == "conversation"]
    assert told.text == "sort it -> It is sorted."


async def test_a_long_thread_is_told_within_its_budget(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        first = await made.finish("question 0 " + "and more " * 60, effort=common_v1.EFFORT_LOW)
        for number in range(1, 8):
            query = f"question {number} " + "and more " * 60
            await made.finish(query, thread_id=first.thread_id, effort=common_v1.EFFORT_LOW)
        thread = (await made.stub.GetThread(agent_v1.GetThreadRequest(thread_id=first.thread_id))).thread
        treatments = [turn.treatment for turn in thread.turns]
    kept, summarized = agent_v1.Thread.TREATMENT_KEPT, agent_v1.Thread.TREATMENT_SUMMARIZED
    assert treatments == sorted(treatments, reverse=True)
    assert {kept, summarized} <= set(treatments)
    assert thread.turns[treatments.index(summarized)].summary.startswith("question ")


async def test_runs_of_one_thread_wait_for_their_turn_when_the_settings_say_so(tmp_path: Path) -> None:
    async with mesh(tmp_path, thread_policy="queue", max_queued_runs=2) as made:
        made.service.hang.clear()
        first = await made.start("one", effort=common_v1.EFFORT_LOW)
        await made.service.was_called.wait()
        queued = [
            asyncio.create_task(made.finish(query, thread_id=first.thread_id, effort=common_v1.EFFORT_LOW))
            for query in ("two", "three", "four", "five")
        ]
        (refused,), waiting = await asyncio.wait(queued, timeout=30, return_when=asyncio.FIRST_COMPLETED)
        with pytest.raises(ThreadBusy, match="wait for thread"):
            refused.result()
        made.service.hang.set()
        await asyncio.gather(*waiting)
        thread = (await made.stub.GetThread(agent_v1.GetThreadRequest(thread_id=first.thread_id))).thread
    assert thread.turns[0].query == "one"
    assert len(thread.turns) == 4


async def test_cancel_stops_the_hop_and_keeps_the_run(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        made.service.hang.clear()
        run = await made.start(effort=common_v1.EFFORT_LOW)
        await made.service.was_called.wait()
        await made.stub.CancelRun(agent_v1.CancelRunRequest(run_id=run.run_id, message="enough"))
        await asyncio.wait_for(made.service.is_closed.wait(), 20)
        ended = (await made.watch(run.run_id))[-1].state_changed.run
        assert (ended.state, ended.error.message) == (agent_v1.Run.STATE_CANCELLED, "enough")
        with pytest.raises(WrongState):
            await made.runs.resume(run.run_id)


async def test_a_drained_run_goes_on_from_its_last_commit(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        made.service.hang.clear()
        run = await made.start(effort=common_v1.EFFORT_LOW)
        await made.service.was_called.wait()
    async with mesh(tmp_path) as made:
        made.seen = await made.watch(run.run_id)
        ended = made.seen[-1].state_changed.run
    assert (ended.state, ended.answer) == (agent_v1.Run.STATE_SUCCEEDED, "It is sorted.")
    assert len(made.payloads("route_recommended")) == 1
    assert [item.cause for item in made.payloads("run_resumed")] == ["crash"]


BAD_QUERIES = [
    "",
    "   ",
    "x" * (MAX_QUERY_BYTES + 1),
    "x" * 1_000_000,
    "bin\x00ary",
    "bell\x07",
    "esc\x1b[31m",
    "\x9bC1",
]


@pytest.mark.parametrize("query", BAD_QUERIES, ids=range(len(BAD_QUERIES)))
async def test_a_bad_query_is_refused_and_no_run_is_made(tmp_path: Path, query: str) -> None:
    async with mesh(tmp_path) as made:
        with pytest.raises(InvalidInput) as caught:
            await made.start(query)
        assert caught.value.metadata["field"] == "query"
        assert not (await made.stub.ListRuns(agent_v1.ListRunsRequest())).runs


async def test_unknown_names_are_answered_with_the_known_ones(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        with pytest.raises(UnknownWorkflow) as unknown:
            await made.start(workflow="waltz")
        assert unknown.value.metadata["known"] == "auto, debate, linear, review"
        with pytest.raises(NotFound):
            await made.start(thread_id="thread-none")
        with pytest.raises(NotFound):
            await made.watch("run-none")
        with pytest.raises(NotFound), peer_errors("agent"):
            await made.stub.GetRun(agent_v1.GetRunRequest(run_id="run-none"))


async def test_runs_are_listed_newest_first_in_pages(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        ids = [(await made.finish(f"question {n}", effort=common_v1.EFFORT_LOW)).run_id for n in range(5)]
        listed, token = [], ""
        while True:
            page = await made.stub.ListRuns(agent_v1.ListRunsRequest(page_size=2, page_token=token))
            listed += [run.run_id for run in page.runs]
            token = page.next_page_token
            if not token:
                break
        found = await made.stub.ListRuns(agent_v1.ListRunsRequest(text="QUESTION 3"))
    assert listed == ids[::-1]
    assert [run.run_id for run in found.runs] == [ids[3]]


async def test_each_step_leaves_a_checkpoint(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        run = await made.finish(effort=common_v1.EFFORT_LOW)
        request = agent_v1.ListCheckpointsRequest(run_id=run.run_id, has_state=True)
        checkpoints = (await made.stub.ListCheckpoints(request)).checkpoints
    assert [list(item.next_nodes) for item in reversed(checkpoints)] == [
        ["__start__"],
        ["recommend_route"],
        ["decide_next"],
        ["call_capability"],
        ["decide_next"],
        ["respond"],
        [],
    ]
    assert checkpoints[0].state["answer"] == "It is sorted."
