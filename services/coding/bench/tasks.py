"""The bench's tasks, and whether a program passes a task's hidden tests."""

import tomllib
from dataclasses import dataclass
from pathlib import Path

from services.coding.harness import read_outcome, with_tests
from services.coding.sandbox.sandbox import Sandbox
from shared.errors import InvalidInput

OWN_TASKS = Path(__file__).with_name("tasks.toml")


@dataclass(frozen=True)
class Task:
    """What is asked, and how it is judged."""

    name: str
    text: str
    tests: str
    """Never shown to the mesh."""


def read_tasks(path: Path = OWN_TASKS) -> list[Task]:
    """Reads tasks from TOML: tables `task` with name, text and tests. Raises InvalidInput for anything else."""
    try:
        entries = tomllib.loads(path.read_text(encoding="utf-8"))["task"]
        return [Task(entry["name"], entry["text"], entry["tests"]) for entry in entries]
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, KeyError, TypeError) as error:
        raise InvalidInput(
            f"{path} is no list of coding tasks: {error}.", remedy="Write [[task]] tables with name, text and tests."
        ) from error


async def is_solved(sandbox: Sandbox, task: Task, code: str) -> bool:
    """Whether the code runs and passes the task's tests."""
    if not code.strip():
        return False
    program = with_tests(code, task.tests)
    execution = await sandbox.run(program)
    outcome = read_outcome(execution, program)
    return execution.is_success and outcome is not None and outcome.count > 0 and not outcome.failed
