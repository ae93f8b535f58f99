"""Calls that somebody must approve first, over a real gRPC server and a real file."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import apsw
import pytest
from google.protobuf.json_format import ParseDict

from services.agent.approvals import APPROVE, DENY
from services.agent.guardian import audit
from services.agent.guardian.audit import Order
from services.agent.nodes.settle_doubt import REPEAT
from services.agent.settings import AgentSettings
from shared.call_context import CallContext
from shared.capability import Invocation, Output, Result, ToolCall, ToolResult
from shared.capability.wire import json_value
from shared.errors import ApprovalRequired, InvalidInput, WaystationError, WrongState
from shared.pb import agent_v1, common_v1
from shared.rpc.status import peer_errors
from tests.fakes.agent_mesh import FakeService, Mesh, mesh

LOW, HIGH = common_v1.EFFORT_LOW, common_v1.EFFORT_HIGH
State = agent_v1.Run
CODE = {"reason": "code", "next": "coding"}
DONE = {"reason": "done", "next": "answer_now"}


async def answer(made: Mesh, run_id: str, question_id: str, value: Any, request_id: str = "") -> agent_v1.Run:
    request = agent_v1.AnswerQuestionRequest(run_id=run_id, question_id=question_id, request_id=request_id)
    ParseDict(value, request.answer)
    with peer_errors("agent"):
        return (await made.stub.AnswerQuestion(request, timeout=30)).run


async def asked(made: Mesh, **fields: Any) -> agent_v1.Run:
    """A run that waits for an approval."""
    run = await made.start(**fields)
    async with asyncio.timeout(60):
        while (run := await made.runs.get(run.run_id)).state != State.STATE_INPUT_REQUIRED:
            await asyncio.sleep(0.01)
    return run


@pytest.mark.parametrize("policy", ["coding", "risk:high", "risk:low", "rag, coding"])
async def test_a_call_waits_for_its_approval_and_is_made_once(tmp_path: Path, policy: str) -> None:
    async with mesh(tmp_path, approvals=policy) as made:
        run = await asked(made, effort=LOW)
        [question] = run.questions
        assert made.service.calls == []
        assert (question.asked_by, question.text) == ("policy", "May coding be called? Its task: sort it")
        await answer(made, run.run_id, question.question_id, APPROVE, "once")
        await answer(made, run.run_id, question.question_id, APPROVE, "once")
        made.seen = await made.watch(run.run_id)
        assert len(made.service.calls) == 1
        with pytest.raises(WrongState):
            await answer(made, run.run_id, question.question_id, DENY)
    assert made.seen[-1].state_changed.run.answer == "It is sorted."
    assert [json_value(item.answer) for item in made.payloads("question_answered")] == [APPROVE]


async def test_a_denied_call_is_a_failed_hop_that_the_arbitrator_sees(tmp_path: Path) -> None:
    async with mesh(tmp_path, approvals="coding") as made:
        made.model.decisions = [CODE, DONE]
        run = await asked(made, effort=HIGH)
        decided = {"decision": DENY, "comment": "not on a Friday"}
        await answer(made, run.run_id, run.questions[0].question_id, decided)
        made.seen = await made.watch(run.run_id)
        assert made.service.calls == []
    [hop] = made.payloads("hop_ended")
    assert (hop.error.message, common_v1.ErrorReason.Name(hop.error.reason)) == (
        "The call was denied: not on a Friday",
        "ERROR_REASON_FORBIDDEN",
    )
    assert made.payloads("hop_started") == []
    assert "not on a Friday" in "\n".join(message.content for message in made.model.asked[-1])


@pytest.mark.parametrize(
    ("value", "error"),
    [
        ("perhaps", InvalidInput),
        (True, InvalidInput),
        ({"comment": "no decision"}, InvalidInput),
        ({"decision": "approve", "force": True}, InvalidInput),
        ({"decision": "deny", "comment": "x" * 2_001}, InvalidInput),
        ({"decision": "deny", "comment": "x" * 40_000}, InvalidInput),
    ],
)
async def test_what_does_not_fit_is_refused_and_the_question_stays_open(
    tmp_path: Path, value: Any, error: type[WaystationError]
) -> None:
    async with mesh(tmp_path, approvals="coding") as made:
        run = await asked(made, effort=LOW)
        with pytest.raises(error):
            await answer(made, run.run_id, run.questions[0].question_id, value)
        with pytest.raises(WrongState, match="no open question"):
            await answer(made, run.run_id, "question-none", APPROVE)
        assert (await made.runs.get(run.run_id)).state == State.STATE_INPUT_REQUIRED


async def test_each_call_is_asked_about_and_an_old_answer_approves_no_new_one(tmp_path: Path) -> None:
    async with mesh(tmp_path, approvals="coding") as made:
        made.model.decisions = [CODE, CODE, DONE]
        made.service.failure = WrongState("not yet")
        made.service.forgets_failure = True
        run = await asked(made, effort=HIGH)
        first = run.questions[0].question_id
        await answer(made, run.run_id, first, APPROVE)
        async with asyncio.timeout(60):
            while not (run := await made.runs.get(run.run_id)).questions or run.questions[0].question_id == first:
                await asyncio.sleep(0.01)
        with pytest.raises(WrongState):
            await answer(made, run.run_id, first, APPROVE, "another")
        await answer(made, run.run_id, run.questions[0].question_id, APPROVE)
        await made.watch(run.run_id)
        assert len(made.service.calls) == 2


async def test_an_approval_survives_the_death_of_its_process_before_and_in_the_call(tmp_path: Path) -> None:
    async with mesh(tmp_path, dies=True, approvals="coding") as made:
        run = await asked(made, effort=LOW)
    async with mesh(tmp_path, dies=True, owner="agent-2", approvals="coding", hangs=True) as made:
        await answer(made, run.run_id, run.questions[0].question_id, APPROVE)
        await asyncio.wait_for(made.service.was_called.wait(), 30)
    async with mesh(tmp_path, owner="agent-3", approvals="coding") as made:
        made.seen = await made.watch(run.run_id)
        for doubt in made.seen[-1].state_changed.run.questions:  # when the service has moved
            await answer(made, run.run_id, doubt.question_id, REPEAT)
            made.seen = await made.watch(run.run_id)
        assert len(made.service.calls) == 1
    assert made.seen[-1].state_changed.run.state == State.STATE_SUCCEEDED
    assert [item.question.asked_by for item in made.payloads("question_asked")].count("policy") == 1
    assert len({item.idempotency_key for item in made.payloads("hop_started")}) == 1


async def test_what_is_not_named_is_called_without_asking(tmp_path: Path) -> None:
    async with mesh(tmp_path, approvals="rag,reviewer") as made:
        assert (await made.finish(effort=LOW)).state == State.STATE_SUCCEEDED


class ToolUser(FakeService):
    """Looks something up, then fetches, as a model would choose it anew each time."""

    def __init__(self, *urls: str) -> None:
        super().__init__()
        self.urls, self.fetched = list(urls), list[str]()

    async def invoke(self, invocation: Invocation, call: CallContext) -> AsyncIterator[Output]:
        self.calls.append(invocation)
        yield ToolCall("1", "look_up", {"word": "sort"})
        url = self.urls.pop(0) if len(self.urls) > 1 else self.urls[0]
        yield ToolCall("2", "fetch_url", {"url": url})
        self.fetched.append(url)
        await self.hang.wait()
        yield ToolResult("2", "fetch_url", "a page")
        yield Result("It is sorted.")


@pytest.mark.parametrize("is_idempotent", [True, False])
async def test_a_guarded_tool_waits_for_its_approval(tmp_path: Path, is_idempotent: bool) -> None:
    service = ToolUser("https://example.org")
    async with mesh(tmp_path, approvals="tool:fetch_url", service=service, is_idempotent=is_idempotent) as made:
        run = await asked(made, effort=LOW)
        [question] = run.questions
        assert (question.asked_by, question.text) == (
            "policy",
            'May coding call the tool fetch_url? Its arguments: {"url": "https://example.org"}',
        )
        assert service.fetched == []
        await answer(made, run.run_id, question.question_id, APPROVE)
        made.seen = await made.watch(run.run_id)
    assert service.fetched == ["https://example.org"]
    assert made.seen[-1].state_changed.run.answer == "It is sorted."
    assert [item.outcome for item in made.payloads("hop_ended")] == ["answered"]
    assert [item.name for item in made.payloads("tool_called")].count("fetch_url") == 1


async def test_a_denied_tool_call_is_a_failed_hop(tmp_path: Path) -> None:
    service = ToolUser("https://example.org")
    async with mesh(tmp_path, approvals="tool:fetch_url", service=service) as made:
        run = await asked(made, effort=LOW)
        decided = {"decision": DENY, "comment": "not that page"}
        await answer(made, run.run_id, run.questions[0].question_id, decided)
        made.seen = await made.watch(run.run_id)
    [hop] = made.payloads("hop_ended")
    assert hop.error.reason == common_v1.ERROR_REASON_FORBIDDEN
    assert (service.fetched, hop.error.message) == ([], "The call was denied: not that page")


async def test_other_arguments_are_asked_about_anew(tmp_path: Path) -> None:
    service = ToolUser("https://one.example", "https://two.example")
    async with mesh(tmp_path, approvals="tool:fetch_url", service=service) as made:
        run = await asked(made, effort=LOW)
        first = run.questions[0].question_id
        await answer(made, run.run_id, first, APPROVE)
        async with asyncio.timeout(60):
            while not (run := await made.runs.get(run.run_id)).questions or run.questions[0].question_id == first:
                await asyncio.sleep(0.01)
        assert "two.example" in run.questions[0].text
        assert "what was approved before (1) may be called again" in run.questions[0].text
        await answer(made, run.run_id, run.questions[0].question_id, APPROVE)
        made.seen = await made.watch(run.run_id)
    assert service.fetched == ["https://two.example"]
    assert made.seen[-1].state_changed.run.state == State.STATE_SUCCEEDED


async def test_an_approved_tool_call_that_a_death_left_in_doubt_is_asked_about(tmp_path: Path) -> None:
    service = ToolUser("https://example.org")
    policy: dict[str, Any] = {"approvals": "tool:fetch_url"}
    async with mesh(tmp_path, dies=True, service=service, **policy) as made:
        run = await asked(made, effort=LOW)
    async with mesh(tmp_path, dies=True, owner="agent-2", service=service, hangs=True, **policy) as made:
        await answer(made, run.run_id, run.questions[0].question_id, APPROVE)
        async with asyncio.timeout(30):
            while not service.fetched:
                await asyncio.sleep(0.01)
    service.hang.set()
    async with mesh(tmp_path, owner="agent-3", service=service, **policy) as made:
        made.seen = await made.watch(run.run_id)
        for doubt in made.seen[-1].state_changed.run.questions:  # when the service has moved
            await answer(made, run.run_id, doubt.question_id, REPEAT)
            made.seen = await made.watch(run.run_id)
    assert made.seen[-1].state_changed.run.state == State.STATE_SUCCEEDED
    assert [item.question.asked_by for item in made.payloads("question_asked")].count("policy") == 1


class Insistent(FakeService):
    """Asks for what nobody guards, or for the same again."""

    def __init__(self, tool: str) -> None:
        super().__init__()
        self.tool = tool

    async def invoke(self, invocation: Invocation, call: CallContext) -> AsyncIterator[Output]:
        self.calls.append(invocation)
        raise ApprovalRequired("Please.", tool=self.tool, arguments="{}", digest="d1")
        yield


@pytest.mark.parametrize(("tool", "questions"), [("fetch_url", 1), ("other", 0)])
async def test_a_service_that_asks_again_or_for_what_is_not_guarded_has_failed(
    tmp_path: Path, tool: str, questions: int
) -> None:
    async with mesh(tmp_path, approvals="tool:fetch_url", service=Insistent(tool)) as made:
        run = await made.start(effort=LOW)
        made.seen = await made.watch(run.run_id)
        for question in made.seen[-1].state_changed.run.questions:
            await answer(made, run.run_id, question.question_id, APPROVE)
            made.seen = await made.watch(run.run_id)
    assert len(made.payloads("question_asked")) == questions
    assert [item.error.reason for item in made.payloads("hop_ended")] == [common_v1.ERROR_REASON_APPROVAL_REQUIRED]


@pytest.mark.parametrize(
    "names", ["tool:", "tool:a b", "Coding!", "risk:extreme", "coding,x y", json.dumps(["coding"])]
)
def test_a_policy_that_names_nothing_stops_the_start(names: str) -> None:
    with pytest.raises(InvalidInput, match="WAYSTATION_AGENT_APPROVALS"):
        AgentSettings.load({"WAYSTATION_AGENT_APPROVALS": names})


def test_the_policy_comes_from_the_environment_or_the_file(tmp_path: Path) -> None:
    assert AgentSettings.load({"WAYSTATION_AGENT_APPROVALS": " coding, risk:high "}).approvals == (
        "coding",
        "risk:high",
    )
    (tmp_path / "w.toml").write_text('[agent]\napprovals = ["coding"]\n')
    assert AgentSettings.load({"WAYSTATION_CONFIG": str(tmp_path / "w.toml")}).approvals == ("coding",)


async def test_a_pause_that_came_with_the_question_counts_when_it_is_answered(tmp_path: Path) -> None:
    def pause(connection: apsw.Connection) -> None:
        """As if it had been committed a moment before the run began to wait."""
        audit.append_act(connection, Order(run.run_id, "anna", "wait", "pause", {"state": "paused"}), "running")
        connection.execute("UPDATE runs SET wants_pause = 1")

    async with mesh(tmp_path, approvals="coding") as made:
        run = await asked(made, effort=LOW)
        await made.database.write(pause)
        await answer(made, run.run_id, run.questions[0].question_id, APPROVE)
        async with asyncio.timeout(60):
            while (await made.runs.get(run.run_id)).state != State.STATE_PAUSED:
                await asyncio.sleep(0.01)
        assert made.service.calls == []
        [act] = made.database.read_here(lambda connection: audit.acts_after(connection, run.run_id, 0))
        assert act.effect and act.effect.outcome == "applied"
        await made.runs.resume(run.run_id)
        made.seen = await made.watch(run.run_id)
        assert len(made.service.calls) == 1
    assert made.seen[-1].state_changed.run.state == State.STATE_SUCCEEDED
    assert len(made.payloads("question_asked")) == 1


async def test_what_is_approved_is_what_was_asked_and_an_override_meanwhile_waits_for_the_next_step(
    tmp_path: Path,
) -> None:
    async with mesh(tmp_path, approvals="coding") as made:
        made.model.decisions = [CODE, CODE, DONE]
        made.service.failure, made.service.forgets_failure = WrongState("not yet"), True
        run = await asked(made, effort=HIGH)
        change = agent_v1.Override()
        change.state.update({"query": "delete it"})
        await made.guardian.Intervene(
            agent_v1.InterveneRequest(run_id=run.run_id, actor="anna", reason="else", override=change), timeout=30
        )
        await answer(made, run.run_id, run.questions[0].question_id, APPROVE)
        async with asyncio.timeout(60):
            while not (run := await made.runs.get(run.run_id)).questions or len(made.service.calls) < 1:
                await asyncio.sleep(0.01)
        assert run.questions[0].text == "May coding be called? Its task: delete it"
        await answer(made, run.run_id, run.questions[0].question_id, DENY)
        made.seen = await made.watch(run.run_id)
    assert [call.task for call in made.service.calls] == ["sort it"]
    assert len(made.payloads("guardian_acted")) == 1
