"""`waystation ingest`: takes files and folders into the retrieval index."""

import asyncio
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from services.cli.mesh import connect
from services.cli.output import JsonOption, err, out, print_json
from services.cli.upload import Outcome, Upload
from services.cli.walk import FoundFile, PassedOver, find_files
from shared.pb import rag_v1

STATES = ("added", "replaced", "unchanged", "skipped")
STYLES = {"added": "green", "replaced": "green", "unchanged": "dim", "skipped": "yellow"}
LONGEST_LIST = 30

app = typer.Typer()


@app.command()
def ingest(
    paths: Annotated[list[Path], typer.Argument(help="Files and folders.")],
    collection: Annotated[str, typer.Option(help="The collection; empty means the default one.")] = "",
    max_mb: Annotated[float, typer.Option(min=0.001, help="Larger files are skipped.")] = 32,
    is_json: JsonOption = False,
) -> None:
    """Take files and folders into the retrieval index; what is there already is not sent again."""
    files = list(find_files(paths, int(max_mb * 1_000_000)))
    outcomes = asyncio.run(_ingest(files, collection))
    counts = Counter(outcome.state for outcome in outcomes)
    summary = {state: counts[state] for state in STATES}
    if is_json:
        print_json({"documents": [asdict(outcome) for outcome in outcomes], "summary": summary})
    else:
        _print_outcomes(outcomes, summary)
    if outcomes and counts["skipped"] == len(outcomes):
        raise typer.Exit(1)


async def _ingest(files: list[FoundFile | PassedOver], collection: str) -> list[Outcome]:
    outcomes: list[Outcome] = []
    console = err()
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        bar = progress.add_task("", total=len(files))

        def note_outcome(outcome: Outcome) -> None:
            outcomes.append(outcome)
            progress.update(bar, advance=1, description=outcome.source[-60:])

        async with connect("rag") as channel:
            await Upload(rag_v1.RagServiceStub(channel), collection, note_outcome).run(files)
    return outcomes


def _print_outcomes(outcomes: list[Outcome], summary: dict[str, int]) -> None:
    telling = [outcome for outcome in outcomes if outcome.state != "unchanged"]
    if len(telling) > LONGEST_LIST:
        telling = [outcome for outcome in telling if outcome.state == "skipped"]
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for outcome in telling[:LONGEST_LIST]:
        state = Text(outcome.state, style=STYLES.get(outcome.state, ""))
        chunks = f"{outcome.chunk_count} chunks" if outcome.chunk_count else ""
        table.add_row(state, Text(outcome.source), chunks, Text(outcome.message, style="dim"))
    console = out()
    if telling:
        console.print(table)
    if len(telling) > LONGEST_LIST:
        console.print(f"… and {len(telling) - LONGEST_LIST} more (--json lists all)", style="dim")
    console.print(", ".join(f"{count} {state}" for state, count in summary.items()), style="bold")
