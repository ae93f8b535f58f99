"""`waystation threads`: conversations, and what of them the next run will be told."""

import asyncio
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from services.cli.mesh import connect
from services.cli.output import JsonOption, as_dict, note, out, print_json
from services.cli.run_session import CALL_TIMEOUT_S
from shared.pb import agent_v1

SHOWN_CHARS = 120
STYLES = {"kept": "green", "summarized": "yellow", "dropped": "dim"}

app = typer.Typer(no_args_is_help=True)


@app.callback()
def threads() -> None:
    """Look at conversations."""


@app.command()
def show(thread_id: Annotated[str, typer.Argument(help="The thread's id.")], is_json: JsonOption = False) -> None:
    """Show a conversation turn by turn, with what the next run will be told of each."""
    thread = asyncio.run(_get(thread_id))
    if is_json:
        print_json(as_dict(thread))
        return
    note(f"{thread.thread_id}: {len(thread.turns)} turns; a run is told about {thread.context_budget_tokens} tokens.")
    if thread.turns:
        out().print(_table(thread))


async def _get(thread_id: str) -> agent_v1.Thread:
    async with connect("agent") as channel:
        stub = agent_v1.AgentServiceStub(channel)
        request = agent_v1.GetThreadRequest(thread_id=thread_id)
        return (await stub.GetThread(request, timeout=CALL_TIMEOUT_S)).thread


def _table(thread: agent_v1.Thread) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0))
    for title in ("treatment", "run", "question", "answer, or what stands for it"):
        table.add_column(title, overflow="fold")
    for turn in thread.turns:
        treatment = agent_v1.Thread.Treatment.Name(turn.treatment).removeprefix("TREATMENT_").lower()
        table.add_row(
            Text(treatment, style=STYLES.get(treatment, "")),
            turn.run_id,
            Text(_line(turn.query)),
            Text(_line(turn.summary or turn.answer)),
        )
    return table


def _line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= SHOWN_CHARS else line[: SHOWN_CHARS - 1] + "…"
