"""How the bench of reviews counts: arms, donors of findings, budget, and what it reads from events."""

import json
from pathlib import Path
from typing import Any

import pytest

from services.coding.bench import __main__ as command
from services.coding.bench.review import Sample, Seen, compare, summarize
from services.coding.bench.tasks import Task
from shared.pb import agent_v1, common_v1

TASKS = [Task(name, f"Do {name}.", "") for name in "abcd"]


def sample(task: str, arm: str, is_solved: bool = False, **more: Any) -> Sample:
    """One sample of ten tokens and two seconds."""
    return Sample(task, arm, is_solved, more.pop("cycles", 0), 10, 2.0, "succeeded", **more)


async def compared(tmp_path: Path, sent_back: str, **options: Any) -> tuple[list[Sample], dict[str, str]]:
    """The samples, and whose findings each scrambled run got."""
    findings, donors = tmp_path / "findings.json", {}

    async def ask(task: Task, arm: str) -> Sample:
        if arm == "scrambled":
            donors[task.name] = json.loads(findings.read_text())["of"]
        is_sent_back = arm == "review" and task.name in sent_back
        return sample(task.name, arm, findings={"of": task.name} if is_sent_back else {})

    return await compare(TASKS, ask, findings, **options), donors


async def test_a_task_that_was_sent_back_gets_anothers_findings(tmp_path: Path) -> None:
    samples, donors = await compared(tmp_path, "acd")
    assert donors == {"c": "a", "d": "c", "a": "d"}
    assert sorted((one.task, one.arm) for one in samples) == sorted(
        (name, arm) for name in "abcd" for arm in ("auto", "review", "scrambled")
    )
    assert [one.task for one in samples if one.is_copy] == ["b"]


async def test_findings_of_one_task_only_cannot_be_swapped(tmp_path: Path) -> None:
    samples, donors = await compared(tmp_path, "b")
    assert donors == {}
    assert {row.n for row in summarize(samples)} == {3}


async def test_without_time_no_task_is_begun(tmp_path: Path) -> None:
    samples, _ = await compared(tmp_path, "abcd", budget_s=-1)
    assert samples == []
    assert {(row.value, row.n) for row in summarize(samples)} == {(0.0, 0)}


def test_the_rows_stand_beside_auto() -> None:
    samples = [
        *(sample("a", arm, arm == "review", cycles=2 * (arm != "auto")) for arm in ("auto", "review", "scrambled")),
        *(sample("b", arm, is_solved=True) for arm in ("auto", "review", "scrambled")),
        sample("c", "auto", is_solved=True),
    ]
    rows = {row.name: row for row in summarize(samples)}
    assert [rows[f"review.solved.{arm}"].value for arm in ("auto", "review", "scrambled")] == [1, 2, 1]
    assert (rows["review.solved.review"].peer, rows["review.solved.review"].peer_value) == ("auto", 1)
    assert rows["review.solved.review"].ratio == 2 and rows["review.solved.auto"].peer_value is None
    assert rows["review.cycles.review"].value == 1 and rows["review.tokens.auto"].value == 10
    assert {row.n for row in rows.values()} == {2}


def test_events_tell_program_reviews_tokens_and_findings() -> None:
    seen = Seen()
    for kind, text in (("code", "1"), ("run", "{}"), ("code", "2"), ("verdict", "{}")):
        artifact = common_v1.Artifact(kind=kind, text=text)
        seen.take(agent_v1.RunEvent(artifact_made=agent_v1.ArtifactMade(artifact=artifact)))
    usage = common_v1.Usage(input_tokens=3, output_tokens=4)
    for _ in range(2):
        seen.take(agent_v1.RunEvent(hop_ended=agent_v1.HopEnded(usage=usage)))
    for number in (1, 2):
        message = common_v1.A2aMessage()
        message.payload.update({"number": number})
        seen.take(agent_v1.RunEvent(message_sent=agent_v1.MessageSent(message=message)))
    run = agent_v1.Run(state=agent_v1.Run.STATE_SUCCEEDED)
    seen.take(agent_v1.RunEvent(state_changed=agent_v1.RunStateChanged(run=run)))
    assert seen == Seen(code="2", cycles=1, tokens=14, end="succeeded", findings={"number": 1})


def test_the_bench_runs_only_what_is_named(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert command.main(["--json"]) == 0
    assert json.loads(capsys.readouterr().out) == []
    with pytest.raises(SystemExit):
        command.main(["other"])
    assert command.main(["review", "--data", str(tmp_path / "none.toml")]) == 1
    assert "no list of coding tasks" in capsys.readouterr().err
