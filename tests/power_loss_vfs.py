"""A file system for SQLite that knows what a power cut would leave: what was synced, and any part of what was not.

Everything passes through to the real files, so that SQLite works as ever; beside them a `Disk` keeps, per file, the
bytes that the platter holds and the writes that only a cache holds. A cached write reaches the platter whole, in part
or not at all, in 512-byte sectors, whichever a test asks for. A file's name is durable from its first sync on; at the
first sync of a journal or WAL SQLite's unix VFS syncs the folder too, which makes the deletions before it durable.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import apsw

SECTOR = 512

Keep = Callable[[], bool]
"""Whether the next cached sector or truncation reached the platter."""


@dataclass
class _Write:
    offset: int
    data: bytes

    def apply(self, platter: bytearray, keep: Keep) -> None:
        """Put the sectors that are kept onto the platter."""
        start = self.offset
        while start < self.offset + len(self.data):
            end = min((start // SECTOR + 1) * SECTOR, self.offset + len(self.data))
            if keep():
                platter.extend(bytes(max(0, end - len(platter))))
                platter[start:end] = self.data[start - self.offset : end - self.offset]
            start = end


@dataclass
class _Truncation:
    size: int

    def apply(self, platter: bytearray, keep: Keep) -> None:
        """Cut the file, or let a hole grow it."""
        if keep():
            del platter[self.size :]
            platter.extend(bytes(self.size - len(platter)))


@dataclass
class _Cached:
    platter: bytearray = field(default_factory=bytearray)
    pending: list[_Write | _Truncation] = field(default_factory=list)
    is_named: bool = False
    """Whether the folder on the platter has its name."""
    is_deleted: bool = False
    """Whether it was deleted without the folder being synced."""


class Disk:
    """What would be left. `on_operation` is called before each write, truncation, sync and deletion, without a lock."""

    def __init__(self, on_operation: Callable[[], None] = lambda: None) -> None:
        self._on_operation = on_operation
        self._files: dict[str, _Cached] = {}
        self._lock = threading.Lock()
        self.syncs = 0
        """How often SQLite asked for a sync."""

    def write(self, path: str, offset: int, data: bytes) -> None:
        """A write that is in the cache only."""
        self._add(path, _Write(offset, data))

    def truncate(self, path: str, size: int) -> None:
        """A truncation that is in the cache only."""
        self._add(path, _Truncation(size))

    def sync(self, path: str) -> None:
        """The file's cache goes onto the platter."""
        self._on_operation()
        with self._lock:
            self.syncs += 1
            cached = self._files.setdefault(path, _Cached())
            for operation in cached.pending:
                operation.apply(cached.platter, lambda: True)
            cached.pending.clear()
            if not cached.is_named and path.endswith(("-journal", "-wal")):
                folder = Path(path).parent
                self._files = {
                    name: item
                    for name, item in self._files.items()
                    if not (item.is_deleted and Path(name).parent == folder)
                }
            cached.is_named = True

    def delete(self, path: str, is_synced: bool) -> None:
        """The file is deleted; for good only when the folder is synced."""
        self._on_operation()
        with self._lock:
            if is_synced:
                self._files.pop(path, None)
            elif path in self._files:
                self._files[path].is_deleted = True

    def after_power_loss(self, keep: Keep) -> dict[str, bytes]:
        """The files by name that are there when the power is back."""
        with self._lock:
            left = {}
            for path, cached in self._files.items():
                if not (cached.is_named or keep()) or (cached.is_deleted and keep()):
                    continue
                platter = bytearray(cached.platter)
                for operation in cached.pending:
                    operation.apply(platter, keep)
                left[Path(path).name] = bytes(platter)
            return left

    def _add(self, path: str, operation: _Write | _Truncation) -> None:
        self._on_operation()
        with self._lock:
            cached = self._files.get(path)
            if cached is None or cached.is_deleted:
                cached = self._files[path] = _Cached()
            cached.pending.append(operation)


class _File(apsw.VFSFile):
    def __init__(self, disk: Disk, base: str, name: Any, flags: list[int]) -> None:
        super().__init__(base, name, flags)
        self._disk = disk
        self._path = name.filename() if isinstance(name, apsw.URIFilename) else str(name)

    def xWrite(self, data: bytes, offset: int) -> None:
        self._disk.write(self._path, offset, bytes(data))
        super().xWrite(data, offset)

    def xTruncate(self, newsize: int) -> None:
        self._disk.truncate(self._path, newsize)
        super().xTruncate(newsize)

    def xSync(self, flags: int) -> None:
        super().xSync(flags)
        self._disk.sync(self._path)


class PowerLossVfs(apsw.VFS):
    """SQLite's own file system, watched by a `Disk`. `unregister` it when no connection uses it any more."""

    def __init__(self, name: str, disk: Disk) -> None:
        super().__init__(name, "")
        self._disk = disk

    def xOpen(self, name: Any, flags: list[int]) -> apsw.VFSFile:
        """Open a file that tells the disk what is written."""
        return _File(self._disk, "", name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:
        """Delete a file, and tell the disk."""
        self._disk.delete(filename, syncdir)
        super().xDelete(filename, syncdir)
