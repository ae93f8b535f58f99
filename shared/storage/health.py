"""Whether a store can take new work: it counts failed writes and looks for room before more is begun."""

import os
import shutil
import tempfile
import threading
from pathlib import Path

from shared.errors import StorageUnavailable, WaystationError
from shared.storage.database import storage_error

PROBE_BYTES = 4096


class StorageHealth:
    """Knows no database: whoever writes reports failures with `note`, whoever begins new work asks `admit` first.

    Work that is under way does not ask, so it ends where its own write fails and not before.
    """

    def __init__(self, path: Path, min_free_bytes: int) -> None:
        self._path = path
        self._min_free_bytes = min_free_bytes
        self._lock = threading.Lock()
        self._write_errors = 0
        self._last: WaystationError | None = None

    @property
    def write_errors(self) -> int:
        """Writes that failed for want of a working disk since the process began: a metric."""
        return self._write_errors

    def note(self, error: WaystationError) -> None:
        """Count a write that failed by `error`; from now on `admit` makes sure that writing works again."""
        with self._lock:
            self._write_errors += 1
            self._last = error

    def admit(self) -> None:
        """Return when new work may begin. Raises `StorageUnavailable` while the disk is full or cannot be written.

        Costs one system call while all is well, and a small write after a failure.
        """
        try:
            free = shutil.disk_usage(self._path.parent).free
            if free < self._min_free_bytes:
                raise StorageUnavailable(
                    f"The disk that holds {self._path} has {free / 1e6:.0f} MB left; "
                    f"new runs want {self._min_free_bytes / 1e6:.0f} MB.",
                    remedy="Free some space, or `waystation runs prune`; runs under way go on.",
                    path=self._path,
                    free_bytes=free,
                )
            if self._last:
                self._probe()
        except OSError as error:
            raise storage_error(error, self._path) from error

    def _probe(self) -> None:
        with tempfile.TemporaryFile(dir=self._path.parent) as file:
            file.write(bytes(PROBE_BYTES))
            file.flush()
            os.fsync(file.fileno())
        with self._lock:
            self._last = None
