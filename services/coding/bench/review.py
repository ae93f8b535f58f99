"""What a review gains: tasks through `auto`, through `review`, and through `review` with another task's findings."""

import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from google.protobuf.duration_pb2 import Duration

from services.coding.bench.measure import Measure
from services.coding.bench.own_mesh import running_mesh
from services.coding.bench.scrambled import WORKFLOW, scrambled_workflow, scrambler
from services.coding.bench.tasks import OWN_TASKS, Task, is_solved, read_tasks
from services.coding.sandbox.gate import Gate
from services.coding.sandbox.limits import Limits
from services.coding.sandbox.sandbox import Sandbox
from services.coding.sandbox.scratch import ScratchRoot
from shared.capability.wire import json_value
from shared.errors import WaystationError
from shared.pb import agent_v1
from shared.rpc.channel import open_channel
from shared.rpc.status import peer_errors

ARMS = ("auto", "review", "scrambled")
BUDGET_S = 35 * 60
"""No task is begun after that; the rows say how many there were."""
RUN_TIMEOUT_S = 600
REVIEW_DOCUMENT = Path(__file__).parents[3] / "workflows" / "review.yaml"
WORKFLOWS = {"auto": "auto", "review": "review", "scrambled": WORKFLOW}


@dataclass(frozen=True)
class Sample:
    """One task through one workflow."""

    task: str
    arm: str
    is_solved: bool
    cycles: int
    """Reviews that were done."""
    tokens: int
    """Read and written by the models of all hops."""
    seconds: float
    end: str
    """How the run ended; an error's name when it was lost."""
    findings: dict[str, Any] = field(default_factory=dict)
    """The first review that was sent to the coder; empty when none was."""
    is_copy: bool = False
    """Whether it is the sample of `review`, whose first verdict was an approval: there is nothing to scramble."""


Ask = Callable[[Task, str], Awaitable[Sample]]


async def measure(data: Path | None = None) -> list[Measure]:
    """Takes each task through the three arms on a mesh of its own, for at most `BUDGET_S`; tells each sample on stderr.

    `data` holds other tasks. Raises InvalidInput when it holds none, and Unavailable when the mesh does not come up.
    """
    tasks = read_tasks(data or OWN_TASKS)
    workflows = {f"{WORKFLOW}.yaml": scrambled_workflow(REVIEW_DOCUMENT.read_text(encoding="utf-8"))}
    with tempfile.TemporaryDirectory(prefix="waystation-bench-") as folder, running_mesh(workflows) as mesh:
        findings, root = Path(folder) / "findings.json", ScratchRoot(Path(folder) / "scratch")
        try:
            judge = Sandbox(root, Limits(), Gate(1, 1))
            with scrambler(mesh, findings):
                async with open_channel(mesh.address("agent")) as channel:
                    bench = Bench(agent_v1.AgentServiceStub(channel), judge)
                    return summarize(await compare(tasks, bench.sample, findings))
        finally:
            root.close()


async def compare(tasks: Sequence[Task], ask: Ask, findings: Path, budget_s: float = BUDGET_S) -> list[Sample]:
    """The samples of as many tasks as the budget allows, three for each.

    A task gets the findings of the one before it that was sent back; the first of those gets the last one's.
    """
    samples: list[Sample] = []
    sent_back: list[tuple[Task, Sample]] = []
    ends = time.monotonic() + budget_s

    async def scramble(task: Task, other: Sample) -> None:
        await asyncio.to_thread(findings.write_text, json.dumps(other.findings))
        samples.append(_tell(await ask(task, "scrambled")))

    for task in tasks:
        if time.monotonic() > ends:
            break
        samples.append(_tell(await ask(task, "auto")))
        reviewed = _tell(await ask(task, "review"))
        samples.append(reviewed)
        if not reviewed.findings:
            samples.append(_tell(replace(reviewed, arm="scrambled", is_copy=True)))
            continue
        if sent_back:
            await scramble(task, sent_back[-1][1])
        sent_back.append((task, reviewed))
    if len(sent_back) > 1:
        await scramble(sent_back[0][0], sent_back[-1][1])
    return samples


def summarize(samples: Sequence[Sample]) -> list[Measure]:
    """A row for each figure and arm, beside `auto`; only tasks that went through all of them count."""
    whole = {task for task in {one.task for one in samples} if sum(one.task == task for one in samples) == len(ARMS)}
    by_arm = {arm: [one for one in samples if one.arm == arm and one.task in whole] for arm in ARMS}
    rows = []
    for name, unit, figure in FIGURES:
        peer = figure(by_arm["auto"])
        for arm in ARMS:
            value, is_peer = figure(by_arm[arm]), arm == "auto"
            ratio = value / peer if peer and not is_peer else None
            rows.append(
                Measure(
                    f"review.{name}.{arm}",
                    round(value, 2),
                    unit,
                    "" if is_peer else "auto",
                    None if is_peer else round(peer, 2),
                    ratio,
                    len(whole),
                )
            )
    return rows


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0


FIGURES: tuple[tuple[str, str, Callable[[Sequence[Sample]], float]], ...] = (
    ("solved", "tasks", lambda samples: float(sum(one.is_solved for one in samples))),
    ("sent_back", "tasks", lambda samples: float(sum(bool(one.findings) for one in samples))),
    ("cycles", "reviews", lambda samples: _mean([one.cycles for one in samples])),
    ("tokens", "tokens", lambda samples: _mean([one.tokens for one in samples])),
    ("time", "s", lambda samples: _mean([one.seconds for one in samples])),
)


def _tell(sample: Sample) -> Sample:
    print(json.dumps(asdict(sample), ensure_ascii=False), file=sys.stderr, flush=True)
    return sample


class Bench:
    """Asks a mesh, and judges what it made."""

    def __init__(self, agent: "agent_v1.AgentServiceAsyncStub", judge: Sandbox) -> None:
        self._agent = agent
        self._judge = judge

    async def sample(self, task: Task, arm: str) -> Sample:
        """One run. One that is lost is a sample too."""
        started, seen = time.perf_counter(), Seen()
        try:
            await self._follow(task, WORKFLOWS[arm], seen)
        except WaystationError as error:
            seen.end = error.reason
        seconds = time.perf_counter() - started
        is_good = await is_solved(self._judge, task, seen.code)
        return Sample(task.name, arm, is_good, seen.cycles, seen.tokens, round(seconds, 1), seen.end, seen.findings)

    async def _follow(self, task: Task, workflow: str, seen: "Seen") -> None:
        request = agent_v1.StartRunRequest(
            query=task.text, workflow=workflow, run_timeout=Duration(seconds=RUN_TIMEOUT_S)
        )
        with peer_errors("agent"):
            run = (await self._agent.StartRun(request, timeout=30)).run
            watch = agent_v1.WatchRunRequest(run_id=run.run_id)
            async for message in self._agent.WatchRun(watch, timeout=RUN_TIMEOUT_S + 30):
                seen.take(message.event)


@dataclass
class Seen:
    """What the events of a run tell."""

    code: str = ""
    """The newest program."""
    cycles: int = 0
    tokens: int = 0
    end: str = ""
    findings: dict[str, Any] = field(default_factory=dict)

    def take(self, event: agent_v1.RunEvent) -> None:
        """Notes what the event adds."""
        match event.WhichOneof("payload"):
            case "artifact_made":
                artifact = event.artifact_made.artifact
                self.code = artifact.text if artifact.kind == "code" else self.code
                self.cycles += artifact.kind == "verdict"
            case "hop_ended":
                self.tokens += event.hop_ended.usage.input_tokens + event.hop_ended.usage.output_tokens
            case "message_sent":
                self.findings = self.findings or json_value(event.message_sent.message.payload)
            case "state_changed":
                self.end = agent_v1.Run.State.Name(event.state_changed.run.state).removeprefix("STATE_").lower()
