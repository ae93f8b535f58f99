"""One SQLite file: a writer thread that commits for many at once, and connections to read with.

Writes queue up while a commit waits for the disk; the next transaction takes them all (group commit), each within
its own savepoint, so that one that fails spoils no other. A write returns after its commit only.
"""

import asyncio
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import apsw

from shared.errors import LimitExceeded, StorageCorrupt, StorageUnavailable, WaystationError
from shared.fault_points import fault_point

T = TypeVar("T")
Work = Callable[[apsw.Connection], T]

APPLICATION_ID = 0x57415953
"""`WAYS`: marks a file as ours, so that a foreign one is refused and not repaired."""
OLDEST_SQLITE = (3, 51, 3)
"""The first version past the WAL-reset corruption bug."""
MAX_QUEUED_WRITES = 10_000
MAX_BATCH = 512
BUSY_TIMEOUT_MS = 5_000

_FATAL = (apsw.FullError, apsw.IOError, apsw.CorruptError, apsw.ReadOnlyError)


@dataclass(frozen=True)
class Schema:
    """The tables of one concern, as SQL scripts; a file records how many of them each name has had."""

    name: str
    migrations: tuple[str, ...]


@dataclass
class _Write:
    work: Work[Any]
    future: Future[Any]


class _OwnMistake(Exception):
    """A write failed by its own fault; the batch goes on."""

    def __init__(self, cause: Exception) -> None:
        super().__init__(cause)
        self.cause = cause


class Database:
    """A SQLite file in WAL mode. Open it with `open`, close it with `close`.

    Several schemas may share one file, and so one transaction. `synchronous` FULL survives a power cut, NORMAL a
    killed process. `on_connect` prepares every new connection (extensions, functions); `vfs` names the file system.
    """

    def __init__(
        self,
        path: Path,
        *schemas: Schema,
        synchronous: Literal["FULL", "NORMAL"] = "FULL",
        readers: int = 2,
        on_connect: Callable[[apsw.Connection], None] | None = None,
        vfs: str | None = None,
    ) -> None:
        self.path = path
        self._schemas = schemas
        self._synchronous = synchronous
        self._on_connect = on_connect
        self._vfs = vfs
        self._queue: queue.Queue[_Write | None] = queue.Queue(MAX_QUEUED_WRITES)
        self._thread = threading.Thread(target=self._run, name=f"writer-{path.stem}", daemon=True)
        self._readers = ThreadPoolExecutor(readers, thread_name_prefix=f"reader-{path.stem}")
        self._local = threading.local()
        self._connections: list[apsw.Connection] = []
        self._is_open = False

    def open(self) -> None:
        """Open the file, creating it and its folder when absent.

        Raises `StorageUnavailable` (folder not writable, locked, disk full) or `StorageCorrupt` (not our file).
        """
        version = tuple(int(part) for part in apsw.sqlite_lib_version().split("."))
        if version < OLDEST_SQLITE:
            raise StorageUnavailable(
                f"SQLite {apsw.sqlite_lib_version()} may corrupt WAL files.", remedy="Install apsw 3.51.3 or newer."
            )
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._check_owner()
            self._writer = self._connect()
            self._migrate(self._writer)
        except (OSError, apsw.Error) as error:
            self._disconnect()
            raise storage_error(error, self.path) from error
        except WaystationError:
            self._disconnect()
            raise
        fault_point("during_recovery")
        self._is_open = True
        self._thread.start()

    def close(self) -> None:
        """Commit what is queued and close every connection."""
        if not self._is_open:
            return
        self._is_open = False
        self._queue.put(None)
        self._thread.join()
        self._readers.shutdown()
        self._disconnect()

    async def write(self, work: Work[T]) -> T:
        """Run `work` inside the next transaction and return its result after the commit.

        Raises what `work` raises (its changes are undone, the batch goes on), `LimitExceeded` when too many writes
        wait, and `StorageUnavailable` when the commit fails.
        """
        return await asyncio.wrap_future(self.submit(work))

    def submit(self, work: Work[T]) -> Future[T]:
        """Queue `work` for the next transaction; the future is done after the commit."""
        if not self._is_open:
            raise StorageUnavailable(f"{self.path.name} is closed.", path=self.path)
        future: Future[T] = Future()
        try:
            self._queue.put_nowait(_Write(work, future))
        except queue.Full:
            raise LimitExceeded(
                f"{MAX_QUEUED_WRITES} writes wait for {self.path.name}.", limit=MAX_QUEUED_WRITES
            ) from None
        return future

    async def read(self, work: Work[T]) -> T:
        """Run `work` on a read connection in a thread of its own."""
        if not self._is_open:
            raise StorageUnavailable(f"{self.path.name} is closed.", path=self.path)
        return await asyncio.get_running_loop().run_in_executor(self._readers, self._read, work)

    def _read(self, work: Work[T]) -> T:
        connection = getattr(self._local, "connection", None)
        try:
            if connection is None:
                connection = self._local.connection = self._connect()
            return work(connection)
        except apsw.Error as error:
            raise storage_error(error, self.path) from error

    def _disconnect(self) -> None:
        for connection in self._connections:
            connection.close()
        self._connections.clear()

    def _check_owner(self) -> None:
        # before `_connect`, whose journal mode would be written into the file
        if not self.path.exists():
            return
        # able to write: a power cut while the file was made leaves a journal, which must be rolled back to read
        with closing(apsw.Connection(str(self.path), flags=apsw.SQLITE_OPEN_READWRITE, vfs=self._vfs)) as connection:
            connection.set_busy_timeout(BUSY_TIMEOUT_MS)
            owner = connection.pragma("application_id")
            if owner != APPLICATION_ID and connection.execute("SELECT 1 FROM sqlite_schema LIMIT 1").get:
                raise StorageCorrupt(
                    f"{self.path} is a database of another program.",
                    remedy="Move it away, or set WAYSTATION_HOME to another folder.",
                    path=self.path,
                )

    def _connect(self) -> apsw.Connection:
        connection = apsw.Connection(str(self.path), vfs=self._vfs)
        self._connections.append(connection)
        connection.set_busy_timeout(BUSY_TIMEOUT_MS)
        connection.pragma("journal_mode", "wal")
        connection.pragma("synchronous", self._synchronous)
        connection.pragma("foreign_keys", True)
        if self._on_connect:
            self._on_connect(connection)
        return connection

    def _migrate(self, connection: apsw.Connection) -> None:
        with connection:
            connection.pragma("application_id", APPLICATION_ID)
            connection.execute("CREATE TABLE IF NOT EXISTS schemas (name TEXT PRIMARY KEY, version INTEGER NOT NULL)")
            for schema in self._schemas:
                version = connection.execute("SELECT version FROM schemas WHERE name = ?", (schema.name,)).get or 0
                if version > len(schema.migrations):
                    raise StorageUnavailable(
                        f"{self.path} was written by a newer Waystation ({schema.name}, version {version}).",
                        remedy="Upgrade.",
                        path=self.path,
                    )
                for script in schema.migrations[version:]:
                    connection.execute(script)
                connection.execute("REPLACE INTO schemas VALUES (?, ?)", (schema.name, len(schema.migrations)))

    def _run(self) -> None:
        is_last = False
        while not is_last:
            batch = [self._queue.get()]
            while len(batch) < MAX_BATCH and batch[-1] is not None:
                try:
                    batch.append(self._queue.get_nowait())
                except queue.Empty:
                    break
            is_last = batch[-1] is None
            self._commit([write for write in batch if write and write.future.set_running_or_notify_cancel()])

    def _commit(self, batch: list[_Write]) -> None:
        if not batch:
            return
        done: list[tuple[Future[Any], Any]] = []
        try:
            self._writer.execute("BEGIN IMMEDIATE")
            for write in batch:
                try:
                    done.append((write.future, self._apply(write.work)))
                except _OwnMistake as error:
                    write.future.set_exception(error.cause)
            fault_point("during_commit")
            self._writer.execute("COMMIT")
        except Exception as error:  # whatever it is, nobody may wait for ever
            self._abandon(batch, storage_error(error, self.path))
            return
        for future, result in done:
            future.set_result(result)

    def _apply(self, work: Work[T]) -> T:
        self._writer.execute("SAVEPOINT one_write")
        try:
            result = work(self._writer)
        except Exception as error:
            # a full disk or a failing one makes SQLite undo the whole transaction, the other writes too
            if isinstance(error, _FATAL) or not self._writer.in_transaction:
                raise
            self._writer.execute("ROLLBACK TO one_write; RELEASE one_write")
            raise _OwnMistake(error) from error
        self._writer.execute("RELEASE one_write")
        return result

    def _abandon(self, batch: list[_Write], error: WaystationError) -> None:
        try:
            if self._writer.in_transaction:
                self._writer.execute("ROLLBACK")
        finally:
            for write in batch:
                if not write.future.done():
                    write.future.set_exception(error)


def storage_error(error: Exception, path: Path) -> WaystationError:
    """Say what a failure of SQLite or of the file system means for the user of `path`."""
    if isinstance(error, apsw.NotADBError | apsw.CorruptError):
        return StorageCorrupt(
            f"{path} is damaged or not a database.", remedy="Move it away; nothing was changed.", path=path
        )
    if isinstance(error, apsw.FullError):
        return StorageUnavailable(f"The disk that holds {path} is full.", remedy="Free some space.", path=path)
    if isinstance(error, apsw.BusyError | apsw.LockedError):
        return StorageUnavailable(f"{path} is locked by another process.", remedy="Stop that process first.", path=path)
    if isinstance(error, OSError | apsw.CantOpenError | apsw.ReadOnlyError | apsw.IOError | apsw.PermissionsError):
        return StorageUnavailable(
            f"{path} cannot be used: {error}.",
            remedy="Make the folder writable, or set WAYSTATION_HOME to another one.",
            path=path,
        )
    return StorageUnavailable(f"{path}: {error}.", path=path)
