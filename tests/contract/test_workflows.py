"""Workflows over a real agent: what the shipped ones do with two counters, verdicts, failures, doubts and kills."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import pytest

from shared.call_context import CallContext
from shared.capability import Artifact, Citation, Descriptor, Invocation, Output, Result
from shared.errors import Forbidden, GraphChanged, PeerUnavailable, UnknownWorkflow, WaystationError
from shared.pb import agent_v1, common_v1
from tests.fakes.agent_mesh import Mesh, mesh

State = agent_v1.Run


@dataclass
class Mill:
    """Stands for every service: writes, looks up and reviews as it is told, and remembers its calls."""

    verdicts: list[bool | None] = field(default_factory=list)
    """Of the reviews in turn: approved, or not; None for a review that fails. The last one stays."""
    failing: set[str] = field(default_factory=set)
    """Roles, or capabilities without one, that fail."""
    hold: Callable[[Invocation], bool] = lambda invocation: False
    is_held: asyncio.Event = field(default_factory=asyncio.Event)
    release: asyncio.Event = field(default_factory=asyncio.Event)
    calls: list[Invocation] = field(default_factory=list)
    descriptor: ClassVar[Descriptor] = Descriptor("coding", "Does everything.", ("python",), ("write a sort",))

    async def invoke(self, invocation: Invocation, call: CallContext) -> AsyncIterator[Output]:
        """Do what the role does."""
        self.calls.append(invocation)
        if self.hold(invocation):
            self.is_held.set()
            await self.release.wait()
        if (invocation.role or "rag") in self.failing:
            raise Forbidden("It will not.")
        if invocation.role == "reviewer":
            number = sum(made.role == "reviewer" for made in self.calls) - 1
            is_approved = self.verdicts[min(number, len(self.verdicts) - 1)]
            if is_approved is None:
                raise Forbidden("The reviewer will not.")
            verdict = json.dumps({"is_approved": is_approved, "summary": "", "findings": []})
            yield Artifact("v", "verdict", "verdict.json", "application/json", verdict)
            yield Result("approved" if is_approved else "changes")
        elif invocation.role:
            yield Result(f"{invocation.effort} draft {sum(made.role == 'coder' for made in self.calls)}")
        else:
            yield Citation(1, "notes.md")
            yield Result("evidence")


def roles(mill: Mill) -> list[str]:
    return [invocation.role or "rag" for invocation in mill.calls]


async def until_state(made: Mesh, run_id: str, state: agent_v1.Run.State.ValueType) -> agent_v1.Run:
    async with asyncio.timeout(60):
        while (run := await made.runs.get(run_id)).state != state:
            await asyncio.sleep(0.01)
    return run


def cycles(made: Mesh) -> list[tuple[int, int, bool]]:
    return [
        (item.current_cycle, item.max_cycles, item.has_unresolved_review) for item in made.payloads("cycle_changed")
    ]


@pytest.mark.parametrize(
    ("verdicts", "wanted", "reviews", "is_unresolved"),
    [
        ([True], ["rag", "coder", "reviewer"], 1, False),
        ([False, True], ["rag", "coder", "reviewer", "coder", "reviewer"], 2, False),
        ([False, False], ["rag", "coder", "reviewer", "coder", "reviewer"], 2, True),
        ([None, True], ["rag", "coder", "reviewer", "coder", "reviewer"], 2, False),
        ([None, None], ["rag", "coder", "reviewer", "coder", "reviewer"], 2, True),
    ],
)
async def test_a_review_is_repeated_once_at_most_and_what_stays_open_is_said(
    tmp_path: Path, verdicts: list[bool | None], wanted: list[str], reviews: int, is_unresolved: bool
) -> None:
    mill = Mill(verdicts)
    async with mesh(tmp_path, service=mill) as made:
        run = await made.finish(workflow="review")
    assert (run.state, roles(mill)) == (State.STATE_SUCCEEDED, wanted)
    assert (run.hop_count, run.remaining_hops) == (len(wanted), 5 - len(wanted))
    assert (run.current_cycle, run.max_cycles, run.has_unresolved_review) == (reviews, 2, is_unresolved)
    assert run.answer == f"medium draft {reviews}"
    assert cycles(made) == [(n, 2, False) for n in range(1, reviews + 1)] + ([(2, 2, True)] if is_unresolved else [])
    assert [started.role for started in made.payloads("hop_started")] == wanted


async def test_code_is_written_without_evidence_and_the_best_of_several_results_is_the_answer(tmp_path: Path) -> None:
    mill = Mill([False], failing={"rag"})
    async with mesh(tmp_path, service=mill) as made:
        run = await made.finish(workflow="review")
        assert (run.state, run.answer) == (State.STATE_SUCCEEDED, "medium draft 2")
        assert [ended.HasField("error") for ended in made.payloads("hop_ended")] == [True, *[False] * 4]
        mill.failing.add("coder")
        run = await made.finish(workflow="review")
    assert (run.state, run.has_unresolved_review) == (State.STATE_SUCCEEDED, True)
    assert "changes" not in run.answer  # a review is no answer, even when nothing else came
    assert "(rag could not help: It will not.)" in run.answer and "(coding could not help" in run.answer
    assert run.answer.endswith("Hello.") and "help: )" not in run.answer


async def test_hops_that_run_out_are_an_outcome_with_the_best_result_so_far(tmp_path: Path) -> None:
    mill = Mill([False], hold=lambda invocation: invocation.role == "reviewer")
    async with mesh(tmp_path, service=mill) as made:
        run = await made.start(workflow="review")
        await asyncio.wait_for(mill.is_held.wait(), 60)
        await made.stub.PauseRun(agent_v1.PauseRunRequest(run_id=run.run_id))
        mill.release.set()
        paused = await until_state(made, run.run_id, State.STATE_PAUSED)
        assert (paused.hop_count, paused.remaining_hops, paused.current_cycle) == (3, 2, 1)
        request = agent_v1.UpdateStateRequest(run_id=run.run_id)
        request.updates.update({"remaining_hops": 1})
        await made.stub.UpdateState(request)
        await made.stub.ResumeRun(agent_v1.ResumeRunRequest(run_id=run.run_id))
        run = (await made.watch(run.run_id))[-1].state_changed.run
    assert roles(mill) == ["rag", "coder", "reviewer", "coder"]
    assert (run.state, run.answer, run.remaining_hops) == (State.STATE_SUCCEEDED, "medium draft 2", 0)
    assert (run.current_cycle, run.has_unresolved_review) == (1, True)


async def test_a_crash_in_mid_cycle_goes_on_with_the_same_counters(tmp_path: Path) -> None:
    mill = Mill([False, True], hold=lambda invocation: roles(mill).count("reviewer") == 2)
    async with mesh(tmp_path, service=mill, dies=True) as made:
        run = await made.start(workflow="review")
        await asyncio.wait_for(mill.is_held.wait(), 60)
    mill.release.set()
    again = Mill([True])
    async with mesh(tmp_path, service=again, owner="agent-2", is_idempotent=True) as made:
        made.seen = await made.watch(run.run_id)
        run = made.seen[-1].state_changed.run
    assert roles(again) == ["reviewer"]
    assert (run.state, run.answer, run.has_unresolved_review) == (State.STATE_SUCCEEDED, "medium draft 2", False)
    assert (run.hop_count, run.remaining_hops, run.current_cycle) == (5, 0, 2)


async def test_two_proposers_run_at_once_and_a_judge_chooses(tmp_path: Path) -> None:
    both = asyncio.Barrier(2)

    class Proposer(Mill):
        async def invoke(self, invocation: Invocation, call: CallContext) -> AsyncIterator[Output]:
            self.calls.append(invocation)
            await asyncio.wait_for(both.wait(), 60)  # passes only when both are under way
            yield Result(f"{invocation.effort} proposal")

    mill = Proposer()
    async with mesh(tmp_path, service=mill) as made:
        for number, answer in ((1, "low proposal"), (2, "medium proposal")):
            made.model.decisions = [{"proposal": number, "reason": "better"}]
            run = await made.finish(workflow="debate")
            assert (run.state, run.answer, run.hop_count) == (State.STATE_SUCCEEDED, answer, 2)
            hops = {(item.hop_index, item.role) for item in made.payloads("hop_started")}
            assert hops == {(0, "coder"), (1, "coder")}
            [decision] = [item.decision for item in made.payloads("decision_made")]
            assert decision.source == agent_v1.Decision.SOURCE_MODEL
        made.model.failure = PeerUnavailable("no model")
        run = await made.finish(workflow="debate")
    assert (run.state, run.answer) == (State.STATE_SUCCEEDED, "medium proposal")
    assert {invocation.remaining_hops for invocation in mill.calls} == {0}


@pytest.mark.parametrize(("answer", "best"), [("repeat", "low"), ("skip", "medium")])
async def test_a_doubt_in_a_parallel_branch_is_settled_before_the_judge(tmp_path: Path, answer: str, best: str) -> None:
    broken: list[str] = []

    class Breaking(Mill):
        async def invoke(self, invocation: Invocation, call: CallContext) -> AsyncIterator[Output]:
            self.calls.append(invocation)
            if invocation.effort == "low" and not broken:
                broken.append(invocation.idempotency_key)
                raise PeerUnavailable("broke off")
            yield Result(f"{invocation.effort} proposal {len(self.calls)}")

    mill = Breaking()
    async with mesh(tmp_path, service=mill) as made:
        made.model.decisions = [{"proposal": 1, "reason": "better"}]
        run = await made.start(workflow="debate")
        waiting = await until_state(made, run.run_id, State.STATE_INPUT_REQUIRED)
        assert len(mill.calls) == 2 and not made.model.asked  # the judge waits for the branch in doubt
        request = agent_v1.AnswerQuestionRequest(run_id=run.run_id, question_id=waiting.questions[0].question_id)
        request.answer.string_value = answer
        await made.stub.AnswerQuestion(request)
        made.seen = await made.watch(run.run_id)
        run = made.seen[-1].state_changed.run
    assert run.state == State.STATE_SUCCEEDED
    assert run.answer.startswith(best) and run.hop_count == 2
    if answer == "repeat":
        assert mill.calls[2].idempotency_key == broken[0]
        assert (mill.calls[2].context, mill.calls[2].remaining_hops) == (mill.calls[0].context, 0)


async def test_workflows_are_listed_shown_and_checked_and_bad_ones_stop_nobody(tmp_path: Path) -> None:
    folder = tmp_path / "workflows"
    folder.mkdir()
    (folder / "mine.yaml").write_text(
        "name: mine\nmax_hops: 1\neffort: high\ntimeout_s: 7\nsteps:\n"
        "  - {name: write, capability: coding, role: coder}\n"
    )
    (folder / "broken.yaml").write_text("name: broken\nmax_hops: 1\nsteps:\n  - {name: a, capability: x, then: b}\n")
    (folder / "auto.yaml").write_text("name: auto\nmax_hops: 1\nsteps:\n  - {name: a, capability: x}\n")
    mill = Mill()
    async with mesh(tmp_path, service=mill) as made:
        listed = (await made.stub.ListWorkflows(agent_v1.ListWorkflowsRequest())).workflows
        usable = {item.name: item for item in listed if not item.problems}
        assert {name: item.origin for name, item in usable.items()} == {
            "auto": "shipped",
            "debate": "shipped",
            "linear": "shipped",
            "review": "shipped",
            "mine": "user",
        }
        assert sorted((item.name, item.origin) for item in listed if item.problems) == [
            ("auto", "user"),
            ("broken", "user"),
        ]
        shown = (await made.stub.GetWorkflow(agent_v1.GetWorkflowRequest(name="review"))).workflow
        assert "max_cycles: 2" in shown.document and "review -.-> write" in re.sub(r"&nbsp;.*&nbsp;", "", shown.diagram)
        run = await made.finish(workflow="mine")
        assert (run.answer, run.effort) == ("high draft 1", common_v1.EFFORT_HIGH)
        assert run.run_timeout.seconds == 7 and run.graph_digest == usable["mine"].graph_digest
        with pytest.raises(UnknownWorkflow, match="There is no step b"):
            await made.start(workflow="broken")
        text = "name: good\nmax_hops: 1\nsteps:\n  - {name: write, capability: nobody}\n"
        checked = await made.stub.CheckWorkflow(agent_v1.CheckWorkflowRequest(document=text, file_name="good.yaml"))
        [problem] = checked.problems
        assert (problem.line, problem.path) == (4, "steps.write.capability") and "coding" in problem.message


async def test_a_run_whose_next_step_is_gone_waits_for_it_and_the_others_go_on(tmp_path: Path) -> None:
    folder = tmp_path / "workflows"
    folder.mkdir()
    document = "name: mine\nmax_hops: 2\nsteps:\n  - {name: NAME, capability: coding, role: coder}\n"
    (folder / "mine.yaml").write_text(document.replace("NAME", "write"))
    mill = Mill(hold=lambda invocation: True)
    async with mesh(tmp_path, service=mill, dies=True) as made:
        run = await made.start(workflow="mine")
        await asyncio.wait_for(mill.is_held.wait(), 60)
    (folder / "mine.yaml").write_text(document.replace("NAME", "compose"))
    async with mesh(tmp_path, service=Mill(), owner="agent-2") as made:
        paused = await until_state(made, run.run_id, State.STATE_PAUSED)
        assert "node write is gone" in paused.error.message
        [newest, *_] = [item async for item, _ in made.runs.checkpoints(run.run_id)]
        with pytest.raises(GraphChanged, match="node write is gone"):
            await made.runs.fork(run.run_id, newest.config["configurable"]["checkpoint_id"], {}, "", "")
        assert (await made.finish(workflow="linear")).state == State.STATE_SUCCEEDED
    (folder / "mine.yaml").unlink()
    async with mesh(tmp_path, service=Mill(), owner="agent-3") as made:
        with pytest.raises(WaystationError, match="no workflow 'mine'"):
            await made.runs.resume(run.run_id)
        assert all([size async for _, size in made.runs.checkpoints(run.run_id)])
    (folder / "mine.yaml").write_text(document.replace("NAME", "write"))
    async with mesh(tmp_path, service=Mill(), owner="agent-4", is_idempotent=True) as made:
        await made.runs.resume(run.run_id)
        assert (await made.watch(run.run_id))[-1].state_changed.run.answer == "medium draft 1"


async def test_a_run_whose_step_has_become_another_kind_waits_for_it(tmp_path: Path) -> None:
    folder = tmp_path / "workflows"
    folder.mkdir()
    document = (
        "name: mine\nmax_hops: 2\nsteps:\n  - {name: write, WHAT, then: mend}\n"
        "  - {name: mend, capability: coding, role: coder}\n"
    )
    called = document.replace("WHAT", "capability: coding, role: coder")
    (folder / "mine.yaml").write_text(called)
    mill = Mill(hold=lambda invocation: True)
    async with mesh(tmp_path, service=mill, dies=True) as made:
        run = await made.start(workflow="mine")
        await asyncio.wait_for(mill.is_held.wait(), 60)
    (folder / "mine.yaml").write_text(document.replace("WHAT", "kind: recommend"))
    async with mesh(tmp_path, service=Mill(), owner="agent-2") as made:
        paused = await until_state(made, run.run_id, State.STATE_PAUSED)
        assert "node write was a step of kind call and is one of kind recommend" in paused.error.message
    (folder / "mine.yaml").write_text(called)
    async with mesh(tmp_path, service=Mill(), owner="agent-3", is_idempotent=True) as made:
        await made.runs.resume(run.run_id)
        assert (await made.watch(run.run_id))[-1].state_changed.run.state == State.STATE_SUCCEEDED


@pytest.mark.parametrize(("begun_with", "went_on_with"), [(2, 1), (1, 2)])
async def test_a_run_keeps_the_cycles_that_it_began_with(tmp_path: Path, begun_with: int, went_on_with: int) -> None:
    folder = tmp_path / "workflows"
    folder.mkdir()
    document = (
        "name: mine\nmax_hops: 5\nloop: {step: review, max_cycles: MAX}\nsteps:\n"
        "  - {name: write, capability: coding, role: coder, then: review}\n"
        "  - {name: review, capability: coding, role: reviewer, then: [{when: changes_wanted, to: write}]}\n"
    )
    (folder / "mine.yaml").write_text(document.replace("MAX", str(begun_with)))
    mill = Mill(hold=lambda invocation: invocation.role == "reviewer")
    async with mesh(tmp_path, service=mill, dies=True, is_idempotent=True) as made:
        run = await made.start(workflow="mine")
        await asyncio.wait_for(mill.is_held.wait(), 60)
    (folder / "mine.yaml").write_text(document.replace("MAX", str(went_on_with)))
    async with mesh(tmp_path, service=Mill([False]), owner="agent-2", is_idempotent=True) as made:
        final = (await made.watch(run.run_id))[-1].state_changed.run
    assert (final.state, final.current_cycle, final.max_cycles) == (State.STATE_SUCCEEDED, begun_with, begun_with)
