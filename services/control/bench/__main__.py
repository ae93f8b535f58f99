"""Runs the bench: `python -m services.control.bench [--json]`."""

import argparse
import asyncio
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict

import uvloop

from services.control.bench import spans


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure; print lines or, with --json, a list. Return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m services.control.bench", description="Measure the control plane.")
    parser.add_argument("names", nargs="*", metavar="spans", help="the one measurement there is")
    parser.add_argument("--json", action="store_true", help="print JSON")
    chosen = parser.parse_args(arguments)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        found = runner.run(spans.measure())
    if chosen.json:
        print(json.dumps([asdict(one) for one in found], indent=2))
    else:
        print("\n".join(f"{one.name:32} {one.value:12.2f} {one.unit:8} n={one.n}" for one in found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
