"""One process for each data folder: an advisory lock that the kernel releases when its holder dies.

The lock is on a file of its own. SQLite keeps POSIX locks on its files, and a process drops all of those when it closes
any descriptor of the file, so nothing but SQLite may open them.
"""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from shared.errors import StorageUnavailable
from shared.storage.database import storage_error

POLL_S = 0.02


@contextmanager
def locked(path: Path, patience_s: float = 0) -> Iterator[None]:
    """Hold the lock file `path`, which stays afterwards.

    A holder that was killed may take a moment to vanish: the lock is waited for up to `patience_s`. Raises
    `StorageUnavailable`, which names the process that holds it.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a+")
    except OSError as error:
        raise storage_error(error, path) from error
    with file:
        _acquire(file, path, time.monotonic() + patience_s)
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
        file.truncate(0)


def holder(path: Path) -> int:
    """The id of the process that holds the lock; 0 when nobody does or it does not say."""
    try:
        file = path.open()
    except OSError:
        return 0
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return _process_in(path)
    return 0


def _acquire(file: IO[str], path: Path, until: float) -> None:
    while True:
        try:
            return fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() < until:
                time.sleep(POLL_S)
                continue
            process = _process_in(path)
        raise StorageUnavailable(
            f"{path.parent} is in use by process {process or '(unknown)'}.",
            remedy="Stop it (`waystation down`), or set WAYSTATION_HOME to another folder.",
            path=path.parent,
            process=process,
        )


def _process_in(path: Path) -> int:
    text = path.read_text().strip()
    return int(text) if text.isdigit() else 0
