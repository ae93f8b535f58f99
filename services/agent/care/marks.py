"""How far agent.db is known to have been: a number in it that only grows, and a copy of that number beside it.

The number is committed first and copied after that. So a file that is behind the copy is an older one that was put
back, or lost the end of its log, which SQLite does not notice.
"""

import json
import logging
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import apsw

from services.agent.care.contents import unfinished_sequences
from services.agent.checkpoint.ownership import generation
from shared.storage.database import Schema
from shared.storage.durable_file import write_durably

logger = logging.getLogger(__name__)

SCHEMA = Schema("care", ("CREATE TABLE marks (mark INTEGER NOT NULL); INSERT INTO marks VALUES (0);",))


@dataclass(frozen=True, order=True)
class Mark:
    """A moment in the life of a store; later ones compare greater."""

    generation: int
    number: int
    time_ns: int = field(compare=False, default=0)
    """Unix time in nanoseconds."""
    unfinished: dict[str, int] = field(compare=False, default_factory=dict)
    """The newest event of each run that had not ended, by run id."""


class MarkFile:
    """The copy beside the store."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> Mark | None:
        """The newest mark that was copied; None when there is none."""
        try:
            row = json.loads(self._path.read_bytes())
            return Mark(int(row["generation"]), int(row["number"]), int(row["time_ns"]), dict(row["unfinished"]))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            logger.warning(
                "%s cannot be read, so an older copy of the store would not be noticed: %s", self._path, error
            )
            return None

    def write(self, mark: Mark) -> None:
        """Copy a mark that is committed. Raises `OSError`."""
        write_durably(self._path, json.dumps(asdict(mark)).encode())


def mark_of(connection: apsw.Connection) -> Mark:
    """The mark that the store has."""
    number: Any = connection.execute("SELECT mark FROM marks").get
    return Mark(generation(connection), int(number), time.time_ns(), unfinished_sequences(connection))


def stored_mark(connection: apsw.Connection) -> Mark:
    """As `mark_of`, for a file that may be older than marks are."""
    return mark_of(connection) if connection.table_exists("main", "marks") else Mark(0, 0)


def advance(connection: apsw.Connection) -> Mark:
    """Make a later mark; it counts once it is committed."""
    connection.execute("UPDATE marks SET mark = mark + 1")
    return mark_of(connection)
