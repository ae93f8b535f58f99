"""Witnesses as processes: `python -m tests.fakes.counter_service KIND LINES` counts its calls.

KIND is `transactional` (effect and outcome in one transaction), `external` (the effect is a line in the file LINES, of
which the ledger knows nothing) or `idempotent` (the same, declared harmless).
"""

import sys
from collections.abc import AsyncIterator
from pathlib import Path

import apsw

from shared.call_context import CallContext
from shared.capability import Commit, Descriptor, Invocation, Result, TextDelta, Yield, serve
from shared.storage.database import Schema

COUNTER = Schema("counter", ("CREATE TABLE counts (task TEXT)",))


class Counter:
    """Counts, and answers with how often it did."""

    def __init__(self, kind: str, lines: Path) -> None:
        self.descriptor = Descriptor(
            "counter",
            "Counts.",
            ("count",),
            ("count this",),
            is_idempotent=kind == "idempotent",
            is_transactional=kind == "transactional",
        )
        self._lines = lines

    async def invoke(self, invocation: Invocation, call: CallContext) -> AsyncIterator[Yield]:
        """Yield a piece of text, do the effect, and end."""
        yield TextDelta("counting")
        if self.descriptor.is_transactional:
            yield Commit(lambda connection: Result(str(add_row(connection, invocation.task))))
        else:
            yield Result(str(add_line(self._lines, invocation.task)))


def add_row(connection: apsw.Connection, task: str) -> object:
    """The effect in the service's own file."""
    connection.execute("INSERT INTO counts VALUES (?)", (task,))
    return connection.execute("SELECT count(*) FROM counts").get


def add_line(lines: Path, task: str) -> int:
    """The effect outside."""
    with lines.open("a", encoding="utf-8") as file:
        file.write(task + "\n")
    return len(lines.read_text(encoding="utf-8").splitlines())


if __name__ == "__main__":
    serve(Counter(sys.argv[1], Path(sys.argv[2])), COUNTER)
