"""Runs the bench when it is named: `python -m services.coding.bench [review] [--data FILE] [--json]`."""

import argparse
import asyncio
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from services.coding.bench import review
from services.coding.bench.measure import Measure
from shared.errors import WaystationError

BENCHES = {"review": review.measure}
"""They take half an hour and the chat model, so none is run that is not named."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the named benches; print lines or, with --json, a list. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m services.coding.bench", description="Measure the coding roles.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(BENCHES)}; none is run by itself")
    parser.add_argument("--data", type=Path, help="other tasks: TOML with [[task]] tables of name, text and tests")
    parser.add_argument("--json", action="store_true", help="print JSON")
    chosen = parser.parse_args(arguments)
    unknown = [name for name in chosen.names if name not in BENCHES]
    if unknown:
        parser.error(f"there is no bench {unknown[0]!r}; known: {', '.join(BENCHES)}")
    try:
        rows = [row for name in chosen.names for row in asyncio.run(BENCHES[name](chosen.data))]
    except WaystationError as error:
        print(error, file=sys.stderr)
        return 1
    print(json.dumps([asdict(row) for row in rows], indent=2) if chosen.json else _lines(rows))
    return 0


def _lines(rows: Sequence[Measure]) -> str:
    return "\n".join(
        f"{row.name:32} {row.value:10.2f} {row.unit:8} n={row.n}"
        + (f"  {row.peer} {row.peer_value:.2f}" if row.peer_value is not None else "")
        for row in rows
    )


if __name__ == "__main__":
    sys.exit(main())
