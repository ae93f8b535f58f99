"""`python -m tests.chaos`: kills processes at every boundary and fails when anything was lost or done twice."""

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from tests.chaos.matrix import TARGETS, Attack, Cell, Outcome, plan
from tests.chaos.processes import running_mesh
from tests.chaos.report import show, to_json

KILLS = 500


def arguments() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument(
        "--kills", type=int, default=KILLS, help="how many kills in all, at least (default %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=1, help="of everything random (default %(default)s)")
    parser.add_argument("--meshes", type=int, default=2, help="how many at once (default %(default)s)")
    names = [target.process for target in TARGETS]
    parser.add_argument("--process", action="append", choices=names, default=[], help="only this one; may be repeated")
    parser.add_argument("--boundary", action="append", default=[], help="only this one; may be repeated")
    parser.add_argument("--home", type=Path, help="a folder for stores and logs, kept afterwards")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    return parser.parse_args()


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
                    progress.update(bar, description=f"{cell.target.process}: {cell.boundary}")
                    outcomes[cell] = await Attack(mesh, cell, seed, lambda: progress.advance(bar)).run()
                    if not outcomes[cell].is_clean:
                        progress.console.print(f"[red]{cell.target.process}, {cell.boundary}: not clean[/]")

        async with asyncio.TaskGroup() as tasks:
            for number in range(min(meshes, len(cells))):
                tasks.create_task(work(number))
    return [outcomes[cell] for cell in cells]


def main() -> int:
    """Run the matrix; 1 when it is not clean."""
    wanted = arguments()
    cells = [
        cell for cell in plan(wanted.kills, wanted.process) if not wanted.boundary or cell.boundary in wanted.boundary
    ]
    console = Console(stderr=True)
    with tempfile.TemporaryDirectory(prefix="waystation-chaos-") as scratch:
        outcomes = asyncio.run(attack(cells, wanted.home or Path(scratch), wanted.seed, wanted.meshes, console))
    if wanted.json:
        print(to_json(outcomes))
    else:
        show(outcomes, Console())
    return 0 if outcomes and all(outcome.is_clean for outcome in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
