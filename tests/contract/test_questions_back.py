"""The arbitrator asks what is meant, and the run goes on with the answer: over a real gRPC server and a real file."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.json_format import ParseDict

from shared.errors import InvalidInput, WrongState
from shared.pb import agent_v1
from shared.rpc.status import peer_errors
from tests.fakes.agent_mesh import Mesh, mesh

State = agent_v1.Run
ASK = {"reason": "vague", "next": "ask_user", "question": "Sort what?"}
CODE = {"reason": "code", "next": "coding"}
DONE = {"reason": "done", "next": "answer_now"}


async def answer(made: Mesh, run: agent_v1.Run, value: Any) -> None:
    request = agent_v1.AnswerQuestionRequest(run_id=run.run_id, question_id=run.questions[0].question_id)
    ParseDict(value, request.answer)
    with peer_errors("agent"):
        await made.stub.AnswerQuestion(request, timeout=30)


async def asked(made: Mesh) -> agent_v1.Run:
    """A run that waits for the user."""
    made.model.decisions = [ASK]
    run = await made.start("sort it")
    async with asyncio.timeout(60):
        while (run := await made.runs.get(run.run_id)).state != State.STATE_INPUT_REQUIRED:
            await asyncio.sleep(0.01)
    return run


async def test_the_run_goes_on_with_the_answer(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        run = await asked(made)
        [question] = run.questions
        assert (question.text, question.asked_by) == ("Sort what?", "arbitrator")
        made.model.decisions = [CODE, DONE]
        await answer(made, run, "My list of names.")
        made.seen = await made.watch(run.run_id)
        [call] = made.service.calls
        with pytest.raises(WrongState):
            await answer(made, run, "And numbers.")
    assert call.task == "sort it\n\nAsked: Sort what?\nAnswered: My list of names."
    final = made.seen[-1].state_changed.run
    assert (final.state, final.answer, final.query) == (State.STATE_SUCCEEDED, "It is sorted.", "sort it")
    assert len(made.payloads("route_recommended")) == 2


async def test_the_user_is_asked_once(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        run = await asked(made)
        made.model.decisions = [{**ASK, "question": "By what?"}]
        await answer(made, run, "Names.")
        final = (await made.watch(run.run_id))[-1].state_changed.run
    assert (final.state, final.answer) == (State.STATE_SUCCEEDED, "By what?")  # the next turn of the thread can say


async def test_a_question_survives_the_death_of_its_process(tmp_path: Path) -> None:
    async with mesh(tmp_path, dies=True) as made:
        run = await asked(made)
    async with mesh(tmp_path, owner="agent-2") as made:
        made.model.decisions = [CODE, DONE]
        await answer(made, run, "Names.")
        made.seen = await made.watch(run.run_id)
        assert made.service.calls[0].task.endswith("Answered: Names.")
    assert made.seen[-1].state_changed.run.state == State.STATE_SUCCEEDED
    assert len(made.payloads("question_asked")) == len(made.payloads("question_answered")) == 1


@pytest.mark.parametrize("value", ["", "  \n", "x" * 4_001, 7, {"text": "names"}, None])
async def test_what_is_no_answer_is_refused(tmp_path: Path, value: Any) -> None:
    async with mesh(tmp_path) as made:
        run = await asked(made)
        with pytest.raises(InvalidInput):
            await answer(made, run, value)
        assert (await made.runs.get(run.run_id)).state == State.STATE_INPUT_REQUIRED
