"""`waystation backup`: make, list, verify and restore backups of the agent's store.

What it does happens in a process of the agent's own code, which prints progress and one result as lines of JSON.
"""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn
from rich.table import Table
from rich.text import Text

from services.cli.output import JsonOption, err, note, out, print_json
from shared.errors import InternalError, error_from_reason

SHOWN_EVENTS = 5
SHOWN_RUNS = 20

Name = Annotated[str, typer.Argument(help="The backup's name; `backup list` shows them.")]

app = typer.Typer(no_args_is_help=True)


@app.command()
def create(is_json: JsonOption = False) -> None:
    """Back the agent's store up now, whether the agent runs or not."""
    backup = _run("create")
    if is_json:
        print_json(backup)
    else:
        out().print(f"Backup {backup['name']}, {_megabytes(backup['size_bytes'])}: {backup['path']}", soft_wrap=True)


@app.command("list")
def list_backups(is_json: JsonOption = False) -> None:
    """List the backups, newest first, and what last happened to the store."""
    found = _run("list")
    if is_json:
        print_json(found)
        return
    if found["backups"]:
        out().print(_table(found["backups"]))
    else:
        note("There are no backups; the agent makes one every hour, `waystation backup create` makes one now.")
    for event in found["events"][-SHOWN_EVENTS:]:
        note(f"{_age(event['time_ns'])} ago, {event['kind'].replace('_', ' ')}: {event['message']}")


@app.command()
def verify(
    name: Annotated[str, typer.Argument(help="Only this backup.")] = "",
    is_json: JsonOption = False,
) -> None:
    """Check sum, structure and content of the backups. Exit code 1 when one is damaged."""
    verdicts = _run("verify", name)
    if is_json:
        print_json(verdicts)
    elif not verdicts:
        note("There are no backups.")
    else:
        for verdict in verdicts:
            out().print(_verdict(**verdict), soft_wrap=True)
    if any(verdict["problems"] for verdict in verdicts):
        raise typer.Exit(1)


@app.command()
def restore(
    name: Annotated[str, typer.Argument(help="The backup's name; empty means the newest.")] = "",
    is_json: JsonOption = False,
) -> None:
    """Put a backup in the place of the store, which is kept aside, and say which runs lose events.

    Only while the agent is stopped.
    """
    repair = _run("restore", name)
    if is_json:
        print_json(repair)
        return
    console = out()
    console.print(f"Backup {repair['source']} is the store now, as generation {repair['generation']}.", soft_wrap=True)
    console.print(f"What was there is kept: {repair['aside']}", soft_wrap=True)
    _print_lost(repair["lost"])


@app.command()
def accept(is_json: JsonOption = False) -> None:
    """Go on with the store as it is, after `COMMITS_MISSING`: an older copy, or an empty store when it is gone.

    Only while the agent is stopped.
    """
    accepted = _run("accept")
    if is_json:
        print_json(accepted)
    else:
        out().print(f"The store is accepted as it is, as generation {accepted['generation']}.")


def _run(*words: str) -> Any:
    """Run the agent's command and return its result. Raises the error that it reports."""
    command = [sys.executable, "-m", "services.agent.care", *filter(None, words)]
    answer: dict[str, Any] = {}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process, _progress() as show:
        assert process.stdout
        for line in process.stdout:
            answer = json.loads(line)
            if "progress" in answer:
                show(**answer["progress"])
    if "error" in answer:
        error = answer["error"]
        raise error_from_reason(error["reason"], error["message"], error["metadata"] | {"remedy": error["remedy"]})
    if "result" not in answer:
        raise InternalError(
            f"The care of the store ended with exit code {process.returncode}.",
            remedy=f"Run it by itself: {' '.join(command[1:])}",
        )
    return answer["result"]


@contextmanager
def _progress() -> Iterator[Any]:
    columns = TextColumn("{task.description}"), BarColumn(), TaskProgressColumn()
    with Progress(*columns, console=err(), transient=True, disable=not err().is_terminal) as progress:
        bar = progress.add_task("", total=None)

        def show(stage: str, done: int, total: int) -> None:
            progress.update(bar, description=stage, completed=done, total=total or None)

        yield show


def _table(backups: list[dict[str, Any]]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0))
    for column in ("backup", "age", "size", "runs", "unfinished", "generation"):
        table.add_column(column, justify="left" if column == "backup" else "right")
    for backup in backups:
        facts = backup["facts"]
        unfinished = str(len(facts["unfinished"]))
        size, age = _megabytes(backup["size_bytes"]), _age(backup["time_ns"])
        table.add_row(backup["name"], age, size, str(facts["runs"]), unfinished, str(facts["generation"]))
    return table


def _verdict(name: str, problems: list[str], damage: list[str]) -> Text:
    if problems:
        return Text.assemble((f"{name}  ", "bold"), (f"damaged: {problems[0]}", "bold red"))
    if damage:
        text = f"good; of what was backed up, this was damaged already: {', '.join(damage)}"
        return Text.assemble((f"{name}  ", "bold"), (text, "yellow"))
    return Text.assemble((f"{name}  ", "bold"), ("good", "green"))


def _print_lost(lost: list[dict[str, Any]]) -> None:
    if not lost:
        out().print("No run loses anything.")
        return
    out().print(f"{len(lost)} runs lose events:")
    for run in lost[:SHOWN_RUNS]:
        kept = f"up to event {run['kept_sequence']} are kept" if run["kept_sequence"] else "nothing is kept"
        out().print(f"  {run['run_id']}: {run['known_sequence']} events were there, {kept}", soft_wrap=True)
    if len(lost) > SHOWN_RUNS:
        note(f"and {len(lost) - SHOWN_RUNS} more; --json has them all")


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"


def _age(time_ns: int) -> str:
    seconds = max(0, time.time_ns() - time_ns) // 10**9
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length} {unit}"
    return f"{seconds} s"
