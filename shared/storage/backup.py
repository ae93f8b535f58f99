"""Backups of one database while it is used: each a single file, proved before it counts, with a manifest beside it."""

import hashlib
import json
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import apsw

from shared.errors import NotFound, StorageCorrupt
from shared.storage.database import BUSY_TIMEOUT_MS, storage_error
from shared.storage.durable_file import sync_file, sync_folder, write_durably
from shared.storage.file_lock import locked
from shared.storage.integrity import ContentCheck, check_file, content_problems, open_to_look

PAGES_AT_ONCE = 1_000
COPY_BYTES = 1 << 20
LOCK_PATIENCE_S = 60.0

Facts = dict[str, Any]
Progress = Callable[[str, int, int], None]
"""Hears what is being done, how much of it is done, and how much there is (pages or bytes)."""


def say_nothing(stage: str, done: int, total: int) -> None:
    """Progress that nobody watches."""


@dataclass(frozen=True)
class Backup:
    """One backup and its manifest."""

    path: Path
    time_ns: int
    """Unix time in nanoseconds of the moment whose content it has."""
    size_bytes: int
    sha256: str
    facts: Facts = field(default_factory=dict)
    """What the owner of the database says of its content."""
    damage: tuple[str, ...] = ()
    """Values that were damaged in the database already when the backup was made."""

    @property
    def name(self) -> str:
        """By which `restore` and `verify` find it."""
        return self.path.stem


class BackupFolder:
    """The backups of one database, a bounded number of them."""

    def __init__(self, folder: Path, stem: str, keep: int, checks: tuple[ContentCheck, ...] = ()) -> None:
        self.folder = folder
        self._stem = stem
        self._keep = keep
        self._checks = checks

    def backups(self) -> list[Backup]:
        """Those that have a manifest, newest first."""
        found = [_read_manifest(path) for path in self.folder.glob(f"{self._stem}-*.json")]
        return sorted((backup for backup in found if backup), key=lambda backup: backup.name, reverse=True)

    @property
    def counters(self) -> dict[str, float]:
        """What a heartbeat says of them."""
        found = self.backups()
        newest = found[0] if found else None
        counted: dict[str, float] = {"backup.count": len(found)}
        if newest:
            counted |= {"backup.newest_unix_s": newest.time_ns / 1e9, "backup.newest_bytes": newest.size_bytes}
        return counted

    def find(self, name: str) -> Backup:
        """The backup of that name; the newest for an empty one. Raises `NotFound`."""
        for backup in self.backups():
            if name in ("", backup.name, backup.path.name):
                return backup
        raise NotFound(
            f"There is no backup {name!r} in {self.folder}." if name else f"There is no backup in {self.folder}.",
            remedy=f"`waystation backup {'list` shows them' if name else 'create` makes one'}.",
            name=name,
        )

    def create(
        self, source: Path, describe: Callable[[apsw.Connection], Facts], progress: Progress = say_nothing
    ) -> Backup:
        """Copy `source` as it is now, prove the copy, then let it count and delete the oldest beyond the bound.

        Writers are not held up: they go on while a read transaction keeps the moment. A few damaged values do not
        stop it, or a single one would stop all backups: they are noted. Raises `StorageCorrupt` when the structure is
        damaged, `StorageUnavailable` when there is no room; in both cases the older ones stay.
        """
        try:
            with locked(self.folder / ".lock", LOCK_PATIENCE_S):
                self._remove_partial()
                time_ns = time.time_ns()
                partial = self.folder / f"{self._stem}-{_stamp(time_ns)}.partial"
                facts = _copy(source, partial, describe, progress)
                progress("verifying", 0, 0)
                damage = self._prove(partial, source)
                backup = self._admit(partial, time_ns, facts, damage)
                self._prune()
                return backup
        except (OSError, apsw.Error) as error:
            raise storage_error(error, source if isinstance(error, apsw.CorruptError) else self.folder) from error

    def problems(self, backup: Backup, progress: Progress = say_nothing) -> list[str]:
        """What is wrong with a backup: its sum, its structure, its content; empty when it is what was backed up."""
        try:
            if backup.path.stat().st_size != backup.size_bytes or _sha256(backup.path, progress) != backup.sha256:
                return ["its content is not what was written (sha256)"]
            verdict = check_file(backup.path, is_full=True, is_single=True)
            found = () if verdict.problems else self._damage(backup.path)
            return [*verdict.problems, *(text for text in found if text not in backup.damage)]
        except FileNotFoundError:
            return ["its file is not there"]
        except OSError as error:
            return [f"it cannot be read: {error.strerror}"]

    def newest_good(self) -> Backup | None:
        """The newest backup that passes every check."""
        return next((backup for backup in self.backups() if not self.problems(backup)), None)

    def _damage(self, path: Path) -> tuple[str, ...]:
        found = content_problems(path, self._checks, is_single=True)
        return tuple(f"{damage.kind} {damage.id}: {damage.text}" for damage in found)

    def _prove(self, partial: Path, source: Path) -> tuple[str, ...]:
        """Check the structure of the copy, and return the values in it that are damaged."""
        verdict = check_file(partial, is_full=True, is_single=True)
        if verdict.problems:
            partial.unlink()
            raise StorageCorrupt(
                f"{source} is damaged ({verdict.problems[0]}); no backup was made of it.",
                remedy="Restart the agent, which salvages it, or `waystation backup restore`.",
                path=source,
            )
        return self._damage(partial)

    def _admit(self, partial: Path, time_ns: int, facts: Facts, damage: tuple[str, ...]) -> Backup:
        sync_file(partial)
        path = partial.with_suffix(".db")
        backup = Backup(path, time_ns, partial.stat().st_size, _sha256(partial, say_nothing), facts, damage)
        partial.replace(path)
        sync_folder(self.folder)
        row = asdict(backup) | {"path": path.name}
        write_durably(path.with_suffix(".json"), json.dumps(row).encode())
        return backup

    def _prune(self) -> None:
        for backup in self.backups()[self._keep :]:
            # the manifest first: what has none does not count
            backup.path.with_suffix(".json").unlink(missing_ok=True)
            backup.path.unlink(missing_ok=True)

    def _remove_partial(self) -> None:
        """Remove what a process that died here left behind."""
        for path in self.folder.glob(f"{self._stem}-*"):
            is_manifest = path.suffix == ".json"
            if not is_manifest and not (path.suffix == ".db" and path.with_suffix(".json").exists()):
                path.unlink()


def copy_backup(backup: Backup, target: Path, progress: Progress = say_nothing) -> None:
    """Copy a backup's file, durably. Raises `StorageCorrupt` when its sum is wrong, and `OSError`."""
    digest = hashlib.sha256()
    with backup.path.open("rb") as source, target.open("wb") as copy:
        while piece := source.read(COPY_BYTES):
            digest.update(piece)
            copy.write(piece)
            progress("copying", copy.tell(), backup.size_bytes)
    sync_file(target)
    if digest.hexdigest() != backup.sha256:
        target.unlink()
        raise StorageCorrupt(
            f"Backup {backup.name} is not what was written (sha256).",
            remedy="Choose another one: `waystation backup verify` says which are good.",
            name=backup.name,
        )


def _copy(source: Path, partial: Path, describe: Callable[[apsw.Connection], Facts], progress: Progress) -> Facts:
    with closing(open_to_look(source)) as reader, closing(apsw.Connection(str(partial))) as copy:
        copy.pragma("synchronous", "off")  # synced as a whole in the end
        reader.execute("BEGIN")  # holds one moment for the description and for every page
        facts = describe(reader)
        with copy.backup("main", reader, "main") as copying:
            while not copying.done:
                copying.step(PAGES_AT_ONCE)
                progress("copying", copying.page_count - copying.remaining, copying.page_count)
        reader.execute("ROLLBACK")
        copy.set_busy_timeout(BUSY_TIMEOUT_MS)
        copy.pragma("journal_mode", "delete")  # one file, without a log
    return facts


def _read_manifest(path: Path) -> Backup | None:
    try:
        row = json.loads(path.read_bytes())
        return Backup(
            path.with_name(str(row["path"])),
            int(row["time_ns"]),
            int(row["size_bytes"]),
            str(row["sha256"]),
            dict(row["facts"]),
            tuple(map(str, row["damage"])),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _sha256(path: Path, progress: Progress) -> str:
    digest, size = hashlib.sha256(), path.stat().st_size
    with path.open("rb") as file:
        while piece := file.read(COPY_BYTES):
            digest.update(piece)
            progress("summing", file.tell(), size)
    return digest.hexdigest()


def _stamp(time_ns: int) -> str:
    seconds, rest = divmod(time_ns, 10**9)
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y%m%dT%H%M%S") + f"{rest // 10**6:03d}Z"
