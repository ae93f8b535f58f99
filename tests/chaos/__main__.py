"""`python -m tests.chaos`: kills processes at every boundary and fails when anything was lost or done twice."""

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

from rich.console import Console

from tests.chaos.campaign import attack
from tests.chaos.matrix import TARGETS, plan
from tests.chaos.report import show, to_json

KILLS = 500


def arguments() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument(
        "--kills", type=int, default=KILLS, help="how many kills in all, at least (default %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=1, help="of everything random (default %(default)s)")
    parser.add_argument("--meshes", type=int, default=1, help="how many at once (default %(default)s)")
    names = [target.process for target in TARGETS]
    parser.add_argument("--process", action="append", choices=names, default=[], help="only this one; may be repeated")
    parser.add_argument("--boundary", action="append", default=[], help="only this one; may be repeated")
    parser.add_argument("--home", type=Path, help="a folder for stores and logs, kept afterwards")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    return parser.parse_args()


def main() -> int:
    """Run the matrix; 1 when it is not clean."""
    wanted = arguments()
    cells = [
        cell
        for cell in plan(wanted.kills, wanted.process)
        if not wanted.boundary or set(cell.boundaries) & set(wanted.boundary)
    ]
    console = Console(stderr=True)
    with tempfile.TemporaryDirectory(prefix="waystation-chaos-") as scratch:
        outcomes = asyncio.run(attack(cells, wanted.home or Path(scratch), wanted.seed, wanted.meshes, console))
    if wanted.json:
        print(to_json(outcomes))
    else:
        # piped, rich takes 80 columns for given, and cuts the figures
        show(outcomes, Console(width=None if sys.stdout.isatty() else 170))
    return 0 if outcomes and all(outcome.is_clean for outcome in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
