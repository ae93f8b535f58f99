"""The kill matrix: each process is killed at each boundary that it has, while runs go on, and is started again."""

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tests.chaos.counting import posted, seen
from tests.chaos.load import LIVE, Load
from tests.chaos.processes import Died, Mesh
from tests.chaos.verdict import Evidence, Verdict, judge

AT_RANDOM = "at random"
PATIENCE_S = 8.0
"""How long a fault may take to be reached."""
LOOK_S = 0.1
SETTLE_S = 45.0
MAX_MISSES = 3
SIGKILLED = -9


@dataclass(frozen=True)
class Target:
    """A process to kill: where, and what runs make it work."""

    process: str
    kinds: tuple[str, ...]
    boundaries: tuple[str, ...]
    weight: float
    """Its share of the kills."""


_INSIDE_AGENT = (
    "before_node",
    "during_call",
    "after_effect",
    "after_record",
    "before_checkpoint",
    "during_commit",
    "while_streaming",
    "during_recovery",
    "during_drain",
)
_SERVED = ("during_call", "after_record", "while_streaming", "during_commit", "during_recovery", "during_drain")

TARGETS = (
    Target(
        "agent",
        ("inside", "letters", "outside", "story"),
        (*_INSIDE_AGENT, AT_RANDOM),
        0.44,
    ),
    Target("tally", ("inside",), ("after_effect", *_SERVED, AT_RANDOM), 0.18),
    Target("outside", ("outside",), ("after_effect", *_SERVED, AT_RANDOM), 0.10),
    Target("rag", ("fact",), (*_SERVED, AT_RANDOM), 0.06),
    Target("coding", ("code",), (*_SERVED, AT_RANDOM), 0.06),
    Target("tools", ("sum",), (*_SERVED, AT_RANDOM), 0.06),
    Target("control", ("inside", "story"), (*_SERVED, AT_RANDOM), 0.06),
    Target("models", ("story",), ("during_call", "while_streaming", "during_drain", AT_RANDOM), 0.04),
)

REACH = {
    "before_node": 30,
    "during_call": 12,
    "after_effect": 8,
    "after_record": 8,
    "before_checkpoint": 24,
    "during_commit": 40,
    "while_streaming": 40,
    "during_recovery": 6,
    "during_drain": 1,
}
"""The kill comes at one of so many first arrivals."""

MAX_REACH = max(REACH.values())


@dataclass(frozen=True)
class Cell:
    """One process at one boundary, or at several in turn."""

    target: Target
    boundaries: tuple[str, ...]
    kills: int

    @property
    def name(self) -> str:
        """The boundaries, for a reader."""
        return ", ".join(self.boundaries)


@dataclass
class Outcome:
    """What came of a cell."""

    process: str
    boundary: str
    seed: str
    kills: int = 0
    resume_s: float = 0.0
    """The longest time from a restart to the first resumed step; of a service, until it served again."""
    verdict: Verdict = field(default_factory=Verdict)
    problems: list[str] = field(default_factory=list)
    """What kept the cell from being done as planned."""

    @property
    def is_clean(self) -> bool:
        """Whether the boundary was reached, and nothing was lost or doubled there."""
        return self.verdict.is_clean and not self.problems


def plan(kills: int, processes: Sequence[str] = ()) -> list[Cell]:
    """Share the kills out: each process by its weight, each boundary at least once."""
    targets = [target for target in TARGETS if not processes or target.process in processes]
    weights = sum(target.weight for target in targets)
    cells = []
    for target in targets:
        share = kills * target.weight / weights / len(target.boundaries)
        cells += [Cell(target, (boundary,), max(1, -int(-share // 1))) for boundary in target.boundaries]
    return cells


class Attack:
    """Does one cell on a running mesh. `on_kill` hears of each kill."""

    def __init__(self, mesh: Mesh, cell: Cell, seed: int, on_kill: Callable[[], None]) -> None:
        self._mesh, self._cell, self._on_kill = mesh, cell, on_kill
        self._process = mesh.processes[cell.target.process]
        label = f"{cell.target.process}-{cell.boundaries[0].replace(' ', '-')}-{seed}"
        self._rng = random.Random(label)
        self._outcome = Outcome(cell.target.process, cell.name, label)
        # no run is started while the process is dead, so that many do not fail for one kill
        self._load = Load(mesh, cell.target.kinds, self._rng, label, gate=self._process)
        self._lives: list[float] = []

    async def run(self) -> Outcome:
        """Kill as often as planned, let everything come to its end, and judge."""
        async with self._load.running():
            await self._kill_all()
            await self._recover()
            await self._load.settle(SETTLE_S)
            await self._judge()
            await self._load.cancel_rest()
        return self._outcome

    async def _kill_all(self) -> None:
        await self._warm_up()
        misses = 0
        while self._outcome.kills < self._cell.kills and misses < MAX_MISSES:
            boundary = self._cell.boundaries[self._outcome.kills % len(self._cell.boundaries)]
            try:
                is_killed = await self._kill_once(boundary)
            except Died as error:
                self._outcome.problems.append(str(error))
                return
            if is_killed:
                self._outcome.kills += 1
                self._on_kill()
            misses = 0 if is_killed else misses + 1
        if misses:
            self._outcome.problems.append(f"{boundary} was not reached within {PATIENCE_S:g} s, {misses} times")

    async def _warm_up(self) -> None:
        """Have runs under way before the first restart."""
        self._load.permit(LIVE)
        await asyncio.sleep(self._rng.uniform(0.05, 0.3))

    async def _kill_once(self, boundary: str) -> bool:
        if self._process.is_alive:
            await self._process.kill()
        self._load.permit(LIVE)
        if boundary == AT_RANDOM:
            await self._start("")
            await self._load.wait_for_start(LOOK_S if self._process.name == "agent" else PATIENCE_S)
            await asyncio.sleep(self._rng.uniform(0.0, 0.4))
            await self._process.kill()
            return True
        number = self._rng.randint(1, self._reach(boundary))
        try:
            await self._start(f"{boundary}:kill:{number}")
        except Died as error:
            if error.code == SIGKILLED:
                return True
            raise
        if boundary == "during_drain":
            await self._load.wait_for_start(PATIENCE_S)
            await asyncio.sleep(self._rng.uniform(0.0, 0.3))
            self._process.terminate()
        return await self._dies()

    def _reach(self, boundary: str) -> int:
        # the store of a service is opened once, that of the agent once and then each of its runs
        if boundary == "during_recovery" and self._process.name != "agent":
            return 1
        # the list of services that the control plane streams changes a few times only
        return min(4 if self._process.name == "control" else MAX_REACH, REACH[boundary])

    async def _start(self, faults: str) -> None:
        try:
            await self._process.start(faults)
        finally:
            self._lives.append(self._process.spawn_time_s)
        if self._process.name != "agent":
            self._outcome.resume_s = max(self._outcome.resume_s, self._process.start_s)

    async def _dies(self) -> bool:
        end = asyncio.get_running_loop().time() + PATIENCE_S
        while asyncio.get_running_loop().time() < end:
            code = await self._process.wait_for_death(LOOK_S)
            if code is not None:
                return code == SIGKILLED
            if self._load.is_idle:
                self._load.permit(LIVE)
        return False

    async def _recover(self) -> None:
        if self._process.is_alive:
            await self._process.kill()
        try:
            await self._start("")
        except (Died, TimeoutError) as error:
            self._outcome.problems.append(f"it does not start again: {error}")

    async def _judge(self) -> None:
        effects, letters = list(seen(self._mesh.home)), list(posted(self._mesh.home))
        everything = [
            Evidence(
                item,
                await self._load.replay(item),
                [effect for effect in effects if effect.run_id == item.run_id],
                [letter for letter in letters if letter.run_id == item.run_id],
                await self._load.messages(item) if item.kind == "letters" else (),
            )
            for item in self._load.tracked
        ]
        self._outcome.verdict = judge(everything, is_service_killed=self._process.name not in ("agent", "control"))
        if self._process.name == "agent":
            self._outcome.resume_s = max(map(self._resume_s, self._lives), default=0.0)

    def _resume_s(self, spawn_time_s: float) -> float:
        """From the start of one life of the agent to the first step after a resumption; 0 when it resumed nothing."""
        later = [life for life in self._lives if life > spawn_time_s]
        death_s = min(later, default=float("inf"))
        steps = []
        for tracked in self._load.tracked:
            for event, following in zip(tracked.events, tracked.events[1:], strict=False):
                at_s = following.create_time.ToNanoseconds() / 1e9
                if event.HasField("run_resumed") and spawn_time_s < at_s < death_s:
                    steps.append(at_s - spawn_time_s)
        return min(steps, default=0.0)
