"""Does many cells of the matrix, on one mesh or on several at once."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from tests.chaos.matrix import Attack, Cell, Outcome
from tests.chaos.processes import running_mesh


async def attack(cells: Sequence[Cell], home: Path, seed: int, meshes: int, console: Console) -> list[Outcome]:
    """Do all cells on several meshes at once; returns the outcomes in the order of the cells."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    outcomes: dict[Cell, Outcome] = {}
    waiting = list(reversed(cells))
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task("starting", total=sum(cell.kills for cell in cells))

        async def work(number: int) -> None:
            async with running_mesh(home / str(number)) as mesh:
                while waiting:
                    cell = waiting.pop()
                    progress.update(bar, description=f"{cell.target.process}: {cell.name}")
                    outcomes[cell] = await Attack(mesh, cell, seed, lambda: progress.advance(bar)).run()
                    if not outcomes[cell].is_clean:
                        progress.console.print(f"[red]{cell.target.process}, {cell.name}: not clean[/]")

        async with asyncio.TaskGroup() as tasks:
            for number in range(min(meshes, len(cells))):
                tasks.create_task(work(number))
    return [outcomes[cell] for cell in cells]
