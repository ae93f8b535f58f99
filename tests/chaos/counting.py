"""The witness: a capability that counts each effect, in its ledger's transaction (`tally`) or outside (`outside`).

`tally` adds a row per effect to the service's own file, together with the outcome: once and only once. `outside`
appends a line to a file that knows no transaction and no key, as most of the world does: whether a broken attempt did
it cannot be known, so a repetition must be asked about.
"""

import os
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import apsw

from shared.call_context import CallContext
from shared.capability import Commit, Descriptor, Invocation, Result, TextDelta, serve
from shared.capability.outputs import Yield
from shared.storage.database import Schema

TALLY_SCHEMA = Schema("tally", ("CREATE TABLE tally (key TEXT, run_id TEXT, hop_index INTEGER);",))
OUTSIDE_FILE = "outside.txt"


@dataclass(frozen=True)
class Effect:
    """One effect, as the witness saw it."""

    key: str
    run_id: str
    hop_index: int


def answer_to(task: str) -> str:
    """What both services answer."""
    return f"Counted: {task}"


class Tally:
    """Counts in the transaction of the ledger."""

    descriptor = Descriptor(
        "tally", "Counts things inside.", ("count",), ("count inside, item one",), is_transactional=True
    )

    async def invoke(self, invocation: Invocation, call: CallContext) -> AsyncIterator[Yield]:
        """Count once."""

        def count(connection: apsw.Connection) -> Result:
            row = (invocation.idempotency_key, invocation.run_id, invocation.hop_index)
            connection.execute("INSERT INTO tally VALUES (?, ?, ?)", row)
            return Result(answer_to(invocation.task))

        yield TextDelta("Counted: ")
        yield TextDelta(invocation.task)
        yield Commit(count)


class Outside:
    """Counts where no transaction reaches."""

    descriptor = Descriptor("outside", "Counts things outside.", ("count",), ("count outside, item one",))

    def __init__(self, path: Path) -> None:
        self._path = path

    async def invoke(self, invocation: Invocation, call: CallContext) -> AsyncIterator[Yield]:
        """Count each time it is called."""
        yield TextDelta("Counted: ")
        with self._path.open("a") as file:
            file.write(f"{invocation.idempotency_key} {invocation.run_id} {invocation.hop_index}\n")
            file.flush()
            os.fsync(file.fileno())
        yield TextDelta(invocation.task)
        yield Result(answer_to(invocation.task))


def seen(home: Path) -> Iterator[Effect]:
    """Every effect that the witness has counted in the mesh at `home`."""
    outside, tally = home / OUTSIDE_FILE, home / "tally" / "ledger.db"
    if outside.exists():
        for line in outside.read_text().splitlines():
            key, run_id, hop_index = line.split()
            yield Effect(key, run_id, int(hop_index))
    if tally.exists():
        with closing(apsw.Connection(str(tally), flags=apsw.SQLITE_OPEN_READONLY)) as connection:
            for row in connection.execute("SELECT * FROM tally"):
                yield Effect(*row)


def main(name: str) -> None:
    """Serve one of the two."""
    if name == "tally":
        serve(Tally(), TALLY_SCHEMA)
    else:
        serve(Outside(Path(os.environ["WAYSTATION_HOME"]) / OUTSIDE_FILE))


if __name__ == "__main__":
    main(sys.argv[1])
