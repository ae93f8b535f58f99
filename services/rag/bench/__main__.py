"""Runs benches by name: `python -m services.rag.bench [NAME…] [--data BEIR_FOLDER] [--json]`."""

import argparse
import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from services.rag.bench import retrieval, search
from services.rag.bench.measure import Measure
from shared.errors import WaystationError

BENCHES: dict[str, Callable[[Path | None], Awaitable[list[Measure]]]] = {
    "retrieval": retrieval.measure,
    "search": search.measure,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the named benches, or all; print lines or, with --json, a list. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m services.rag.bench", description="Measure the rag service.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(BENCHES)}; all when none is given")
    parser.add_argument("--data", type=Path, help="a BEIR folder: corpus.jsonl, queries.jsonl, qrels/test.tsv")
    parser.add_argument("--json", action="store_true", help="print JSON")
    chosen = parser.parse_args(arguments)
    unknown = [name for name in chosen.names if name not in BENCHES]
    if unknown:
        parser.error(f"there is no bench {unknown[0]!r}; known: {', '.join(BENCHES)}")
    try:
        rows = asyncio.run(_run(chosen.names or list(BENCHES), chosen.data))
    except WaystationError as error:
        print(error, file=sys.stderr)
        return 1
    print(json.dumps([asdict(row) for row in rows], indent=2) if chosen.json else _lines(rows))
    return 0


async def _run(names: Sequence[str], data: Path | None) -> list[Measure]:
    return [row for name in names for row in await BENCHES[name](data)]


def _lines(rows: Sequence[Measure]) -> str:
    return "\n".join(
        f"{row.name:42} {row.value:10.4f} {row.unit:8} n={row.n}"
        + (f"  {row.peer} {row.peer_value:.4f}" if row.peer_value is not None else "")
        for row in rows
    )


if __name__ == "__main__":
    sys.exit(main())
