"""Runs benches by name: `python -m services.agent.bench [NAME…] [--data FILE] [--json]`."""

import argparse
import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from services.agent.bench import arbitrator, mesh, registry, router, saver, store, tracing
from services.agent.bench.measure import Measure
from shared.errors import WaystationError

Bench = Callable[[Path | None], Awaitable[list[Measure]]]


async def _mesh(data: Path | None) -> list[Measure]:
    return await mesh.measure()


async def _registry(data: Path | None) -> list[Measure]:
    return await registry.measure()


async def _saver(data: Path | None) -> list[Measure]:
    return await saver.measure()


async def _store(data: Path | None) -> list[Measure]:
    return await store.measure()


async def _tracing(data: Path | None) -> list[Measure]:
    return await tracing.measure()


BENCHES: dict[str, Bench] = {
    "arbitrator": arbitrator.measure,
    "mesh": _mesh,
    "registry": _registry,
    "router": router.measure,
    "saver": _saver,
    "store": _store,
    "tracing": _tracing,
}


NEED_A_MESH = ("arbitrator",)
"""Those that are run only when they are named."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the named benches, or all; print a table or, with --json, a list. Return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m services.agent.bench", description="Measure the agent.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(BENCHES)}; all when none is given")
    parser.add_argument("--data", type=Path, help="labelled queries: JSONL with query and label a line")
    parser.add_argument("--json", action="store_true", help="print JSON")
    chosen = parser.parse_args(arguments)
    unknown = [name for name in chosen.names if name not in BENCHES]
    if unknown:
        parser.error(f"there is no bench {unknown[0]!r}; known: {', '.join(BENCHES)}")
    try:
        names = chosen.names or [name for name in BENCHES if name not in NEED_A_MESH]
        found = [one for name in names for one in asyncio.run(_run(name, chosen.data))]
    except WaystationError as error:
        print(error, file=sys.stderr)
        return 1
    print(json.dumps([asdict(one) for one in found], indent=2) if chosen.json else table(found))
    return 0


def table(measures: Sequence[Measure]) -> str:
    """Lay measures out as lines of aligned columns."""
    lines = []
    for one in measures:
        peer = f"  {one.peer} {one.peer_value:.3f}" if one.peer_value is not None else ""
        lines.append(f"{one.name:48} {one.value:10.3f} {one.unit:6} n={one.n}{peer}")
    return "\n".join(lines)


async def _run(name: str, data: Path | None) -> list[Measure]:
    return await BENCHES[name](data)


if __name__ == "__main__":
    sys.exit(main())
