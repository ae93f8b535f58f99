"""One SQLite file: a writer thread that commits for many at once, and connections to read with.

Writes queue up while a commit waits for the disk; the next transaction takes them all (group commit), each within
its own savepoint, so that one that fails spoils no other. A write returns after its commit only. A write that can wait
does so for a millisecond, so that it shares the commit of one that is about to come.
"""

import asyncio
import errno
import queue
import threading
from collections import defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass, field
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
LINGER_S = 0.001
"""How long a write that can wait does so for another one to share its commit."""
WAL_LIMIT_BYTES = 4_000_000
"""What a checkpoint leaves of a log that had grown beyond it."""

_COLUMNS = "SELECT name FROM pragma_table_info(?)"
_FATAL = (apsw.FullError, apsw.IOError, apsw.CorruptError, apsw.ReadOnlyError)


@dataclass(frozen=True)
class Schema:
    """The tables of one concern, as SQL scripts or functions; a file records how many of them each name has had."""

    name: str
    migrations: tuple[str | Work[None], ...]
    adopts: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Tables of another program, and their columns, that a migration takes over: a file of only these is let in."""


@dataclass
class _Write:
    work: Work[Any]
    future: "Future[Any] | asyncio.Future[Any]"
    is_one_statement: bool
    loop: asyncio.AbstractEventLoop | None = None
    """Where an asyncio future is settled."""
    result: Any = None
    error: Exception | None = None

    def is_wanted(self) -> bool:
        """Whether somebody waits for it still; from here on a concurrent future cannot be cancelled."""
        if isinstance(self.future, Future):
            return self.future.set_running_or_notify_cancel()
        return not self.future.cancelled()

    def settle(self) -> None:
        if self.future.cancelled():
            return
        if self.error:
            self.future.set_exception(self.error)
        else:
            self.future.set_result(self.result)


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
        self.on_write_error: Callable[[WaystationError], None] | None = None
        """Hears of each transaction that the file or the disk refused."""
        self.batch_size = 0
        """How many writes share the present transaction; for a write to look at."""
        self._patient: deque[_Write] = deque()
        self._queue: queue.SimpleQueue[list[_Write] | None] = queue.SimpleQueue()
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
        self._enqueue_patient()
        self._queue.put(None)
        self._thread.join()
        self._readers.shutdown()
        self._disconnect()

    async def write(self, work: Work[T], *, can_wait: bool = False, is_one_statement: bool = False) -> T:
        """Run `work` inside the next transaction and return its result after the commit.

        `can_wait` lets the commit be late by a millisecond; `is_one_statement` promises that `work` changes the file by
        at most one statement, and saves it the savepoint. Raises what `work` raises (its changes are undone, the batch
        goes on), `LimitExceeded` when too many writes wait, and `StorageUnavailable` when the commit fails.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        write = _Write(work, future, is_one_statement, loop)
        if can_wait:
            self._check_open()
            self._patient.append(write)  # the writer sleeps on: waking it for this alone costs more than the wait
            loop.call_later(LINGER_S, self._enqueue_patient)
        else:
            self._enqueue(write)
        return await future

    def submit(self, work: Work[T], *, is_one_statement: bool = False) -> Future[T]:
        """Queue `work` for the next transaction, as `write` does; the future is done after the commit."""
        future: Future[T] = Future()
        self._enqueue(_Write(work, future, is_one_statement))
        return future

    async def read(self, work: Work[T]) -> T:
        """Run `work` on a read connection in a thread of its own."""
        self._check_open()
        return await asyncio.get_running_loop().run_in_executor(self._readers, self.read_here, work)

    def read_here(self, work: Work[T]) -> T:
        """Run `work` on the calling thread's read connection: for what is small, since it never waits for a writer."""
        self._check_open()
        connection = getattr(self._local, "connection", None)
        try:
            if connection is None:
                connection = self._local.connection = self._connect()
            return work(connection)
        except (apsw.Error, UnicodeDecodeError) as error:
            raise storage_error(error, self.path) from error

    def _enqueue(self, write: _Write) -> None:
        self._check_open()
        if self._queue.qsize() >= MAX_QUEUED_WRITES:
            raise LimitExceeded(f"{MAX_QUEUED_WRITES} writes wait for {self.path.name}.", limit=MAX_QUEUED_WRITES)
        self._queue.put([*self._take_patient(), write])

    def _enqueue_patient(self) -> None:
        if writes := self._take_patient():
            self._queue.put(writes)

    def _take_patient(self) -> list[_Write]:
        writes = []
        with suppress(IndexError):
            while True:
                writes.append(self._patient.popleft())
        return writes

    def _check_open(self) -> None:
        if not self._is_open:
            raise StorageUnavailable(f"{self.path.name} is closed.", path=self.path)

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
            connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)  # a stranger's log is left to its owner
            owner = connection.pragma("application_id")
            if owner != APPLICATION_ID and not self._is_adopted(connection):
                raise StorageCorrupt(
                    f"{self.path} is a database of another program.",
                    remedy="Move it away, or set WAYSTATION_HOME to another folder.",
                    path=self.path,
                )

    def _is_adopted(self, connection: apsw.Connection) -> bool:
        adopted = {table: columns for schema in self._schemas for table, columns in schema.adopts.items()}
        found = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall()
        return all(
            table in adopted and adopted[table] <= {column for (column,) in connection.execute(_COLUMNS, (table,))}
            for table in (str(name) for (name,) in found)
        )

    def _connect(self) -> apsw.Connection:
        connection = apsw.Connection(str(self.path), vfs=self._vfs)
        self._connections.append(connection)
        connection.set_busy_timeout(BUSY_TIMEOUT_MS)
        connection.pragma("journal_mode", "wal")
        connection.pragma("synchronous", self._synchronous)
        connection.pragma("foreign_keys", True)
        connection.pragma("journal_size_limit", WAL_LIMIT_BYTES)
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
                for migration in schema.migrations[version:]:
                    if isinstance(migration, str):
                        connection.execute(migration)
                    else:
                        migration(connection)
                connection.execute("REPLACE INTO schemas VALUES (?, ?)", (schema.name, len(schema.migrations)))

    def _run(self) -> None:
        is_last = False
        while not is_last:
            batch: list[_Write] = []
            while not is_last and len(batch) < MAX_BATCH:
                try:
                    writes = self._queue.get(block=not batch)
                except queue.Empty:
                    break
                is_last = writes is None
                batch += writes or ()
            self._commit([write for write in batch if write.is_wanted()])

    def _commit(self, batch: list[_Write]) -> None:
        if not batch:
            return
        self.batch_size = len(batch)
        try:
            self._writer.execute("BEGIN IMMEDIATE")
            for write in batch:
                self._apply(write)
            fault_point("during_commit")
            self._writer.execute("COMMIT")
        except Exception as error:  # whatever it is, nobody may wait for ever
            self._abandon(batch, storage_error(error, self.path))
        _settle(batch)

    def _apply(self, write: _Write) -> None:
        if not write.is_one_statement:
            self._writer.execute("SAVEPOINT one_write")
        try:
            write.result = write.work(self._writer)
        except Exception as error:
            # a full disk or a failing one makes SQLite undo the whole transaction, the other writes too
            if isinstance(error, _FATAL) or not self._writer.in_transaction:
                raise
            write.error = storage_error(error, self.path) if isinstance(error, UnicodeDecodeError) else error
            if not write.is_one_statement:
                self._writer.execute("ROLLBACK TO one_write")
        if not write.is_one_statement:
            self._writer.execute("RELEASE one_write")

    def _abandon(self, batch: Sequence[_Write], error: WaystationError) -> None:
        for write in batch:
            write.error = write.error or error
        if self.on_write_error:
            self.on_write_error(error)
        if self._writer.in_transaction:
            with suppress(apsw.Error):
                self._writer.execute("ROLLBACK")


def _settle(batch: Sequence[_Write]) -> None:
    """Tell everybody; one wake-up of a loop does for all of its writes."""
    loops: dict[asyncio.AbstractEventLoop, list[_Write]] = defaultdict(list)
    for write in batch:
        if write.loop:
            loops[write.loop].append(write)
        else:
            write.settle()
    for loop, writes in loops.items():
        with suppress(RuntimeError):  # the loop is closed, nobody waits
            loop.call_soon_threadsafe(_settle_here, writes)


def _settle_here(writes: Sequence[_Write]) -> None:
    for write in writes:
        write.settle()


def storage_error(error: Exception, path: Path) -> WaystationError:
    """Say what a failure of SQLite or of the file system means for the user of `path`."""
    if isinstance(error, apsw.NotADBError | apsw.CorruptError | UnicodeDecodeError):
        return StorageCorrupt(
            f"{path} is damaged or not a database.", remedy="Move it away; nothing was changed.", path=path
        )
    if isinstance(error, apsw.FullError) or getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
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
