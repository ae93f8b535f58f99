"""The bench's tasks can be solved, and not by anything else."""

from pathlib import Path

import pytest

from services.coding.bench.tasks import Task, is_solved, read_tasks
from services.coding.checks import checks_in
from services.coding.sandbox.sandbox import Sandbox
from shared.errors import InvalidInput
from tests.unit.services.coding.bench.reference import SOLUTIONS

TASKS = read_tasks()


def test_there_are_twenty_different_tasks() -> None:
    assert len({task.name for task in TASKS}) == len({task.text for task in TASKS}) == 20
    assert {task.name for task in TASKS} == set(SOLUTIONS)
    assert sum(bool(checks_in(task.text, SOLUTIONS[task.name])) for task in TASKS) == 8


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
async def test_the_reference_passes_and_a_program_that_does_nothing_does_not(task: Task, sandbox: Sandbox) -> None:
    assert await is_solved(sandbox, task, SOLUTIONS[task.name])
    assert not await is_solved(sandbox, task, "print('done')")


@pytest.mark.parametrize("code", ["", "def f(:", "raise SystemExit(1)", "import os\nos._exit(0)"])
async def test_what_does_not_come_to_its_tests_solves_nothing(code: str, sandbox: Sandbox) -> None:
    assert not await is_solved(sandbox, Task("x", "x", "def test_x(): pass"), code)


@pytest.mark.parametrize("text", ["", "[[task]]\nname = 'x'", "task = 7", "task = [1]", "]"])
def test_a_file_of_anything_else_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "tasks.toml").write_text(text)
    with pytest.raises(InvalidInput, match="no list of coding tasks"):
        read_tasks(tmp_path / "tasks.toml")
    with pytest.raises(InvalidInput):
        read_tasks(tmp_path / "none.toml")
