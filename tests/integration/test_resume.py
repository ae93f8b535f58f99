"""A short kill matrix: the agent dies at every boundary, every other process at one, and nothing is lost or doubled."""

import asyncio
from collections.abc import Sequence

import pytest
from rich.console import Console

from shared.fault_points import BOUNDARIES
from tests.chaos.campaign import attack
from tests.chaos.matrix import AT_RANDOM, TARGETS, Cell, Outcome

SEED = 3
BOUNDARY_OF = {
    "tally": ("after_effect", "after_record"),
    "outside": ("after_effect",),
    "rag": ("during_call",),
    "coding": ("during_call",),
    "tools": ("during_call",),
    "control": ("during_commit",),
    "models": ("while_streaming",),
}
EVERYWHERE = (*BOUNDARIES, AT_RANDOM)

pytestmark = pytest.mark.timeout(600)
"""All kills are made before the first test: 45 s on an idle machine, minutes on a busy one."""

Outcomes = dict[str, Outcome]


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Outcomes:
    """What came of killing each process, by its name."""
    cells = [_cell(target.process) for target in TARGETS]
    home = tmp_path_factory.mktemp("resume")
    done: Sequence[Outcome] = asyncio.run(attack(cells, home, SEED, 1, Console(quiet=True)))
    return {outcome.process: outcome for outcome in done}


def _cell(process: str) -> Cell:
    [target] = [target for target in TARGETS if target.process == process]
    boundaries = BOUNDARY_OF.get(process, EVERYWHERE)
    return Cell(target, boundaries, len(boundaries))


def test_the_agent_dies_at_every_boundary_and_every_run_goes_on(outcomes: Outcomes) -> None:
    outcome = outcomes["agent"]
    assert outcome.kills == len(EVERYWHERE)
    assert outcome.verdict.resumed > 0
    assert outcome.is_clean, (outcome.problems, outcome.verdict.findings)
    assert outcome.verdict.failed == 0


@pytest.mark.parametrize("process", BOUNDARY_OF)
def test_another_process_dies_and_no_effect_is_lost_or_doubled(outcomes: Outcomes, process: str) -> None:
    outcome = outcomes[process]
    assert outcome.kills == len(BOUNDARY_OF[process])
    assert outcome.verdict.runs > 0
    assert outcome.is_clean, (outcome.problems, outcome.verdict.findings)


def test_what_nobody_can_know_is_asked(outcomes: Outcomes) -> None:
    assert outcomes["outside"].verdict.asked > 0
