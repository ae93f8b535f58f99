"""Makes a file that can be used out of what is left of a damaged agent.db."""

import logging
from collections import Counter
from collections.abc import Collection, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import apsw

from services.agent.care import contents
from shared.errors import WaystationError
from shared.storage.backup import Backup
from shared.storage.database import Schema
from shared.storage.integrity import ContentCheck, check_file, open_to_look
from shared.storage.replacement import SIDE_FILES
from shared.storage.salvage import copy_damaged, salvage

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Candidate:
    """A file that could take the place of a damaged one."""

    path: Path
    source: str
    """`salvage`, or the name of a backup."""
    kept: Mapping[str, int]
    """The newest event of each run in it, by run id."""
    known: Mapping[str, int]
    """The newest event of each run of which there was a trace."""
    lost_checkpoints: Mapping[str, int] = field(default_factory=dict)
    """How many checkpoints are known to be gone, by thread id: such a thread may be back at an earlier one."""
    damaged: Collection[str] = ()
    """Ended runs of which some events cannot be read."""
    deleted: Collection[str] = ()
    """Runs that it lacks because they were deleted."""


def salvage_candidate(
    path: Path, schemas: tuple[Schema, ...], checks: tuple[ContentCheck, ...], backup: Backup | None
) -> Candidate | None:
    """Take over what can be read; None when that is no run at all.

    Ended runs that are damaged or gone come from `backup`, if it has them. Raises `OSError` and
    `StorageUnavailable`.
    """
    damaged, target = path.with_name(f"{path.name}.damaged"), path.with_name(f"{path.name}.salvaged")
    for leftover in (damaged, target):
        remove_database(leftover)
    copy_damaged(path, damaged)
    found = salvage(damaged, target, schemas)
    remove_database(damaged)
    logger.warning("salvaged %s of %s, skipped %d", found.rows, path.name, found.skipped)
    cleaned = _clean(target, checks, backup)
    lost = Counter(str(row.known["thread_id"]) for row in found.missing if row.table == "thread_checkpoints")
    if not cleaned.known or not check_file(target, is_full=True).is_good:
        return None
    with closing(open_to_look(target)) as connection:
        if not (kept := contents.newest_sequences(connection)):
            return None
        deleted = contents.deleted_runs(connection)
        # a run of which only an index knows had no events that could be read
        named = {str(row.known["run_id"]): 0 for row in found.missing if row.known.get("run_id")}
        return Candidate(target, "salvage", kept, named | cleaned.known, lost, cleaned.damaged, deleted)


def remove_database(path: Path) -> None:
    """Delete a file that a repair made, with its log."""
    for suffix in ("", *SIDE_FILES):
        Path(f"{path}{suffix}").unlink(missing_ok=True)


@dataclass(frozen=True)
class _Cleaned:
    known: dict[str, int]
    """How far runs were, those that had to go included."""
    damaged: list[str]
    """Ended runs that stay although some of their events cannot be read."""


def _clean(target: Path, checks: tuple[ContentCheck, ...], backup: Backup | None) -> _Cleaned:
    """Put ended runs that are damaged or gone right from the backup; take out what is damaged and no use."""
    with closing(apsw.Connection(str(target))) as connection:
        known = contents.seen_sequences(connection)
        try:
            damage = [item for check in checks for item in check(connection)]
        except (apsw.Error, WaystationError) as error:
            logger.warning("what was salvaged cannot be checked: %s", error)
            return _Cleaned({}, [])
        for item in damage:
            logger.warning("salvaged %s %s: %s", item.kind, item.id, item.text)
        damaged = {item.id for item in damage if item.kind == "run"}
        with connection:
            damaged -= _complete(connection, damaged, backup)
            kept = {run_id for run_id in damaged if contents.is_worth_keeping(connection, run_id)}
            contents.drop_runs(connection, damaged - kept)
        return _Cleaned(known, sorted(kept))


def _complete(connection: apsw.Connection, damaged: set[str], backup: Backup | None) -> set[str]:
    """Bring ended runs that are damaged or gone from the backup; return their ids."""
    if backup is None:
        return set()
    whole = contents.newest_sequences(connection).keys() - damaged | contents.deleted_runs(connection)
    with closing(open_to_look(backup.path, is_single=True)) as source:
        brought = contents.finished_runs(source) - whole
        contents.drop_runs(connection, brought)
        for run_id in sorted(brought):
            for table in ("runs", "events"):
                _take_over(source, connection, table, run_id)
    return brought


def _take_over(source: apsw.Connection, connection: apsw.Connection, table: str, run_id: str) -> None:
    columns = [str(name) for (name,) in source.execute("SELECT name FROM pragma_table_info(?)", (table,))]
    rows: list[Any] = source.execute(f"SELECT * FROM {table} WHERE run_id = ?", (run_id,)).fetchall()
    marks = ", ".join("?" * len(columns))
    connection.executemany(f"INSERT OR IGNORE INTO {table} ({', '.join(columns)}) VALUES ({marks})", rows)
