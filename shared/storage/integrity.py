"""Is this file ours, whole, and what it should be? Looks without changing anything, not even the log beside it."""

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import apsw

from shared.errors import StorageCorrupt
from shared.storage.database import APPLICATION_ID, BUSY_TIMEOUT_MS, storage_error

MAGIC = b"SQLite format 3\0"
HEADER_BYTES = 100
MAX_PROBLEMS = 20
_NO_PROBLEMS = ("ok", "*** in database main ***")
_STEPS_BETWEEN_CHECKS = 1_000


@dataclass(frozen=True)
class Damage:
    """One thing whose content is not what was written."""

    kind: str
    """What the id names: `run` or `thread`."""
    id: str
    text: str


ContentCheck = Callable[[apsw.Connection], Iterator[Damage]]
"""Reads rows and yields those that contradict their digests or each other."""


@dataclass(frozen=True)
class Verdict:
    """What a check found."""

    problems: tuple[str, ...]
    is_finished: bool
    """False when the time was up before everything was looked at."""

    @property
    def is_good(self) -> bool:
        """Whether nothing was found."""
        return not self.problems


def check_file(path: Path, *, is_full: bool, timeout_s: float = 1e9, is_single: bool = False) -> Verdict:
    """Check the structure of a database that exists; `is_full` compares indexes with tables as well.

    `is_single` is for a file without a log that nobody writes. Raises `StorageUnavailable` when it cannot be read, and
    `StorageCorrupt` when it belongs to another program.
    """
    until = time.monotonic() + timeout_s
    is_late = False

    def stop_when_late() -> bool:
        nonlocal is_late
        is_late = time.monotonic() > until
        return is_late

    try:
        with closing(open_to_look(path, is_single=is_single)) as connection:
            connection.set_progress_handler(stop_when_late, _STEPS_BETWEEN_CHECKS)
            _refuse_foreign(connection, path)
            if connection.pragma("application_id") != APPLICATION_ID:
                return Verdict(("the header lost its mark",), True)
            pragma = "integrity_check" if is_full else "quick_check"
            rows = [str(row[0]) for row in connection.execute(f"PRAGMA {pragma}({MAX_PROBLEMS})")]
    except apsw.InterruptError:
        return Verdict((), False)
    except apsw.Error as error:
        explained = storage_error(error, path)
        if not isinstance(explained, StorageCorrupt):
            raise explained from error
        return Verdict((f"{type(error).__name__.removesuffix('Error')}: {error}",), not is_late)
    problems = tuple(line for row in rows for line in row.splitlines() if line not in _NO_PROBLEMS)
    return Verdict(problems[:MAX_PROBLEMS], True)


def open_to_look(path: Path, *, is_single: bool = False) -> apsw.Connection:
    """A connection that leaves file and log as they are when it is closed. Raises apsw's errors.

    A log is read, and needs its index rebuilt after a crash, so only a single file is opened read-only.
    """
    if is_single:
        uri = f"{path.absolute().as_uri()}?mode=ro&immutable=1"
        return apsw.Connection(uri, flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI)
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
    connection.set_busy_timeout(BUSY_TIMEOUT_MS)
    connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
    return connection


def content_problems(path: Path, checks: tuple[ContentCheck, ...], *, is_single: bool = False) -> list[Damage]:
    """Run the checks. Raises `StorageCorrupt` when rows cannot be read at all."""
    try:
        with closing(open_to_look(path, is_single=is_single)) as connection:
            return [damage for check in checks for damage in check(connection)]
    except apsw.Error as error:
        raise storage_error(error, path) from error


def header_problem(path: Path) -> str:
    """What is wrong with the first bytes of a database file; empty when nothing is.

    Reads the file itself: only for a file that this process has not open.
    """
    size = path.stat().st_size
    if size == 0:
        return "the file is empty"
    with path.open("rb") as file:
        header = file.read(HEADER_BYTES)
    if len(header) < HEADER_BYTES or not header.startswith(MAGIC):
        return "the file does not begin like a database"
    page_size = int.from_bytes(header[16:18], "big")
    if page_size != 1 and (page_size < 512 or page_size & (page_size - 1)):
        return f"the header names pages of {page_size} bytes"
    if header[18] not in (1, 2) or header[19] not in (1, 2):
        return f"the header names format {header[18]}/{header[19]}"
    return ""


def _refuse_foreign(connection: apsw.Connection, path: Path) -> None:
    tables = {str(name) for (name,) in connection.execute("SELECT name FROM sqlite_schema")}
    if tables and connection.pragma("application_id") != APPLICATION_ID and "schemas" not in tables:
        raise StorageCorrupt(
            f"{path} is a database of another program.",
            remedy="Move it away, or set WAYSTATION_HOME to another folder.",
            path=path,
            is_foreign=True,
        )
