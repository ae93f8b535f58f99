"""Opens agent.db only when it is whole, and puts it right when it is not. Whoever uses this holds the folder's lock."""

import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import apsw

from services.agent.care import contents, marks
from services.agent.care.contents import LostRun
from services.agent.care.marks import Mark, MarkFile
from services.agent.care.salvaging import Candidate, remove_database, salvage_candidate
from services.agent.checkpoint.ownership import generation, raise_generation
from shared.errors import CommitsMissing, NotFound, StorageCorrupt, WaystationError
from shared.storage.backup import Backup, BackupFolder, Progress, copy_backup, say_nothing
from shared.storage.database import Database, Schema, storage_error
from shared.storage.integrity import MAGIC, ContentCheck, check_file, header_problem, open_to_look
from shared.storage.journal import Journal
from shared.storage.replacement import finish_replacement, replace_database

logger = logging.getLogger(__name__)

FULL_CHECK_BYTES = 128_000_000
"""Up to this size a start compares the indexes with their tables as well."""
CHECK_TIMEOUT_S = 5.0
FOREIGN_BYTES = 65_536


@dataclass(frozen=True)
class Repair:
    """What was put in the place of agent.db."""

    source: str
    """`salvage`, or the name of a backup."""
    aside: Path
    """Where the file that was there is kept."""
    generation: int
    lost: list[LostRun]
    lost_checkpoints: dict[str, int]
    """Checkpoints that are known to be gone, by thread id."""
    damaged: list[str]
    """Ended runs that are kept although some of their events cannot be read."""

    @property
    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        lost = [run.as_dict for run in self.lost]
        row = {"source": self.source, "aside": str(self.aside), "generation": self.generation, "lost": lost}
        return row | {"lost_checkpoints": self.lost_checkpoints, "damaged": self.damaged}


class StoreCare:
    """One agent.db, its backups (`backups/`), their journal, and the mark beside it."""

    def __init__(
        self, path: Path, schemas: tuple[Schema, ...], checks: tuple[ContentCheck, ...] = (), keep: int = 24
    ) -> None:
        self.path = path
        self._schemas = (*schemas, marks.SCHEMA)
        self._checks = (contents.check_runs, *checks)
        self.backups = BackupFolder(path.parent / "backups", path.stem, keep, self._checks)
        self.journal = Journal(self.backups.folder / "journal.jsonl")
        self._mark_file = MarkFile(path.with_name(f"{path.name}.mark.json"))

    def open(self) -> Database:
        """Check the file, repair it when it is damaged, and open it.

        Raises `StorageCorrupt` (foreign, or damaged beyond repair: it stays where it is), `CommitsMissing` (the file is
        older than the agent knows it to have been) and `StorageUnavailable`.
        """
        try:
            finish_replacement(self.path)
            self._check_present()
            if problems := self._problems():
                self._repair(problems)
            self._check_mark()
            database = Database(self.path, *self._schemas)
            database.open()
        except OSError as error:
            raise storage_error(error, self.path) from error
        try:
            self._mark_file.write(database.submit(marks.advance).result())
        except BaseException:
            database.close()
            raise
        return database

    def create_backup(self, progress: Progress = say_nothing) -> Backup:
        """Back the file up, whoever writes it. Raises as `BackupFolder.create` does."""
        try:
            backup = self.backups.create(self.path, contents.describe, progress)
        except WaystationError as error:
            self._note("backup_failed", error.message)
            raise
        if backup.damage:
            logger.error("%s has damaged values: %s", self.path, "; ".join(backup.damage))
            message = f"Backup {backup.name} was made; {len(backup.damage)} values in {self.path.name} are damaged."
            self._note("damaged_values", message, damage=backup.damage)
        else:
            self._note("backup", f"Backup {backup.name} was made.", size_bytes=backup.size_bytes)
        return backup

    def is_backed_up(self) -> bool:
        """Whether the newest backup describes its content as the file does now."""
        newest = next(iter(self.backups.backups()), None)
        if newest is None or not self.path.exists():
            return False
        with _errors_of(self.path), closing(open_to_look(self.path)) as connection:
            return contents.describe(connection) == newest.facts

    def copy_mark(self, mark: Mark) -> None:
        """Copy a committed mark beside the file. Raises `OSError`."""
        self._mark_file.write(mark)

    def restore(self, name: str, progress: Progress = say_nothing) -> Repair:
        """Put a backup (the newest for an empty name) in the place of the file, which is kept.

        Raises `NotFound`, `StorageCorrupt` when the backup is not good, `StorageUnavailable` when there is no room.
        """
        backup = self.backups.find(name)
        if problems := self.backups.problems(backup, progress):
            raise StorageCorrupt(
                f"Backup {backup.name} is damaged: {problems[0]}.",
                remedy="Choose another one: `waystation backup verify` says which are good.",
                name=backup.name,
            )
        with _errors_of(self.path):
            finish_replacement(self.path)
            return self._put_in_place(self._backup_candidate(backup, progress), "replaced", self._known())

    def accept(self) -> int:
        """Go on with the file as it is, or with a new one when there is none, as a new generation; return that.

        Raises `StorageCorrupt` when the file is damaged, and `NotFound` when there never was one.
        """
        with _errors_of(self.path):
            finish_replacement(self.path)
            if not self.path.exists() and not self._mark_file.read():
                raise NotFound(f"There is no {self.path}.", remedy="The agent makes it when it is started first.")
            if problems := self._problems():
                raise StorageCorrupt(
                    f"{self.path} is damaged: {problems[0]}.",
                    remedy="Start the agent, which salvages it, or `waystation backup restore`.",
                    path=self.path,
                )
            mark = self._begin_generation(self.path)
            self._mark_file.write(mark)
        self._note("accepted", f"{self.path.name} was accepted as generation {mark.generation}.")
        return mark.generation

    def _check_present(self) -> None:
        known = self._mark_file.read()
        if known and not self.path.exists():
            raise CommitsMissing(
                f"{self.path} is gone; it was there on {_day(known.time_ns)}.",
                remedy="`waystation backup restore` puts the newest backup back; "
                "`waystation backup accept` begins with an empty store.",
                path=self.path,
            )

    def _problems(self) -> tuple[str, ...]:
        if not self.path.exists():
            return ()
        if problem := header_problem(self.path):
            is_new = self.path.stat().st_size == 0 and not self._mark_file.read()
            return () if is_new else (problem,)
        is_small = self.path.stat().st_size <= FULL_CHECK_BYTES
        try:
            verdict = check_file(self.path, is_full=is_small, timeout_s=CHECK_TIMEOUT_S)
        except StorageCorrupt as error:
            if "is_foreign" not in error.metadata or self._mark_file.read():
                raise
            return ()  # for `Database` to refuse, or to adopt
        if not verdict.is_finished:
            logger.warning("%s is too large to be checked within %s s", self.path, CHECK_TIMEOUT_S)
        return verdict.problems or self._damaged_unfinished()

    def _damaged_unfinished(self) -> tuple[str, ...]:
        """What is damaged of the runs that are to go on; that of ended ones is told when it is read or backed up."""
        with _errors_of(self.path), closing(open_to_look(self.path)) as connection:
            if not connection.table_exists("main", "runs"):
                return ()
            return tuple(f"run {damage.id}: {damage.text}" for damage in contents.check_unfinished(connection))

    def _check_mark(self) -> None:
        known = self._mark_file.read()
        if known is None:
            return
        with _errors_of(self.path), closing(open_to_look(self.path)) as connection:
            stored = marks.stored_mark(connection)
        if stored >= known:
            return
        lost = contents.lost_runs([known.unfinished], stored.unfinished)
        self._note("refused", f"{self.path.name} is older than it was.", lost=[run.as_dict for run in lost])
        raise CommitsMissing(
            f"{self.path} is older than on {_day(known.time_ns)}: an older copy was put back, or its log was cut.",
            remedy="`waystation backup restore` puts the newest backup back; "
            "`waystation backup accept` goes on with this file.",
            path=self.path,
            known_mark=f"{known.generation}.{known.number}",
            stored_mark=f"{stored.generation}.{stored.number}",
        )

    def _repair(self, problems: tuple[str, ...]) -> None:
        logger.error("%s is damaged: %s", self.path, "; ".join(problems))
        self._note("corrupt", f"{self.path.name} is damaged: {problems[0]}.", problems=list(problems))
        backup = self.backups.newest_good()
        salvaged = salvage_candidate(self.path, self._schemas, self._checks, backup)
        if salvaged is None and self._is_foreign():
            raise StorageCorrupt(
                f"{self.path} is not a database of Waystation.",
                remedy="Move it away, then `waystation backup restore`; or set WAYSTATION_HOME to another folder.",
                path=self.path,
            )
        restored = self._backup_candidate(backup, say_nothing) if backup else None
        known = [candidate.known for candidate in (salvaged, restored) if candidate] + self._known()
        chosen = _better(salvaged, restored, known)
        if chosen is None:
            self._note("refused", "Nothing could be salvaged, and there is no good backup.")
            raise StorageCorrupt(
                f"{self.path} is damaged ({problems[0]}), nothing could be salvaged, and there is no good backup.",
                remedy="Put a copy of yours in its place, or move it away to begin anew; nothing was changed.",
                path=self.path,
            )
        self._put_in_place(chosen, "corrupt", known)
        for candidate in (salvaged, restored):
            if candidate:
                remove_database(candidate.path)  # the one that was not chosen

    def _is_foreign(self) -> bool:
        """Whether it is a file with a content, and that of something else. A database full of zeros may be ours."""
        with self.path.open("rb") as file:
            start = file.read(FOREIGN_BYTES)
        return bool(start.strip(b"\0")) and not start.startswith(MAGIC)

    def _put_in_place(self, chosen: Candidate, why: str, known: list[Mapping[str, int]]) -> Repair:
        mark = self._begin_generation(chosen.path)
        aside = self.path.with_name(f"{self.path.name}.{why}-{_stamp()}")
        replace_database(self.path, chosen.path, aside)
        self._mark_file.write(mark)
        lost = contents.lost_runs(known, chosen.kept, chosen.deleted)
        repair = Repair(
            chosen.source, aside, mark.generation, lost, dict(chosen.lost_checkpoints), list(chosen.damaged)
        )
        kind = "salvaged" if chosen.source == "salvage" else "restored"
        message = (
            f"{self.path.name} is generation {mark.generation} now, from {chosen.source}; "
            f"{len(repair.lost)} runs lost their end, {len(repair.damaged)} other events, "
            f"{len(repair.lost_checkpoints)} threads checkpoints; "
            f"what was there is kept as {aside.name}."
        )
        logger.warning(message)
        for run in repair.lost:
            logger.warning("run %s: event %d was known, %d is kept", run.run_id, run.known_sequence, run.kept_sequence)
        for thread_id, count in repair.lost_checkpoints.items():
            logger.warning("thread %s: %d checkpoints are gone; it may go on from an earlier one", thread_id, count)
        for run_id in repair.damaged:
            logger.warning("run %s: some of its events cannot be read", run_id)
        self._note(kind, message, **repair.as_dict)
        return repair

    def _backup_candidate(self, backup: Backup, progress: Progress) -> Candidate:
        target = self.path.with_name(f"{self.path.name}.restoring")
        remove_database(target)
        copy_backup(backup, target, progress)
        with closing(open_to_look(target, is_single=True)) as connection:
            kept = contents.newest_sequences(connection)
        return Candidate(target, backup.name, kept, kept)

    def _begin_generation(self, path: Path) -> Mark:
        """Make the file at `path` a new generation, later than any that is known of; it has no log afterwards."""
        known = self._mark_file.read()
        lowest = max(known.generation if known else 0, self._stored_generation(), _newest(self.backups)) + 1

        def work(connection: apsw.Connection) -> Mark:
            raise_generation(connection, lowest)
            return marks.advance(connection)

        database = Database(path, *self._schemas)
        database.open()
        try:
            return database.submit(work).result()
        finally:
            database.close()

    def _stored_generation(self) -> int:
        with suppress(apsw.Error, OSError, TypeError), closing(open_to_look(self.path)) as connection:
            return generation(connection)
        return 0

    def _known(self) -> list[Mapping[str, int]]:
        """How far runs are known to have been, from the mark and from the present file as far as it can be read."""
        known: list[Mapping[str, int]] = []
        if mark := self._mark_file.read():
            known.append(mark.unfinished)
        with suppress(apsw.Error, OSError), closing(open_to_look(self.path)) as connection:
            known.append(contents.newest_sequences(connection))
        return known

    def _note(self, kind: str, message: str, **facts: Any) -> None:
        try:
            self.journal.add(kind, message, **facts)
        except OSError as error:  # the journal tells of the work, and must not stop it
            logger.warning("the journal of %s cannot be written: %s", self.path, error)


def _better(salvaged: Candidate | None, restored: Candidate | None, known: list[Mapping[str, int]]) -> Candidate | None:
    """What loses less; salvage when both lose the same, since it has what is in no run."""

    def losses(candidate: Candidate) -> int:
        lost = contents.lost_runs(known, candidate.kept, candidate.deleted)
        return len(lost) + len(candidate.damaged) + len(candidate.lost_checkpoints)

    return min((candidate for candidate in (salvaged, restored) if candidate), key=losses, default=None)


@contextmanager
def _errors_of(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, apsw.Error) as error:
        raise storage_error(error, path) from error


def _newest(backups: BackupFolder) -> int:
    return max((int(backup.facts.get("generation", 0)) for backup in backups.backups()), default=0)


def _stamp() -> str:
    return datetime.now(UTC).strftime("%Y%m%dT%H%M%S%fZ")


def _day(time_ns: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(time_ns / 1e9))
