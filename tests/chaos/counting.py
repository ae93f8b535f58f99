"""The witnesses: capabilities that count each effect, in the ledger's transaction (`tally`) or outside (`outside`).

`tally` adds a row per effect to the service's own file, together with the outcome: once and only once. `outside`
appends a line to a file that knows no transaction and no key, as most of the world does: whether a broken attempt did
it cannot be known, so a repetition must be asked about. `post` adds a row per message that it is given.
"""

import os
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import apsw

from shared.call_context import CallContext
from shared.capability import Commit, Descriptor, Invocation, OutgoingMessage, Result, TextDelta, serve
from shared.capability.outputs import Yield
from shared.storage.database import Schema

TALLY_SCHEMA = Schema("tally", ("CREATE TABLE tally (key TEXT, run_id TEXT, hop_index INTEGER);",))
POST_SCHEMA = Schema("post", ("CREATE TABLE letters (run_id TEXT, message_id TEXT);",))
OUTSIDE_FILE = "outside.txt"
LETTERS = "write letters"
"""A task of `tally` that begins so has it write to `post`."""
LETTERS_OF_A_HOP = 2
POSTED = "All letters are posted."


@dataclass(frozen=True)
class Effect:
    """One effect, as the witness saw it."""

    key: str
    run_id: str
    hop_index: int


@dataclass(frozen=True)
class Letter:
    """One application of a message, as the witness saw it."""

    run_id: str
    message_id: str


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
        if invocation.task.startswith(LETTERS):
            for number in range(LETTERS_OF_A_HOP):
                yield OutgoingMessage("post", {"number": number})
        yield Commit(count)


class Post:
    """Keeps the messages that it is given, in the transaction of the ledger."""

    descriptor = Descriptor("post", "Posts letters.", ("post",), ("post letters, item one",), is_transactional=True)

    async def invoke(self, invocation: Invocation, call: CallContext) -> AsyncIterator[Yield]:
        """Keep each message."""

        def keep(connection: apsw.Connection) -> Result:
            rows = [(invocation.run_id, message.message_id) for message in invocation.inbox]
            connection.executemany("INSERT INTO letters VALUES (?, ?)", rows)
            return Result(f"Posted {len(rows)}.")

        yield Commit(keep)


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


def posted(home: Path) -> Iterator[Letter]:
    """Every message that the witness has kept in the mesh at `home`."""
    post = home / "post" / "ledger.db"
    if post.exists():
        with closing(apsw.Connection(str(post), flags=apsw.SQLITE_OPEN_READONLY)) as connection:
            for row in connection.execute("SELECT * FROM letters"):
                yield Letter(*row)


def main(name: str) -> None:
    """Serve one of the three."""
    if name == "tally":
        serve(Tally(), TALLY_SCHEMA)
    elif name == "post":
        serve(Post(), POST_SCHEMA)
    else:
        serve(Outside(Path(os.environ["WAYSTATION_HOME"]) / OUTSIDE_FILE))


if __name__ == "__main__":
    main(sys.argv[1])
